"""What differs between a release and what is made again from its manifest."""

import json

import pytest
from versions import release

from fer.engine.code import key_parts
from fer.recipes import reproduction
from fer.recipes.reproduction import Now
from fer.registry.provenance import lineage
from fer.registry.provenance.lineage import Lineage, StageOutput, Traced

SAME = Now("ef", {"keras": "3.15", "cores": "2"})


def traced(**changed) -> Traced:
    """Three stages, one after the other; `changed`: stage -> digest of its output."""
    digests = {"index": "i", "split": "s", "train": "t"} | changed
    stages = tuple(StageOutput(stage=stage, output=f"{stage}/0", digest=digest) for stage, digest in digests.items())
    parts = {output.output: key_parts.of({"seed": 1}, {"fer.one": "a"}, {"numpy": "2.0"}) for output in stages}
    return Traced(stages, parts)


@pytest.fixture
def before(tmp_path):
    """A release made of these stages."""
    made = release(tmp_path / "1", 1, 20)
    known = traced()
    document = {output: parts.model_dump(mode="json") for output, parts in known.parts.items()}
    (made.folder / lineage.FILE).write_text(json.dumps(document))
    manifest = made.manifest.model_copy(update={"lineage": Lineage(run="run x", stages=known.stages)})
    return reproduction.expected(manifest, made.folder)


def test_equal_digests_are_the_same_bits_whatever_the_stages_were_made_of(before):
    made = traced()
    parts = {name: known.model_copy(update={"code": {"fer.one": "b"}}) for name, known in made.parts.items()}
    found = reproduction.compare(before, made._replace(parts=parts), SAME._replace(code_fingerprint="gh"))
    assert (found.is_same, found.first_difference, found.causes) == (True, "", ())
    assert "the code, or a library, is not that of the release" in found.remarks
    assert "train came out the same although code: fer/one.py changed" in found.remarks


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"inputs": {"seed": 2}}, "seed: 1 → 2"),
        ({"code": {"fer.one": "b"}}, "code: fer/one.py changed"),
        ({"conditions": {"numpy": "2.1"}}, "numpy: 2.0 → 2.1"),
    ],
)
def test_the_first_stage_that_differs_says_why(before, change, cause):
    made = traced(split="x", train="y")
    made.parts["split/0"] = made.parts["split/0"].model_copy(update=change)
    found = reproduction.compare(before, made, SAME)
    assert (found.is_same, found.first_difference, found.causes) == (False, "split", (cause,))
    assert found.sentence() == f"demo@1 differs, first in split: {cause}"


def test_where_the_key_is_the_same_the_machine_may_tell(before):
    found = reproduction.compare(before, traced(train="y"), SAME._replace(environment={"keras": "3.16"}))
    assert found.causes == ("keras: 3.15 → 3.16",)
    found = reproduction.compare(before, traced(train="y"), SAME)
    assert found.causes[0].startswith("settings, code, libraries and machine are those of the release")


def test_a_part_of_the_stages_can_be_compared(before):
    made = traced()
    found = reproduction.compare(before, made._replace(stages=made.stages[:2]), SAME)
    assert found.is_same
    assert found.remarks[-1] == "not made again: train"


def test_nothing_made_again_is_not_the_same(before):
    assert not reproduction.compare(before, Traced((), {}), SAME).is_same


def test_an_older_release_is_compared_by_the_digests_that_it_has(tmp_path):
    inputs = {"source": "demo", "split_origin": "drawn", "split": "final", "index": "i", "train": "t", "gate": "g"}
    made = release(tmp_path / "1", 1, 20, inputs=inputs)
    before = reproduction.expected(made.manifest, made.folder)
    again = traced(split="drawn first", **{"label errors": "final"})
    found = reproduction.compare(before, again, SAME)
    assert found.is_same
    expected = {"index": ("i",), "split": ("final",), "train": ("t",), "gate": ()}
    assert {stage.stage: stage.after for stage in found.stages} == expected
    found = reproduction.compare(before, traced(index="x"), SAME._replace(code_fingerprint="gh"))
    assert found.first_difference == "index"
    assert "does not say which" in found.causes[0]


def test_what_is_to_be_forgotten_is_told_where_the_index_differs(before):
    made = traced(index="x")
    for path, known in (("tombstones/1", before.parts["index"][0]), ("tombstones/2", made.parts["index/0"])):
        known.inputs["forgotten"] = {"$ref": path, "$digest": path}
    found = reproduction.compare(before, made, SAME)
    assert found.first_difference == "index"
    assert found.causes == ("forgotten: other data (tombstones/1 → tombstones/2)",)
