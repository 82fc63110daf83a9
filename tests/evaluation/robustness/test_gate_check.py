import pytest

from fer.evaluation.config import GateConfig
from fer.evaluation.refs import RobustnessComparisonRef
from fer.evaluation.robustness import gate_check


def check(difference: float | None, standard_error: float | None, **settings):
    ref = RobustnessComparisonRef(
        champion_version=3,
        n_images=500,
        difference=difference,
        standard_error=standard_error,
        mean_corruption_error=1.0,
        relative_mean_corruption_error=1.0,
    )
    return gate_check.under_corruption(ref, GateConfig(**({"robustness_margin": 0.05} | settings)))


def test_a_candidate_passes_if_its_lower_bound_keeps_the_margin():
    assert check(0.0, 0.01).passed
    assert check(-0.03, 0.01).passed  # -0.046 at 95 %
    assert not check(-0.04, 0.01).passed  # -0.056
    assert not check(-0.03, 0.02).passed
    assert not check(0.0, 0.01, robustness_margin=0.01).passed
    assert check(-0.9, 0.01, robustness_margin=1).passed


def test_the_check_says_what_it_measured():
    result = check(-0.04, 0.01)
    assert "champion (version 3)" in result.name
    assert "-0.0564" in result.detail
    assert result.measure.setting == "gate.robustness_margin"
    assert result.measure.interval[0] == pytest.approx(-0.04 - 1.6449 * 0.01, abs=1e-5)


def test_no_figure_passes_and_is_stated_and_no_number_does_not():
    unknown = check(None, None)
    assert unknown.passed
    assert "not compared" in unknown.detail
    assert not check(float("nan"), 0.01).passed
    assert not check(0.0, float("nan")).passed
