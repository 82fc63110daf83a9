import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fer import augment, balance, errors, parallel, refs, shards
from fer.workspace import Workspace

CLASSES = ("angry", "happy", "sad")
COUNTS = {"angry": 5, "happy": 23, "sad": 11}
CONFIG = balance.BalanceConfig(seed=3)


def preprocessed(workspace: Workspace, counts=COUNTS, per_shard: int = 16) -> refs.ShardsRef:
    """Shards made by hand, with a test split that must not be touched."""
    draw = np.random.default_rng(0)
    labels = draw.permutation(np.repeat(np.arange(3, dtype=np.int32), [counts[each] for each in CLASSES]))

    def write(out):
        pixels = draw.integers(0, 256, (len(labels), 8, 9), np.uint8)
        for number, start in enumerate(range(0, len(labels), per_shard)):
            here = slice(start, start + per_shard)
            ids = [f"id{start + i}" for i in range(len(labels[here]))]
            shards.write(out / shards.name("train", number), ids, labels[here], pixels[here], CLASSES)
        shards.write(out / shards.name("test", 0), ["t"], np.array([0], np.int32), pixels[:1], CLASSES)
        (out / "preprocessing.json").write_text('{"mean": 1.5}')
        return refs.ShardsRef(
            classes=CLASSES,
            height=8,
            width=9,
            counts={"train": dict(counts), "test": {"angry": 1}},
            mean=1.5,
            std=2.5,
        )

    return workspace.run("preprocess", "k", refs.ShardsRef, write, resumable=False)


@pytest.fixture(autouse=True)
def one_worker(monkeypatch):
    monkeypatch.setattr(parallel, "usable_cores", lambda: 1)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


def files(workspace, ref):
    """The files of an output but what is said about them, which holds the time of its making."""
    paths = (path for path in workspace.folder(ref).iterdir() if path.is_file() and path.name != "_ref.json")
    return {path.name: path.read_bytes() for path in paths}


counts_of_classes = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 500), min_size=1)
targets = st.one_of(st.sampled_from(["max", "median"]), st.integers(1, 700))


@settings(deadline=None)
@given(counts_of_classes, targets)
def test_the_plan_brings_each_class_to_the_target_and_takes_none_away(counts, target):
    rows = balance.plan(counts, target)
    assert {row.class_name: row.has for row in rows} == counts
    wanted = {"max": max(counts.values())}.get(target, target)
    for row in rows:
        assert row.needs >= row.gets >= 0
        if target != "median":
            assert row.needs == max(wanted - row.has, 0)
        assert row.gets == (row.needs if row.has else 0)
    reached = {row.has + row.gets for row in rows if row.gets}
    assert len(reached) <= 1


def test_the_plan_by_example():
    rows = balance.plan({"angry": 2, "happy": 10, "sad": 5, "fear": 0}, "median")
    assert [(row.class_name, row.has, row.needs, row.gets) for row in rows] == [
        ("angry", 2, 3, 3),
        ("happy", 10, 0, 0),
        ("sad", 5, 0, 0),
        ("fear", 0, 5, 0),
    ]


@settings(deadline=None, max_examples=8)
@given(
    st.fixed_dictionaries({"angry": st.integers(1, 9), "happy": st.integers(0, 30), "sad": st.integers(1, 30)}),
    st.one_of(st.sampled_from(["max", "median"]), st.integers(1, 60)),
    st.integers(0, 5),
)
def test_classes_reach_the_target_and_no_source_is_lost_or_overused(tmp_path_factory, counts, target, seed):
    workspace = Workspace(tmp_path_factory.mktemp("balance"))
    source = preprocessed(workspace, counts)
    made = balance.balance(source, balance.BalanceConfig(target=target, seed=seed), workspace=workspace)
    before = shards.load_split(workspace.folder(source), "train")
    after = shards.load_split(workspace.folder(made), "train")

    planned = {row.class_name: row.has + row.gets for row in balance.plan(counts, target)}
    found = Counter(CLASSES[each] for each in after.class_indexes)
    assert {each: found[each] for each in CLASSES} == planned == made.counts["train"]

    sources = {image_id: row for row, image_id in enumerate(before.image_ids)}
    uses = {class_index: Counter() for class_index in range(3)}
    for image_id, class_index in zip(before.image_ids, before.class_indexes, strict=True):
        uses[class_index][image_id] = 0
    seen = set()
    for image_id, class_index, pixels in zip(after.image_ids, after.class_indexes, after.pixels, strict=True):
        origin, _, replica = image_id.partition("+")
        assert before.class_indexes[sources[origin]] == class_index
        if replica:
            uses[class_index][origin] += 1
        else:
            assert np.array_equal(pixels, before.pixels[sources[origin]])
            seen.add(origin)
    assert seen == set(sources)
    for each in uses.values():
        assert not each or max(each.values()) - min(each.values()) <= 1


def test_a_copy_is_the_augmentation_that_its_id_names(workspace):
    source = preprocessed(workspace)
    made = balance.balance(source, CONFIG, workspace=workspace)
    before = shards.load_split(workspace.folder(source), "train")
    after = shards.load_split(workspace.folder(made), "train")
    originals = dict(zip(before.image_ids, before.pixels[..., 0], strict=True))
    n_copies = 0
    for image_id, pixels in zip(after.image_ids, after.pixels[..., 0], strict=True):
        origin, _, replica = image_id.partition("+")
        if replica:
            n_copies += 1
            chosen = augment.parameters(CONFIG.seed, origin, int(replica), CONFIG.augment)
            assert np.array_equal(pixels, augment.augment(originals[origin], chosen))
    assert n_copies == 3 * 23 - 39


def test_only_train_is_in_the_output_with_its_plan_and_record(workspace):
    source = preprocessed(workspace)
    made = balance.balance(source, CONFIG, workspace=workspace)
    folder = workspace.folder(made)
    names = ["train-00000.parquet", "train-00001.parquet", "train-00002.parquet"]
    assert sorted(files(workspace, made)) == ["contract.json", "plan.json", "preprocessing.json", *names]
    assert (folder / "preprocessing.json").read_text() == '{"mean": 1.5}'
    assert (made.mean, made.std, made.height, made.width) == (1.5, 2.5, 8, 9)
    plan = json.loads((folder / "plan.json").read_text())
    assert plan[0] == {"class": "angry", "has": 5, "needs": 18, "gets": 18}


def test_originals_and_copies_are_shuffled_together(workspace):
    made = balance.balance(preprocessed(workspace), CONFIG, workspace=workspace)
    ids = shards.read(workspace.folder(made) / "train-00000.parquet").image_ids
    is_copy = ["+" in image_id for image_id in ids]
    changes = sum(a != b for a, b in itertools.pairwise(is_copy))
    assert changes > len(ids) / 4
    origins = [image_id.partition("+")[0] for image_id in ids]
    assert sum(a == b for a, b in itertools.pairwise(origins)) < len(ids) / 4


def test_each_output_shard_holds_the_images_of_its_source_shard(workspace):
    source = preprocessed(workspace)
    made = balance.balance(source, CONFIG, workspace=workspace)
    for name in shards.names(workspace.folder(source), "train"):
        before, _ = shards.read_labels(workspace.folder(source) / name)
        after, _ = shards.read_labels(workspace.folder(made) / name)
        assert {image_id.partition("+")[0] for image_id in after} == set(before)


def test_an_output_shard_that_would_be_too_large_is_split(workspace, monkeypatch):
    source = preprocessed(workspace)
    whole = balance.balance(source, CONFIG, workspace=workspace)
    monkeypatch.setattr(shards, "_ROW_GROUP_BYTES", 8 * 9 * 10)
    config = CONFIG.model_copy(update={"target": 60})
    made = balance.balance(source, config, workspace=workspace)
    folder = workspace.folder(made)
    names = shards.names(folder, "train")
    sizes = [len(shards.read_labels(folder / name)[0]) for name in names]
    assert sum(sizes) == 180
    assert max(sizes) <= 10
    assert len(sizes) <= math.ceil(180 / 10) + 3
    assert names == [shards.name("train", number) for number in range(len(names))]
    assert len(set(shards.load_split(folder, "train").image_ids)) == 180
    assert len(shards.names(workspace.folder(whole), "train")) == 3


def test_one_and_two_workers_make_the_same_bytes(workspace, tmp_path, monkeypatch):
    alone = balance.balance(preprocessed(workspace), CONFIG, workspace=workspace)
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)
    other = Workspace(tmp_path / "other")
    together = balance.balance(preprocessed(other), CONFIG, workspace=other)
    assert together == alone
    assert files(other, together) == files(workspace, alone)


def test_a_second_attempt_keeps_finished_shards_and_makes_the_rest(workspace, tmp_path, monkeypatch):
    whole = balance.balance(preprocessed(workspace), CONFIG, workspace=workspace)
    other = Workspace(tmp_path / "other")
    source = preprocessed(other)
    with monkeypatch.context() as broken:
        write = shards.write

        def write_but_one(path, *args):
            if path.name == "train-00001.parquet":
                raise errors.WorkspaceError("It must go on.")
            write(path, *args)

        broken.setattr(shards, "write", write_but_one)
        with pytest.raises(errors.WorkspaceError):
            balance.balance(source, CONFIG, workspace=other)
    kept = {path.name: path.stat().st_ino for path in (other.root / ".partial").rglob("*.parquet")}
    assert sorted(kept) == ["train-00000.parquet", "train-00002.parquet"]
    again = balance.balance(source, CONFIG, workspace=other)
    assert again == whole
    assert files(other, again) == files(workspace, whole)
    assert {name: (other.folder(again) / name).stat().st_ino for name in kept} == kept


def test_a_lost_output_shard_is_made_again_alike(workspace):
    source = preprocessed(workspace)
    made = balance.balance(source, CONFIG, workspace=workspace)
    before = files(workspace, made)
    (workspace.folder(made) / "train-00002.parquet").unlink()
    assert balance.balance(source, CONFIG, workspace=workspace) == made
    assert files(workspace, made) == before


def test_another_seed_makes_other_copies_of_as_many_images(workspace):
    source = preprocessed(workspace)
    made = [balance.balance(source, balance.BalanceConfig(seed=seed), workspace=workspace) for seed in (0, 1)]
    assert made[0].counts == made[1].counts
    assert made[0].digest != made[1].digest


@pytest.mark.parametrize("links", [True, False])
def test_strategy_none_passes_the_shards_on(workspace, monkeypatch, links):
    if not links:

        def no_links(source, target):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(balance.os, "link", no_links)
    source = preprocessed(workspace)
    made = balance.balance(source, balance.BalanceConfig(strategy="none"), workspace=workspace)
    before, after = files(workspace, source), files(workspace, made)
    for name in shards.names(workspace.folder(source), "train"):
        assert after[name] == before[name]
    assert "test-00000.parquet" not in after
    assert made.counts == {"train": COUNTS}
    plan = json.loads(after["plan.json"])
    assert [row["gets"] for row in plan] == [0, 0, 0]
    assert plan[0]["needs"] == 18


def test_progress_counts_images(workspace):
    seen = []
    balance.balance(preprocessed(workspace), CONFIG, workspace=workspace, progress=lambda *what: seen.append(what[:2]))
    assert len(seen) == 3
    assert seen[-1] == (69, 69)


@pytest.mark.parametrize("target", [0, -5, "largest"])
def test_the_target_is_a_rule_or_a_positive_number(target):
    with pytest.raises(ValidationError, match="target"):
        balance.BalanceConfig(target=target)
