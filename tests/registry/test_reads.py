"""How often test images were read: by verdicts on the same images, and on sets that overlap theirs."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from registrations import parts, register, state_for

from data_contracts import files
from fer.evaluation.config import GateConfig
from fer.registry import reads


def written(folder, pixels, splits):
    folder.mkdir()
    pq.write_table(pa.table({"pixel_sha256": list(pixels), "split": list(splits)}), folder / files.SPLIT)
    return reads.digest(folder)


def test_the_digest_is_that_of_the_test_images_alone_in_any_order(tmp_path):
    first = written(tmp_path / "a", "abcd", ["train", "test", "test", "validation"])
    assert first == written(tmp_path / "b", "cxb", ["test", "train", "test"])
    assert first != written(tmp_path / "c", "bcd", ["test", "test", "test"])
    assert reads.table(tmp_path / "b").to_pydict() == {"pixel_sha256": ["b", "c"]}


def images_in(models):
    return lambda manifest: reads.tested_on(models, manifest)


@pytest.fixture
def three(models, workspace):
    """The manifests of three versions that were judged by the same image."""
    for number, weights in enumerate("abc"):
        refs = parts(workspace, weights=weights, champion_version=number or None)
        register(workspace, refs, state_for(workspace, refs[1]))
    return models.versions("demo")


def test_each_registration_is_a_read_of_its_test_set(models, three):
    (read,) = reads.ledger(three, images_in(models))
    assert (read.versions, read.n_comparisons, read.per_image, read.is_worn) == ((1, 2, 3), 2, 3, False)
    assert read.by_luck == pytest.approx(2 * 0.025)
    assert read.n_replacements == 3
    assert len(read.test_set) == 64
    assert read.first <= read.last
    assert reads.tested_on(models, three[0]) == {"d"}
    worn = [three[0].model_copy(update={"version": number}) for number in range(1, 101)]
    assert reads.ledger(worn, images_in(models))[0].is_worn
    assert not reads.ledger(worn[1:], images_in(models))[0].is_worn


def test_each_version_says_how_often_its_test_images_were_read_and_warns_from_a_bound_on(models, workspace, tmp_path):
    refs = parts(workspace)
    release = register(workspace, refs)
    assert (release.checks[-1].measure.value, release.checks[-1].mark) == (1, "✓")
    manifest = models.get("demo", "1")
    assert manifest.reads == release.checks[-1]
    versions = [manifest.model_copy(update={"version": number}) for number in range(1, 100)]
    split_folder = workspace.folder(refs[0])
    again = reads.check(versions, images_in(models), split_folder, GateConfig())
    assert (again.passed, again.mark, again.measure.value) == (True, "✓", 100)
    worn = reads.check(versions, images_in(models), split_folder, GateConfig(max_reads=99))
    assert (worn.passed, worn.mark) == (True, "!")
    assert "verdicts that have read a test image, on average: 100, of at most 99" in worn.detail
    assert "split.rotation" in worn.detail
    written(tmp_path / "other", "de", ["test", "test"])
    half = reads.check(versions, images_in(models), tmp_path / "other", GateConfig())
    assert half.measure.value == 1 + 99 / 2


def test_versions_that_do_not_say_what_they_were_tested_on_are_left_out(models, workspace):
    register(workspace, parts(workspace))
    silent = models.get("demo").model_copy(update={"test_set": ""})
    assert reads.ledger([silent], images_in(models)) == ()


def of_sets(three, sets):
    """The ledger of versions that were judged by these sets, one after the other, the first one without a champion."""
    manifests = [
        three[1].model_copy(update={"version": number, "test_set": "".join(sorted(images))})
        for number, images in enumerate(sets, 1)
    ]
    return {read.test_set: read for read in reads.ledger(manifests, lambda one: frozenset(one.test_set))}


def test_a_verdict_counts_for_the_share_of_a_set_that_it_read(three):
    ledger = of_sets(three, ["abcd", "abcd", "abcdefgh", "gh", "x"])
    assert {name: read.per_image for name, read in ledger.items()} == {
        "abcd": 3,  # twice itself, and as a part of the larger one
        "abcdefgh": 2 * 0.5 + 1 + 0.25,
        "gh": 2,
        "x": 1,
    }
    assert ledger["gh"].by_luck == pytest.approx(2 * 0.025)
    assert ledger["x"].n_replacements == 1


def test_a_set_of_unknown_images_overlaps_no_other(three):
    manifests = [three[0].model_copy(update={"version": number, "test_set": str(number)}) for number in (1, 2)]
    assert [read.per_image for read in reads.ledger(manifests, lambda one: None)] == [1, 1]


@given(st.integers(1, 400), st.integers(0, 400), st.integers(1, 50_000))
def test_more_verdicts_make_less_sure_and_the_ladder_less_so_than_tuning_by_each(n_verdicts, n_replacements, n_images):
    once = reads.within(n_images, 0)
    courses = reads.log_courses(n_verdicts, n_replacements)
    assert 0 <= courses <= n_verdicts * math.log(2) + 1e-9
    assert reads.log_courses(n_verdicts + 1, n_replacements) >= courses
    assert once <= reads.within(n_images, courses) <= reads.within(n_images, n_verdicts * math.log(2)) + 1e-12 <= 1.0001


def test_the_stated_bound_holds_for_the_champions_of_many_years_of_choosing_by_one_test():
    # Candidates whose answers are guesses, each replacing the champion if it has more of the test right: luck alone.
    n_images, n_verdicts = 400, 52
    rng = np.random.default_rng(0)
    off, bounds = [], []
    for _ in range(200):
        scores = rng.binomial(n_images, 0.5, n_verdicts) / n_images
        replacements = int((np.diff(np.maximum.accumulate(scores)) > 0).sum()) + 1
        off.append(scores.max() - 0.5)
        bounds.append(reads.within(n_images, reads.log_courses(n_verdicts, replacements)))
    assert np.mean(off) > 0.04  # the champion's accuracy on it flatters
    assert np.mean(np.array(off) > reads.within(n_images, 0)) > 0.05  # by more than one verdict would say
    assert np.mean(np.array(off) > np.array(bounds)) <= 0.05
