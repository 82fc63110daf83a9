"""A rotation: test is drawn anew from images that were never tested on, and those that were are trained on."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from split_cases import CLASSES, assert_none_straddles, assign, data, image, read, related, report, run

from data_contracts import files
from fer import errors
from fer.curation import groups, split
from fer.engine.local_workspace import LocalWorkspace


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def of(workspace, ref):
    """image_id -> split."""
    rows = read(workspace, ref)
    return dict(zip(rows["image_id"].to_pylist(), rows["split"].to_pylist(), strict=True))


def those(splits, name):
    return {image_id for image_id, in_split in splits.items() if in_split == name}


def rotated(number):
    return split.SplitConfig(rotation=number)


IMAGES = [image(n, CLASSES[n % 3]) for n in range(600)]


def test_test_is_drawn_anew_from_new_images_and_what_was_tested_is_trained_on(workspace):
    first = run(workspace, IMAGES[:300])
    before = of(workspace, first)
    second = run(workspace, IMAGES, rotated(1), first)
    after = of(workspace, second)
    assert len(those(before, "test")) == 30
    assert len(those(after, "test")) == 60
    assert those(before, "test") <= those(after, "train")
    assert those(after, "test").isdisjoint(before)
    assert those(before, "validation") <= those(after, "validation")
    assert report(workspace, second)["rotated"] == {"n_test": 60, "n_new": 60, "n_retired": 30}
    # A champion of the first split has met none of the new test: all of it can be compared.
    rows = read(workspace, second)
    known = read(workspace, first).filter(pc.is_in(read(workspace, first)["split"], pa.array(["train", "validation"])))
    assert not groups.leaked(rows.filter(pc.equal(rows["split"], "test")), known["pixel_sha256"]).any()


def test_where_new_images_do_not_reach_the_rest_comes_from_what_was_learned(workspace):
    first = run(workspace, IMAGES[:300])
    before = of(workspace, first)
    second = run(workspace, IMAGES[:310], rotated(1), first)
    fresh = those(of(workspace, second), "test")
    assert report(workspace, second)["rotated"] == {"n_test": 30, "n_new": 10, "n_retired": 30}
    assert fresh.isdisjoint(those(before, "test"))
    assert {one["image_id"] for one in IMAGES[300:310]} <= fresh
    assert those(before, "validation") <= those(of(workspace, second), "validation")


def test_it_stays_put_until_the_number_rises_again_and_never_comes_back_to_what_was_tested(workspace):
    refs = [run(workspace, IMAGES[:300])]
    for n_images, number in ((400, 1), (450, 1), (450, 0), (600, 2)):
        refs.append(run(workspace, IMAGES[:n_images], rotated(number), refs[-1]))
    tests = [those(of(workspace, ref), "test") for ref in refs]
    assert tests[1] <= tests[2] == tests[3]  # a lower number changes nothing
    assert tests[4].isdisjoint(tests[0] | tests[1] | tests[2])
    assert tests[0] | tests[2] <= those(of(workspace, refs[4]), "train")
    assert [report(workspace, ref)["rotation"] for ref in refs] == [0, 1, 1, 1, 2]
    again = run(workspace, IMAGES[:450], rotated(1), refs[2])
    assert of(workspace, again) == of(workspace, refs[3])


def test_an_image_that_was_away_during_the_rotation_is_not_tested_on_again(workspace):
    first = run(workspace, IMAGES[:300])
    away = those(of(workspace, first), "test")
    second = run(workspace, [one for one in IMAGES if one["image_id"] not in away], rotated(1), first)
    third = run(workspace, IMAGES, rotated(1), second)
    assert away <= those(of(workspace, third), "train")
    assert away.isdisjoint(of(workspace, second))


def test_a_near_duplicate_of_a_tested_image_is_not_tested_on_either(workspace):
    first = run(workspace, IMAGES[:300])
    tested = [one for one in IMAGES[:300] if one["image_id"] in those(of(workspace, first), "test")]
    pairs = list(zip(tested, IMAGES[300:330], strict=True))
    second = run(workspace, IMAGES, rotated(1), first, pairs)
    assert {one["image_id"] for one in IMAGES[300:330]} <= those(of(workspace, second), "train")
    assert second.n_leaked == 0


@given(data(actions=("keep",)), data(actions=("keep",)), st.integers(0, 3))
def test_no_group_of_which_an_image_was_tested_is_tested_again_and_none_is_divided(old, new, seed):
    images, pairs = old
    before, _ = assign(images, pairs, seed=seed)
    more = [one | {"image_id": f"{100 + at:032x}"} for at, one in enumerate(new[0])]
    after, result = assign([*images, *more], pairs, before, rotates=True, seed=seed)
    assert_none_straddles([*images, *more], pairs, after)
    tested = {image_id for image_id, (in_split, *_) in before.items() if in_split == "test"}
    for image_id in tested:
        assert after[image_id][0] in ("train", None)
    for one, other in related([*images, *more], pairs):
        for member, duplicate in ((one, other), (other, one)):
            assert not (member["image_id"] in tested and after[duplicate["image_id"]][0] == "test")
    assert result.n_leaked == result.n_leaked_subjects == 0


def test_a_test_split_of_the_sources_own_can_not_be_rotated(workspace):
    images = [image(n, CLASSES[n % 3], raw_split=("Training", "PrivateTest")[n % 2]) for n in range(60)]
    with pytest.raises(errors.ConfigError, match=r"split\.use_official=false"):
        run(workspace, images, rotated(1))


def test_assignments_from_before_there_were_rotations_are_rotated_too(workspace):
    first = run(workspace, IMAGES[:300])
    folder = workspace.folder(first)
    older = pq.read_table(folder / files.ASSIGNMENTS).drop_columns(["was_tested"])
    assert not np.array(pq.read_table(folder / files.ASSIGNMENTS)["was_tested"]).any()
    pq.write_table(older, folder / files.ASSIGNMENTS)
    _, number, earlier = split._earlier(folder, split.SplitConfig())
    assert number == 0
    assert set(split.retired(earlier)["split"].to_pylist()) == {"train", "validation"}
