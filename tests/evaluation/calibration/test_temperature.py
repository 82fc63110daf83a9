import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fer.evaluation import probabilities
from fer.evaluation.calibration import temperature


def softmax(values):
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


def drawn(n: int, *, sureness: float, seed: int = 0):
    """(N,) classes and (N, 4) probabilities, of logits that are `sureness` times those that the classes follow."""
    draw = np.random.default_rng(seed)
    logits = 1.5 * draw.normal(size=(n, 4))
    truth = (logits + draw.gumbel(size=(n, 4))).argmax(axis=1)  # drawn by softmax(logits)
    return truth, softmax(logits * sureness)


@pytest.mark.parametrize("sureness", [0.5, 1, 2.5])
def test_the_temperature_is_how_much_too_sure_the_model_is(sureness):
    truth, values = drawn(4_000, sureness=sureness)
    found = temperature.fit(truth, values)
    assert found.temperature == pytest.approx(sureness, rel=0.06)
    assert found.why_one == ""


def test_it_mends_what_is_too_sure_on_other_images():
    found = temperature.fit(*drawn(1_000, sureness=3))
    truth, values = drawn(8_000, sureness=3, seed=1)
    scaled = temperature.scaled(values, found.temperature)
    assert probabilities.calibration_error(truth, values) > 0.15
    assert probabilities.calibration_error(truth, scaled) < 0.04
    assert probabilities.log_losses(truth, scaled).mean() < probabilities.log_losses(truth, values).mean()


def test_it_is_the_least_log_loss_of_all_temperatures():
    truth, values = drawn(200, sureness=2)
    found = temperature.fit(truth, values).temperature

    def log_loss(one):
        return probabilities.log_losses(truth, temperature.scaled(values, one)).mean()

    others = np.geomspace(temperature.LOWEST, temperature.HIGHEST, 400)
    assert log_loss(found) <= min(log_loss(one) for one in others) + 1e-6


@pytest.mark.parametrize(
    ("truth", "values"),
    [
        ([0, 1, 1], [[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]]),
        ([1, 0, 0], [[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]]),
    ],
    ids=["all right", "all wrong"],
)
def test_where_no_temperature_is_the_best_one_it_stays_1_and_says_so(truth, values):
    found = temperature.fit(np.array(truth), np.array(values))
    assert found.temperature == 1
    assert "no temperature from 0.05 to 20 is the best one" in found.why_one


@pytest.mark.parametrize(
    "values",
    [[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0], [1.0, 0.0]]],
    ids=["certain and right", "knows nothing", "certain and once wrong"],
)
def test_probabilities_of_0_and_1_and_equal_ones_have_a_temperature(values):
    found = temperature.fit(np.array([0, 1]), np.array(values))
    assert temperature.LOWEST <= found.temperature <= temperature.HIGHEST
    assert np.isfinite(temperature.scaled(np.array(values), 3.0)).all()


def test_at_a_temperature_of_1_probabilities_stay_as_they_are_to_the_bit():
    _, values = drawn(50, sureness=1)
    np.testing.assert_array_equal(temperature.scaled(values, 1.0), values)


def as_probabilities(values):
    """Rows that sum to 1; what is 0 everywhere is alike for all."""
    values = np.where(values.any(axis=1, keepdims=True), np.float64(values), 1)
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


rows = arrays.arrays(np.float32, (6, 3), elements=st.floats(0, 1, width=32)).map(as_probabilities)


@given(rows, st.floats(temperature.LOWEST, temperature.HIGHEST))
def test_no_temperature_changes_an_answer(values, one):
    scaled = temperature.scaled(values, one)
    np.testing.assert_array_equal(scaled.argmax(axis=1), values.argmax(axis=1))
    np.testing.assert_array_equal(scaled[:, ::-1].argmax(axis=1), values[:, ::-1].argmax(axis=1))
    np.testing.assert_allclose(scaled.sum(axis=1), 1, atol=1e-5)


def test_an_answer_by_the_last_bit_stays_one():
    values = np.array([[0.4, np.nextafter(np.float32(0.4), np.float32(1)), 0.2]], np.float32)
    for one in (2.0, 7.3, 20.0):
        scaled = temperature.scaled(values, one)
        assert scaled.argmax(axis=1) == scaled[:, ::-1].argmax(axis=1) == 1
