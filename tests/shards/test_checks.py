import dataclasses

import numpy as np
import pytest
from shard_files import CLASSES, SIZE, shard, summarised

from data_contracts import files
from data_contracts import shards as contract
from fer import errors
from fer.engine import contracts
from fer.shards import checks, parquet


def sound(folder):
    """A shard a split, and what was promised of them."""
    summaries = [
        summarised(shard(folder, "train-00000.parquet", ["a", "b", "c"], [0, 1, 2]), "train"),
        summarised(shard(folder, "test-00000.parquet", ["d", "e"], [0, 2]), "test"),
    ]
    return summaries, {"train": {"angry": 1, "happy": 1, "sad": 1}, "test": {"angry": 1, "happy": 0, "sad": 1}}


def check(out, summaries, promised):
    checks.check(out, "shards", summaries, promised, CLASSES, SIZE)


def broken(folder):
    return {rule.id for rule in contracts.read(folder) if not rule.passed}


def test_sound_shards_keep_every_rule_and_have_pages(tmp_path):
    summaries, promised = sound(tmp_path)
    check(tmp_path, summaries, promised)
    outcomes = contracts.read(tmp_path)
    expected_ids = {rule.id for rule in contract.rules(CLASSES, height=4, width=5) if rule.frame != "copies"}
    assert {outcome.id for outcome in outcomes} == expected_ids
    assert broken(tmp_path) == set()
    assert "shards" in (tmp_path / files.DOCS / "index.html").read_text()


@pytest.mark.parametrize(
    ("shard_of_train", "rule", "message"),
    [
        ({"class_indexes": [0, 1, 3]}, "highest_class", "class_index of no class"),
        ({"class_indexes": [0, -1, 2]}, "lowest_class", "class_index below 0"),
        ({"image_ids": ["a", "b", "a"]}, "image_id_unique", "more than once"),
        ({"image_ids": ["a", "b", "d"]}, "image_id_unique", "more than once"),  # d is in test
        ({"image_ids": [], "class_indexes": []}, "shard_not_empty", "without an image"),
        ({"class_indexes": [0, 1, 1]}, "counts_as_promised", "sad in train"),
        ({"pixels": np.ones((3, 5, 5), np.uint8)}, "shard_height", "another height"),
        ({"pixels": np.ones((3, 4, 4), np.uint8)}, "shard_width", "another width"),
        ({"classes": ("sad", "happy", "angry")}, "shard_classes", "other classes"),
    ],
)
def test_an_unsound_shard_ends_the_stage_and_is_named(tmp_path, shard_of_train, rule, message):
    summaries, promised = sound(tmp_path)
    values = {"image_ids": ["a", "b", "c"], "class_indexes": [0, 1, 2]} | shard_of_train
    if not values["image_ids"]:
        values["pixels"] = np.empty((0, *SIZE), np.uint8)
    summaries[0] = summarised(shard(tmp_path, "train-00000.parquet", **values), "train")
    with pytest.raises(errors.ContractViolation, match=message) as raised:
        check(tmp_path, summaries, promised)
    assert "train" in str(raised.value)
    assert rule in broken(tmp_path)


def test_images_of_one_grey_and_a_shard_of_many_bytes_are_warnings(tmp_path):
    _, promised = sound(tmp_path)
    flat = shard(tmp_path, "train-00000.parquet", ["a", "b", "c"], [0, 1, 2], np.full((3, *SIZE), 7, np.uint8))
    oversized = dataclasses.replace(summarised(flat, "train"), n_bytes=contract.MAX_SHARD_BYTES + 1)
    check(tmp_path, [oversized, sound(tmp_path)[0][1]], promised)
    assert broken(tmp_path) == {"contrast", "shard_size"}


def test_a_split_without_shards_breaks_the_contract(tmp_path):
    summaries, promised = sound(tmp_path)
    with pytest.raises(errors.ContractViolation, match=r"split without an image.*validation"):
        check(tmp_path, summaries, promised | {"validation": dict.fromkeys(CLASSES, 0)})


@pytest.mark.parametrize(
    ("image_ids", "class_indexes", "message"),
    [
        (["a", "a+0", "z+0"], [0, 0, 0], "without their source"),
        (["a", "a+0", "b+0"], [0, 0, 0], "another class than their source"),
    ],
)
def test_a_copy_must_have_its_source_and_its_class(tmp_path, image_ids, class_indexes, message):
    source = parquet.read(shard(tmp_path, "source", ["a", "b"], [0, 1]))
    path = shard(tmp_path, "train-00000.parquet", image_ids, class_indexes)
    with pytest.raises(errors.ContractViolation, match=message):
        check(tmp_path, [summarised(path, "train", source)], {"train": {"angry": 3, "happy": 0, "sad": 0}})


def test_sound_copies_keep_the_contract(tmp_path):
    source = parquet.read(shard(tmp_path, "source", ["a", "b"], [0, 1]))
    path = shard(tmp_path, "train-00000.parquet", ["a", "a+0", "b", "b+0"], [0, 0, 1, 1])
    check(tmp_path, [summarised(path, "train", source)], {"train": {"angry": 2, "happy": 2, "sad": 0}})
    assert {"copy_has_source", "copy_keeps_class"} <= {outcome.id for outcome in contracts.read(tmp_path)}
