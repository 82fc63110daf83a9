import itertools
import json
import math
import shutil
from collections import Counter

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fer import errors
from fer.engine import runners
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.processes import process_pool
from fer.engine.workspace import Workspace
from fer.images import augment
from fer.recipes import catalog, overrides
from fer.shards import balance, checks, parquet
from fer.shards.refs import ShardsRef

CLASSES = ("angry", "happy", "sad")
COUNTS = {"angry": 5, "happy": 23, "sad": 11}
CONFIG = balance.BalanceConfig(seed=3)


def preprocessed(workspace: Workspace, counts=COUNTS, per_shard: int = 16, backwards: bool = False) -> ShardsRef:
    """Shards made by hand, the same images however they are cut, with a test split that must not be touched."""
    draw = np.random.default_rng(0)
    labels = draw.permutation(np.repeat(np.arange(3, dtype=np.int32), [counts[label] for label in CLASSES]))

    def write(out):
        pixels = draw.integers(0, 256, (len(labels), 8, 9), np.uint8)
        rows = np.arange(len(labels))[:: -1 if backwards else 1]
        for number, start in enumerate(range(0, len(labels), per_shard)):
            shard_rows = rows[start : start + per_shard]
            ids = [f"id{row}" for row in shard_rows]
            parquet.write(out / parquet.name("train", number), ids, labels[shard_rows], pixels[shard_rows], CLASSES)
        parquet.write(out / parquet.name("test", 0), ["t"], np.array([0], np.int32), pixels[:1], CLASSES)
        (out / "preprocessing.json").write_text('{"mean": 1.5}')
        return ShardsRef(
            digest="of the images",
            classes=CLASSES,
            height=8,
            width=9,
            counts={"train": dict(counts), "test": {"angry": 1}},
            mean=1.5,
            std=2.5,
        )

    return workspace.run("preprocess", "k", ShardsRef, write, resumable=False)


@pytest.fixture(autouse=True)
def one_worker(monkeypatch):
    """And output shards of 34 images: those of `preprocessed` are then too large to be merged."""
    monkeypatch.setattr(process_pool, "usable_cores", lambda: 1)
    monkeypatch.setattr(parquet, "_ROW_GROUP_BYTES", 34 * 8 * 9)


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path / "workspace")


def files(workspace, ref):
    """The files of an output but what is said about them, which holds the time of its making."""
    paths = (path for path in workspace.folder(ref).iterdir() if path.is_file() and path.name != "_ref.json")
    return {path.name: path.read_bytes() for path in paths}


FILLING = ("augment-to-target", "oversample")
COMBINATIONS = [
    chosen
    for n in (1, 2, 3)
    for chosen in itertools.combinations(("undersample", *FILLING, "class-weights"), n)
    if not set(FILLING) <= set(chosen)
] + [("none",)]
counts_of_classes = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 500), min_size=1)
configs = st.builds(
    balance.BalanceConfig,
    strategy=st.sampled_from(COMBINATIONS),
    target=st.one_of(st.sampled_from(["auto", "max", "median", "min"]), st.integers(1, 700)),
    max_growth=st.one_of(st.none(), st.floats(1, 9)),
    seed=st.integers(0, 5),
)


def planned(counts, **config) -> tuple[balance.PlanRow, ...]:
    classes = tuple(counts)
    source = ShardsRef(classes=classes, height=8, width=9, counts={"train": counts}, mean=0, std=1)
    return balance.plan(source, balance.BalanceConfig(**config))


def becomes(counts, **config) -> dict[str, int]:
    return {row.class_name: row.becomes for row in planned(counts, **config)}


def images_of(workspace, ref) -> dict[str, tuple[int, bytes]]:
    images = parquet.load_split(workspace.folder(ref), "train")
    return {
        image_id: (int(class_index), pixels.tobytes())
        for image_id, class_index, pixels in zip(images.image_ids, images.class_indexes, images.pixels, strict=True)
    }


@given(counts_of_classes, configs)
def test_a_plan_moves_each_class_towards_the_target_as_its_strategies_allow(counts, config):
    rows = planned(counts, **config.model_dump())
    assert {row.class_name: row.has for row in rows} == counts
    present = sorted(count for count in counts.values() if count)
    target = config.target
    if target == "auto":
        target = {(True, True): "median", (False, True): "min"}.get((config.fills_up, config.cuts_down), "max")
    if isinstance(target, str) and present:
        middle = present[len(present) // 2] + present[(len(present) - 1) // 2]
        target = {"max": max(present), "min": min(present), "median": math.ceil(middle / 2)}[target]
    elif isinstance(target, str):
        target = 0
    for row in rows:
        assert row.needs == max(target - row.has, 0)
        assert row.loses == (max(row.has - target, 0) if "undersample" in config.strategies else 0)
        if not row.has or set(FILLING).isdisjoint(config.strategies):
            assert row.gets == 0
        elif config.max_growth is None:
            assert row.gets == row.needs
        else:
            assert row.gets <= row.needs
            assert row.has + row.gets <= max(row.has, row.has * config.max_growth)
            assert row.gets == row.needs or row.has + row.gets + 1 > row.has * config.max_growth
        assert row.becomes == row.has - row.loses + row.gets
        assert (row.becomes > 0) == (row.has > 0)


@given(counts_of_classes, configs)
def test_weights_give_each_class_the_same_say_and_an_image_1_on_average(counts, config):
    rows = [row for row in planned(counts, **config.model_dump()) if row.becomes]
    if "class-weights" not in config.strategies:
        assert {row.weight for row in rows} <= {1.0}
    elif rows:
        weighted_counts = np.array([row.weight * row.becomes for row in rows])
        assert np.allclose(weighted_counts, weighted_counts[0])
        assert np.isclose(weighted_counts.sum(), sum(row.becomes for row in rows))


HAS = {"angry": 2, "happy": 10, "sad": 5, "fear": 0}


def test_the_plan_of_the_report_by_example():
    rows = planned(HAS, strategy="augment-to-target", target="median")
    assert [(row.class_name, row.has, row.needs, row.loses, row.gets, row.weight) for row in rows] == [
        ("angry", 2, 3, 0, 3, 1.0),
        ("happy", 10, 0, 0, 0, 1.0),
        ("sad", 5, 0, 0, 0, 1.0),
        ("fear", 0, 5, 0, 0, 1.0),
    ]


@pytest.mark.parametrize(
    ("config", "angry", "happy", "sad"),
    [
        ({"strategy": "augment-to-target"}, 10, 10, 10),
        ({"strategy": "oversample", "target": "median"}, 5, 10, 5),
        ({"strategy": "undersample"}, 2, 2, 2),
        ({"strategy": "undersample", "target": 4}, 2, 4, 4),
        ({"strategy": ["undersample", "oversample"]}, 5, 5, 5),
        ({"strategy": ["undersample", "augment-to-target"], "target": 7}, 7, 7, 7),
        ({"strategy": "augment-to-target", "max_growth": 1.5}, 3, 10, 7),
        ({"strategy": "augment-to-target", "max_growth": 3, "target": "median"}, 5, 10, 5),
        ({"strategy": "augment-to-target", "max_growth": 1e308}, 10, 10, 10),
        ({"strategy": "class-weights"}, 2, 10, 5),
        ({"strategy": ["none"]}, 2, 10, 5),
    ],
)
def test_plans_by_example(config, angry, happy, sad):
    assert becomes(HAS, **config) == {"angry": angry, "happy": happy, "sad": sad, "fear": 0}


def test_the_plan_as_a_table_ends_with_its_sums():
    table = balance.table(planned(HAS, strategy=["undersample", "class-weights"], target=4))
    assert table[1] == {"class": "happy", "has": 10, "needs": 0, "loses": 6, "gets": 0, "becomes": 4, "weight": 10 / 12}
    assert table[-1] == {"class": "all", "has": 17, "needs": 6, "loses": 7, "gets": 0, "becomes": 10, "weight": 1.0}


def test_one_name_or_several_in_any_order_are_the_same_choice():
    both = balance.BalanceConfig(strategy=["augment-to-target", "undersample", "undersample"])
    assert both == balance.BalanceConfig(strategy=("undersample", "augment-to-target"))
    assert balance.BalanceConfig(strategy=["oversample"]) == balance.BalanceConfig(strategy="oversample")


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (["augment-to-target", "oversample"], "only one of them"),
        (["none", "undersample"], "'none' leaves"),
        ([], "must name a strategy"),
        ("balanced", "Input should be"),
        (["undersample", 3], "Input should be"),
    ],
)
def test_a_senseless_choice_of_strategies_is_refused(strategy, message):
    with pytest.raises(ValidationError, match=message):
        balance.BalanceConfig(strategy=strategy)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("undersample", "undersample"), ('["oversample", "undersample"]', ("undersample", "oversample"))],
)
def test_strategies_can_be_set_on_the_command_line_and_in_a_form(text, chosen):
    demo = catalog.load("demo")
    given_by_command = overrides.parse_settings(
        [f"balance.strategy={text}", "balance.target=min", "balance.max_growth=2"]
    )
    assert overrides.apply(demo, given_by_command).balance.strategy == chosen
    form = given_by_command.model_dump(mode="json", exclude_none=True)
    schema = overrides.RecipeSettings.model_json_schema()
    jsonschema.validate(form, schema)
    assert overrides.apply(demo, overrides.RecipeSettings.model_validate(form)).balance.strategy == chosen


def test_a_combination_that_a_setting_makes_senseless_is_refused():
    with pytest.raises(errors.ConfigError, match=r"balance\.strategy must be valid.*only one"):
        overrides.apply(
            catalog.load("demo"), overrides.parse_settings(['balance.strategy=["oversample", "augment-to-target"]'])
        )


@settings(max_examples=settings.default.max_examples // 4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries({"angry": st.integers(1, 9), "happy": st.integers(0, 30), "sad": st.integers(1, 30)}),
    configs,
)
def test_classes_become_as_planned_and_no_image_is_used_more_than_once_oftener(
    unchecked, tmp_path_factory, counts, config
):
    workspace = LocalWorkspace(tmp_path_factory.mktemp("balance"))
    source = preprocessed(workspace, counts)
    ref = balance.balance(source, config, workspace=workspace)
    before, after = images_of(workspace, source), images_of(workspace, ref)
    rows = balance.plan(source, config)

    counts_after = Counter(CLASSES[class_index] for class_index, _ in after.values())
    assert {label: counts_after[label] for label in CLASSES} == ref.counts["train"]
    assert ref.counts["train"] == {row.class_name: row.becomes for row in rows}
    weights = {row.class_name: row.weight for row in rows}
    assert ref.class_weights == (weights if "class-weights" in config.strategies else {})

    uses = Counter(image_id.partition("+")[0] for image_id in after)
    for image_id, (class_index, pixels) in after.items():
        origin, _, replica = image_id.partition("+")
        assert before[origin][0] == class_index
        if not replica or "oversample" in config.strategies:
            assert pixels == before[origin][1]
        if replica:
            assert 0 <= int(replica) < uses[origin] - 1
    for class_index, row in enumerate(rows):
        per_image = [
            uses[image_id] for image_id, (class_of_image, _) in before.items() if class_of_image == class_index
        ]
        assert not per_image or max(per_image) - min(per_image) <= 1
        assert row.loses or all(per_image)


@pytest.mark.parametrize("strategy", ["augment-to-target", "oversample"])
def test_a_copy_is_the_augmentation_that_its_id_names_or_its_source(unchecked, workspace, strategy):
    source = preprocessed(workspace)
    ref = balance.balance(source, CONFIG.model_copy(update={"strategy": strategy}), workspace=workspace)
    before, after = images_of(workspace, source), images_of(workspace, ref)
    copies = {image_id: pixels for image_id, (_, pixels) in after.items() if "+" in image_id}
    assert len(copies) == 3 * 23 - 39
    for image_id, pixels in copies.items():
        origin, _, replica = image_id.partition("+")
        image = np.frombuffer(before[origin][1], np.uint8).reshape(1, 8, 9)
        if strategy == "augment-to-target":
            draws = augment.draw(CONFIG.seed, [origin], int(replica), CONFIG.augment, 8, 9)
            assert pixels == augment.apply(image, draws).tobytes()
        else:
            assert pixels == image.tobytes()


@pytest.mark.parametrize("strategy", [("undersample",), ("undersample", "augment-to-target"), ("oversample",)])
def test_what_is_kept_and_copied_does_not_depend_on_the_shards(unchecked, tmp_path, strategy):
    config = balance.BalanceConfig(strategy=strategy, target=9, seed=1)
    image_sets, digests = [], set()
    for per_shard, backwards in ((39, False), (16, False), (1, False), (7, True)):
        workspace = LocalWorkspace(tmp_path / f"{per_shard}")
        ref = balance.balance(preprocessed(workspace, COUNTS, per_shard, backwards), config, workspace=workspace)
        image_sets.append(images_of(workspace, ref))
        digests.add(ref.digest)
    assert image_sets[1:] == image_sets[:-1]
    assert len(digests) == 1


def test_another_seed_keeps_other_images(unchecked, workspace):
    source = preprocessed(workspace)
    kept = [
        balance.balance(source, balance.BalanceConfig(strategy="undersample", seed=seed), workspace=workspace)
        for seed in (0, 1)
    ]
    assert kept[0].counts == kept[1].counts == {"train": dict.fromkeys(CLASSES, 5)}
    assert images_of(workspace, kept[0]).keys() != images_of(workspace, kept[1]).keys()


def test_many_small_shards_become_few(unchecked, workspace, monkeypatch):
    source = preprocessed(workspace, per_shard=1)
    ref = balance.balance(source, CONFIG, workspace=workspace)
    assert len(parquet.names(workspace.folder(ref), "train")) == math.ceil(69 / 34)
    monkeypatch.setattr(parquet, "_ROW_GROUP_BYTES", 8 * 9 * 10)
    cut = CONFIG.model_copy(update={"strategy": "undersample", "target": 7})
    ref = balance.balance(source, cut, workspace=workspace)
    sizes = [len(parquet.read_labels(path)[0]) for path in sorted(workspace.folder(ref).glob("train-*.parquet"))]
    assert sizes == [10, 9]


def test_shards_of_an_earlier_attempt_that_were_cut_otherwise_are_removed(unchecked, workspace, tmp_path, monkeypatch):
    whole = balance.balance(preprocessed(workspace, per_shard=39), CONFIG, workspace=workspace)
    other = LocalWorkspace(tmp_path / "other")
    with monkeypatch.context() as broken:
        broken.setattr(checks, "check", refuse)
        with pytest.raises(errors.WorkspaceError):
            balance.balance(preprocessed(other), CONFIG, workspace=other)
    assert len(list((other.root / ".partial").rglob("train-*.parquet"))) == 3
    shutil.rmtree(other.root / "preprocess")
    again = balance.balance(preprocessed(other, per_shard=39), CONFIG, workspace=other)
    assert again == whole
    assert files(other, again) == files(workspace, whole)


def refuse(*_args) -> None:
    raise errors.WorkspaceError("It must go on.")


def test_only_train_is_in_the_output_with_its_plan_and_record(workspace):
    source = preprocessed(workspace)
    ref = balance.balance(source, CONFIG, workspace=workspace)
    folder = workspace.folder(ref)
    names = ["train-00000.parquet", "train-00001.parquet", "train-00002.parquet"]
    assert sorted(files(workspace, ref)) == ["contract.json", "plan.json", "preprocessing.json", *names]
    assert (folder / "preprocessing.json").read_text() == '{"mean": 1.5}'
    assert (ref.mean, ref.std, ref.height, ref.width) == (1.5, 2.5, 8, 9)
    balance_plan = json.loads((folder / "plan.json").read_text())
    assert balance_plan[0] == {
        "class": "angry",
        "has": 5,
        "needs": 18,
        "loses": 0,
        "gets": 18,
        "becomes": 23,
        "weight": 1.0,
    }


def test_originals_and_copies_are_shuffled_together(unchecked, workspace):
    ref = balance.balance(preprocessed(workspace), CONFIG, workspace=workspace)
    ids = parquet.read(workspace.folder(ref) / "train-00000.parquet").image_ids
    is_copy = ["+" in image_id for image_id in ids]
    changes = sum(a != b for a, b in itertools.pairwise(is_copy))
    assert changes > len(ids) / 4
    origins = [image_id.partition("+")[0] for image_id in ids]
    assert sum(a == b for a, b in itertools.pairwise(origins)) < len(ids) / 4


def test_an_output_shard_holds_the_images_of_its_source_shard(unchecked, workspace):
    source = preprocessed(workspace)
    ref = balance.balance(source, CONFIG, workspace=workspace)
    for name in parquet.names(workspace.folder(source), "train"):
        before, _ = parquet.read_labels(workspace.folder(source) / name)
        after, _ = parquet.read_labels(workspace.folder(ref) / name)
        assert {image_id.partition("+")[0] for image_id in after} == set(before)


def test_an_output_shard_that_would_be_too_large_is_split(unchecked, workspace, monkeypatch):
    source = preprocessed(workspace)
    whole = balance.balance(source, CONFIG, workspace=workspace)
    monkeypatch.setattr(parquet, "_ROW_GROUP_BYTES", 8 * 9 * 10)
    config = CONFIG.model_copy(update={"target": 60})
    ref = balance.balance(source, config, workspace=workspace)
    folder = workspace.folder(ref)
    names = parquet.names(folder, "train")
    sizes = [len(parquet.read_labels(folder / name)[0]) for name in names]
    assert sum(sizes) == 180
    assert max(sizes) <= 10
    assert len(sizes) <= math.ceil(180 / 10) + 3
    assert names == [parquet.name("train", number) for number in range(len(names))]
    assert len(set(parquet.load_split(folder, "train").image_ids)) == 180
    assert len(parquet.names(workspace.folder(whole), "train")) == 3


@pytest.mark.slow  # starts two processes
def test_one_and_two_workers_make_the_same_bytes(workspace, tmp_path):
    one, two = runners.Processes(workers=1), runners.Processes(workers=2, alone_s=0)
    alone = balance.balance(preprocessed(workspace), CONFIG, workspace=workspace, runner=one)
    other = LocalWorkspace(tmp_path / "other")
    together = balance.balance(preprocessed(other), CONFIG, workspace=other, runner=two)
    assert together == alone
    assert files(other, together) == files(workspace, alone)


def test_a_second_attempt_keeps_finished_shards_and_makes_the_rest(unchecked, workspace, tmp_path, monkeypatch):
    whole = balance.balance(preprocessed(workspace), CONFIG, workspace=workspace)
    other = LocalWorkspace(tmp_path / "other")
    source = preprocessed(other)
    with monkeypatch.context() as broken:
        write = parquet.write

        def write_but_one(path, *args):
            if path.name == "train-00001.parquet":
                raise errors.WorkspaceError("It must go on.")
            write(path, *args)

        broken.setattr(parquet, "write", write_but_one)
        with pytest.raises(errors.WorkspaceError):
            balance.balance(source, CONFIG, workspace=other)
    kept = {path.name: path.stat().st_ino for path in (other.root / ".partial").rglob("*.parquet")}
    assert sorted(kept) == ["train-00000.parquet", "train-00002.parquet"]
    again = balance.balance(source, CONFIG, workspace=other)
    assert again == whole
    assert files(other, again) == files(workspace, whole)
    assert {name: (other.folder(again) / name).stat().st_ino for name in kept} == kept


def test_a_lost_output_shard_is_made_again_alike(unchecked, workspace):
    source = preprocessed(workspace)
    ref = balance.balance(source, CONFIG, workspace=workspace)
    before = files(workspace, ref)
    (workspace.folder(ref) / "train-00002.parquet").unlink()
    assert balance.balance(source, CONFIG, workspace=workspace) == ref
    assert files(workspace, ref) == before


def test_another_seed_makes_other_copies_of_as_many_images(unchecked, workspace):
    source = preprocessed(workspace)
    refs = [balance.balance(source, balance.BalanceConfig(seed=seed), workspace=workspace) for seed in (0, 1)]
    assert refs[0].counts == refs[1].counts
    assert refs[0].digest != refs[1].digest


@pytest.mark.parametrize("strategy", ["none", "class-weights", "undersample"])
def test_shards_are_passed_on_as_they_are_where_no_class_changes(workspace, strategy):
    source = preprocessed(workspace)
    config = balance.BalanceConfig(strategy=strategy, target="max")
    ref = balance.balance(source, config, workspace=workspace)
    for name in parquet.names(workspace.folder(source), "train"):
        assert (workspace.folder(ref) / name).samefile(workspace.folder(source) / name)
    assert not (workspace.folder(ref) / "test-00000.parquet").exists()
    assert ref.counts == {"train": COUNTS}
    balance_plan = json.loads((workspace.folder(ref) / "plan.json").read_text())
    assert [(row["becomes"], row["needs"]) for row in balance_plan] == [(5, 18), (23, 0), (11, 12)]


def test_weights_make_another_output_of_the_same_images(unchecked, workspace):
    source = preprocessed(workspace)
    plain, also_plain, weighed = (
        balance.balance(source, balance.BalanceConfig(strategy=strategy, target="max"), workspace=workspace)
        for strategy in ("none", "undersample", "class-weights")
    )
    assert plain.digest == also_plain.digest != weighed.digest
    assert plain.class_weights == {}
    assert weighed.class_weights == pytest.approx({"angry": 39 / 15, "happy": 39 / 69, "sad": 39 / 33})
    assert images_of(workspace, plain) == images_of(workspace, weighed)


def test_progress_counts_images(unchecked, workspace):
    calls = []
    balance.balance(
        preprocessed(workspace),
        CONFIG,
        workspace=workspace,
        progress=lambda *args: calls.append(args[:2]),
    )
    assert len(calls) == 3
    assert calls[-1] == (69, 69)


@pytest.mark.parametrize(
    "wrong", [{"target": 0}, {"target": -5}, {"target": "largest"}, {"max_growth": 0.5}, {"max_growth": math.inf}]
)
def test_a_target_or_growth_that_is_none_is_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        balance.BalanceConfig(**wrong)
