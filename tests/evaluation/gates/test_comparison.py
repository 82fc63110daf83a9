"""When a candidate that passed replaces the champion, by the images on which exactly one of the two is right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer.evaluation import metrics, predictions
from fer.evaluation.config import GateConfig
from fer.evaluation.gates.beforehand import ComparedImages
from fer.evaluation.gates.comparison import Comparison

CLASSES = ("happy", "sad")
CHANGED = ("the data has changed",)


def compared(n_gained: int, n_lost: int, n: int = 1_000, **config) -> Comparison:
    """A candidate that gains and loses so many of n images against a champion that is right on 60 % of the others."""
    truth = np.arange(n, dtype=np.int32) % 2
    right = np.arange(n) // 2 % 5 < 3
    old, new = right.copy(), right.copy()
    old[:n_gained], new[:n_gained] = False, True
    old[n - n_lost :], new[n - n_lost :] = True, False
    ids = [str(at) for at in range(n)]

    def answers(is_right):
        nothing, clean = np.zeros((n, 2), np.float32), np.ones(n, bool)
        return predictions.Predictions(ids, truth, np.where(is_right, truth, 1 - truth), nothing, clean, CLASSES)

    images = ComparedImages(ids, truth, None)
    return Comparison(answers(new), answers(old), images, "champion (version 1)", GateConfig(samples=200, **config))


def test_a_candidate_that_is_shown_to_be_better_replaces_the_champion_without_a_reason():
    decision = compared(60, 20).decide((), ())
    assert (decision.replaces, decision.for_a_reason) == (True, False)
    counts = "60 images better, 20 worse, p = 4.29e-06 by McNemar's exact test"
    assert decision.sentence == f"better than the champion (version 1): {counts}"


def test_an_equal_candidate_changes_nothing_and_the_sentence_says_why():
    decision = compared(31, 30).decide((), ())
    assert not decision.replaces
    assert "31 images better, 30 worse" in decision.sentence
    assert decision.sentence.endswith("and no reason to change: the data and the code are the same")


def test_a_reason_replaces_the_champion_by_one_that_is_as_good_once_a_year():
    equal = compared(11, 10)
    decision = equal.decide(CHANGED, ())
    assert (decision.replaces, decision.for_a_reason) == (True, True)
    assert decision.sentence.startswith("as good as the champion (version 1), and the data has changed: at 99% ")
    used = ("so version 3 was promoted on 2026-05-01",)
    spent = equal.decide(CHANGED, used)
    assert not spent.replaces
    assert f"enough once a year, by gate.waivers; {used[0]}" in spent.sentence
    assert compared(11, 10, waivers=2).decide(CHANGED, used).replaces
    assert not compared(11, 10, waivers=0).decide(CHANGED, ()).replaces


def test_a_reason_is_not_enough_for_one_that_may_be_two_points_worse():
    decision = compared(100, 110).decide(CHANGED, ())
    assert not decision.replaces
    assert "but at 99% confidence accuracy and macro-F1 change by -0.0" in decision.sentence
    assert "which must be at least -0.0200" in decision.sentence


def test_whatever_passes_replaces_the_champion_if_the_recipe_says_so():
    assert compared(10, 40, superiority=0).decide((), ()).replaces


@pytest.mark.parametrize(("n_lost", "passed"), [(200, True), (201, False)])
def test_churn_is_bounded_however_much_is_gained(n_lost, passed):
    check = compared(400, n_lost).churn()
    assert check.passed == passed
    assert f"{n_lost:,} of 1,000 images" in check.detail
    assert "400 the other way round" in check.detail


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 40), st.booleans())
def test_more_gains_never_keep_a_champion_that_fewer_would_replace(n_gained, n_lost, more, has_reason):
    changes = CHANGED if has_reason else ()
    fewer, greater = compared(n_gained, n_lost, margin=1), compared(n_gained + more, n_lost, margin=1)
    if fewer.decide(changes, ()).replaces and metrics.mcnemar(n_gained, n_lost) <= 0.025:
        assert greater.decide(changes, ()).replaces
