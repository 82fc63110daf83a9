import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fer.evaluation import predictions
from fer.evaluation.config import GateConfig
from fer.evaluation.slices import figures, gate_check
from fer.evaluation.slices.columns import Column

CLASSES = ("happy", "sad")


def answers(right: np.ndarray, truth: np.ndarray | None = None) -> predictions.Predictions:
    truth = np.zeros(len(right), np.int32) if truth is None else truth.astype(np.int32)
    predicted = np.where(right, truth, 1 - truth).astype(np.int32)
    ids = [str(row) for row in range(len(right))]
    clean = np.ones(len(right), bool)
    return predictions.Predictions(ids, truth, predicted, np.eye(2, dtype=np.float32)[predicted], clean, CLASSES)


def column(*groups, name="light", slices=None) -> Column:
    return Column(name, "property", np.array(groups, object), slices or tuple(sorted({*groups} - {None})))


def measured(right, *columns, size=2, truth=None):
    return figures.measure(answers(np.array(right, bool), truth), columns, size, [])


def test_a_slice_stands_beside_the_rest_of_the_images():
    found = measured([1, 0, 0, 0, 1, 1, 1, 0], column(*"ddddllll", slices=("d",)))
    (dark,) = found.slices
    assert (dark.name, dark.n_images, dark.share, dark.accuracy, dark.accuracy_of_rest) == ("d", 4, 0.5, 0.25, 0.75)
    assert dark.difference == -0.5
    assert dark.difference_interval[0] < -0.5 < dark.difference_interval[1]
    assert dark.p_value == pytest.approx(stats.fisher_exact([[1, 3], [3, 1]]).pvalue)
    assert found.columns[0].gap == pytest.approx(0.5)
    assert not dark.is_worse


def test_the_worst_come_first_by_what_they_can_be_at_most():
    right = np.r_[np.zeros(3), np.ones(1), np.zeros(30), np.ones(20), np.ones(46)]
    found = measured(right, column(*["few"] * 4, *["many"] * 50, *["good"] * 46))
    assert [one.name for one in found.slices] == ["many", "few", "good"]
    assert [one.is_worse for one in found.slices] == [True, False, False]


def test_small_groups_are_counted_and_not_looked_at():
    found = measured([1, 1, 0, 0, 1, 1], column("a", "a", "a", "b", None, None), size=3)
    assert [one.name for one in found.slices] == ["a"]
    summary = found.columns[0]
    assert (summary.n_groups, summary.n_small_groups, summary.n_images_of_small_groups) == (2, 1, 1)
    assert (summary.n_unknown, summary.gap) == (2, None)


def test_as_many_groups_as_images_cost_no_memory():
    n = 30_000
    found = measured(np.ones(n), column(*[str(row) for row in range(n)]), size=2)
    assert (found.slices, found.columns[0].n_small_groups) == ((), n)


def test_a_slice_of_all_images_is_none():
    assert measured([1, 0, 1], column("a", "a", "a")).slices == ()


def test_what_is_hard_by_its_classes_is_told_from_what_is_hard_by_itself():
    truth = np.array([0] * 10 + [1] * 10)
    right = np.array([1] * 10 + [0] * 10, bool)
    (slice_, _) = measured(right, column(*["mostly sad"] * 5, *["other"] * 5, *["mostly sad"] * 10), truth=truth).slices
    assert slice_.name == "mostly sad"
    assert slice_.accuracy_by_classes == slice_.accuracy == pytest.approx(5 / 15)


def test_many_slices_of_chance_are_hardly_ever_worse():
    draw = np.random.default_rng(0)
    columns = [column(*draw.choice(["x", "y"], 400), name=str(n)) for n in range(12)]
    assert not any(one.is_worse for one in measured(draw.random(400) < 0.7, *columns).slices)


@settings(max_examples=10)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["a", "b", "c", None])), min_size=1, max_size=30))
def test_the_figures_are_those_of_each_groups_images_whatever_their_order(rows):
    right, groups = [row[0] for row in rows], [row[1] for row in rows]
    found = measured(right, column(*groups), size=1)
    for one in found.slices:
        inside = [is_right for is_right, group in rows if group == one.group]
        assert one.accuracy == pytest.approx(np.mean(inside))
        assert one.accuracy_interval[0] - 1e-9 <= one.accuracy <= one.accuracy_interval[1] + 1e-9
        assert one.p_value - 1e-12 <= one.p_corrected <= 1
    backwards = measured(right[::-1], column(*groups[::-1]), size=1)
    assert [one.group for one in backwards.slices] == [one.group for one in found.slices]


def checked(tmp_path, found, gap):
    (tmp_path / figures.FILE).write_text(found.model_dump_json())
    return gate_check.no_slice_far_below(tmp_path, GateConfig(max_slice_gap=gap))


def test_a_slice_that_is_surely_far_below_the_rest_is_refused_and_named(tmp_path):
    right = np.r_[np.zeros(60), np.ones(40), np.ones(90), np.zeros(10)]
    found = measured(right, column(*["dark"] * 100, *["light"] * 100, slices=("dark",)))
    refused = checked(tmp_path, found, 0.1)
    assert not refused.passed
    assert "dark: 0.400 on 100 images" in refused.detail
    assert checked(tmp_path, found, 0.6).passed


def test_a_slice_that_may_be_below_by_chance_passes(tmp_path):
    found = measured([0, 0, 0, 1, 1, 1, 1, 1], column(*"ddddllll"))
    check = checked(tmp_path, found, 0.0)
    assert check.passed
    assert "not more than chance" in check.detail


def test_no_slices_pass_and_say_so(tmp_path):
    check = checked(tmp_path, measured([1, 0], column("a", "b"), size=2), 0.0)
    assert check.passed
    assert "no slice of 2 images" in check.detail
