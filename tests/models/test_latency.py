"""Times side by side, and the interval of their ratio's median."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer.models import latency


def test_each_call_has_its_turn_in_every_round():
    turns = []
    taken = latency.interleaved([lambda: turns.append("a"), lambda: turns.append("b")], seconds=0)
    assert taken.shape == (2, 15)
    assert (taken > 0).all()
    after_warm_up = turns[6:]
    assert after_warm_up[:4] in (["a", "b", "b", "a"], ["b", "a", "a", "b"])
    assert after_warm_up.count("a") == after_warm_up.count("b") == 15


def test_rounds_fill_the_time_that_they_are_given():
    assert 15 < latency.interleaved([lambda: time.sleep(0.001)], seconds=0.5).shape[1] <= 101


@given(st.lists(st.floats(0.1, 10), min_size=15, max_size=101), st.sampled_from([0.9, 0.99]))
def test_the_interval_holds_the_median(values, confidence):
    low, high = latency.median_interval(np.array(values), confidence)
    assert low <= np.median(values) <= high
    assert min(values) <= low
    assert high <= max(values)


@pytest.mark.parametrize("n", [15, 101])
def test_the_interval_misses_the_true_median_as_rarely_as_it_says(n):
    rng = np.random.default_rng(0)
    intervals = [latency.median_interval(draw, 0.99) for draw in rng.exponential(size=(1_000, n))]
    missed = sum(not low <= np.log(2) <= high for low, high in intervals)
    assert missed <= 20  # 10 expected at most
