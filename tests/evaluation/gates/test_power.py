"""The power of a comparison, against simulated candidates that go through the gate's own bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer.evaluation import metrics
from fer.evaluation.gates import power

REPORT = (105, 299, 322, 315, 99)  # 8 % of the report's images, by class


def pair(counts, accuracy, discordant, loss, rng):
    """(truth, champion's, candidate's) classes: on the share `discordant` of the images exactly one is right, the
    candidate on `loss` fewer; wrong classes are drawn in proportion to their sizes."""
    truth = np.repeat(np.arange(len(counts)), counts)
    draw = rng.random(len(truth))
    wrong = [_other(truth, counts, rng) for _ in range(2)]
    both = draw < accuracy - discordant / 2
    champion_alone = ~both & (draw < accuracy + loss / 2)
    candidate_alone = ~both & ~champion_alone & (draw < accuracy + discordant / 2)
    return truth, np.where(both | champion_alone, truth, wrong[0]), np.where(both | candidate_alone, truth, wrong[1])


def _other(truth, counts, rng):
    drawn = rng.choice(len(counts), size=len(truth), p=np.array(counts) / sum(counts))
    return np.where(drawn == truth, (truth + 1) % len(counts), drawn)


@pytest.mark.slow  # by what it computes
@pytest.mark.parametrize(
    ("counts", "accuracy", "discordant", "margin"), [(REPORT, 0.7, 0.25, 0.045), ((300, 300, 300), 0.8, 0.1, 0.03)]
)
def test_as_many_pass_in_simulation_as_the_power_says(counts, accuracy, discordant, margin):
    rng = np.random.default_rng(0)

    def compared(loss):
        truth, champion, candidate = pair(counts, accuracy, discordant, loss, rng)
        difference = metrics.paired_difference(truth, champion, candidate, len(counts), samples=150)
        n_discordant = int(((champion == truth) != (candidate == truth)).sum())
        return difference, power.of_comparison(
            len(truth), n_discordant, macro_f1_se=difference.macro_f1_se, correlation=difference.correlation,
            margin=margin, confidence=0.95,
        )  # fmt: skip

    def pass_share(loss):
        differences = [compared(loss)[0] for _ in range(300)]
        return np.mean(
            [min(difference.accuracy_bound(), difference.macro_f1_bound()) >= -margin for difference in differences]
        )

    estimates = [compared(0.0)[1] for _ in range(20)]
    equal, worse, refused_from = (
        float(np.mean([getattr(estimate, name) for estimate in estimates]))
        for name in ("equal_passes", "worse_passes", "refused_from")
    )
    # 300 trials have a standard error of 0.03 at most, and the candidates lose somewhat more or less in macro-F1.
    assert pass_share(0.0) == pytest.approx(equal, abs=0.08)
    assert pass_share(power.LOSS) == pytest.approx(worse, abs=0.10)
    assert pass_share(refused_from) <= 0.12


def test_the_images_that_two_points_take_are_those_of_the_closed_formula():
    assert power.images_needed(0.2) == pytest.approx(0.2 / 2.54e-5, rel=0.002)
    assert power.images_needed(0.0) == 0


def test_identical_models_pass_and_worse_ones_are_worse_on_as_many_images_at_least():
    estimate = power.of_comparison(400, 0, macro_f1_se=0.0, correlation=0.0, margin=0.01, confidence=0.95)
    assert estimate.equal_passes == 1
    assert estimate.worse_passes < 0.01


def power_of(n, share, margin, correlation=0.8):
    n_discordant = round(n * share)
    se = (max(n_discordant, 1) / n / n) ** 0.5
    return power.of_comparison(n, n_discordant, macro_f1_se=se, correlation=correlation, margin=margin, confidence=0.95)


@settings(max_examples=settings.default.max_examples * 3 // 5)
@given(
    n=st.integers(10, 20_000),
    share=st.floats(0.03, 0.6),
    margin=st.floats(0, 0.2),
    correlation=st.floats(-1, 1),
)
def test_an_equal_passes_more_often_than_a_worse_one_and_more_so_with_a_wider_margin(n, share, margin, correlation):
    narrow, wider = power_of(n, share, margin, correlation), power_of(n, share, margin + 0.02, correlation)
    assert 0 <= narrow.worse_passes <= narrow.equal_passes <= 1
    assert wider.equal_passes >= narrow.equal_passes - 1e-4
    # A loss of the margin passes accuracy alone in 5 %.
    assert narrow.refused_from <= margin + 1e-3


def test_the_words_hold_the_numbers():
    estimate = power_of(3_589, 0.2, 0.025)
    assert estimate.short() in estimate.sentence()
    for part in (
        "20.0% of 3,589 images",
        f"{estimate.equal_passes:.0%} of equals",
        f"{estimate.images_needed:,} images",
    ):
        assert part in estimate.sentence()
