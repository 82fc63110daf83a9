import numpy as np

from fer.evaluation.comparing import candidates, differences
from fer.evaluation.comparing.costs import Costs, Latency
from fer.evaluation.comparing.differences import Shared
from fer.evaluation.refs import EvaluationRef
from fer.reports import comparison
from fer.training.refs import ModelRef

MODEL = ModelRef(
    model="vgg",
    classes=("happy", "sad"),
    n_parameters=1_234,
    epochs_run=9,
    best_epoch=7,
    validation_accuracy=0.5,
    train_seconds=90.0,
)
EVALUATION = EvaluationRef(
    split="test", n_images=100, accuracy=0.5, accuracy_interval=(0, 1), macro_f1=0.5, macro_f1_interval=(0, 1)
)
LATENCY = Latency(image_ms=2.5, image_ms_interval=(2, 3), images_per_s=400)
TRUTH = np.array([0, 1] * 5)


def rows(latency=LATENCY):
    costs = Costs(size_bytes=2_500_000, n_parameters=1_234, latency=latency)
    answers = Shared(tuple("abcdefghij"), TRUTH, np.zeros(10, int), TRUTH, ("happy", "sad"))
    one = candidates.Row(
        candidate="one",
        model=MODEL.model_copy(update={"validation_accuracy": 0.7}),
        evaluation=EVALUATION,
        costs=costs.model_copy(update={"size_bytes": 400_000, "peak_memory_mb": 812.4, "energy_kwh": 0.5}),
    )
    other = candidates.Row(
        candidate="the|other\n",
        model=MODEL,
        evaluation=EVALUATION,
        costs=costs,
        differences=differences.between(answers),
    )
    return (one, other)


def test_the_table_names_the_best_by_validation_and_has_a_row_per_candidate():
    text = comparison.markdown(rows())
    assert "| one (best on validation) | vgg | 1,234 | 7 of 9 | 1.5 | 0.700 |" in text
    assert "| +0.500 (" in text
    assert "| 5 better, 0 worse | 2.50 | 2.50 | not measured | not measured |" in text
    assert "| 0.40 | 2.50 | 812 | 0.5000 |" in text
    assert [row["candidate"] for row in comparison.table(rows())] == ["one (best on validation)", "the|other\n"]
    assert "| the\\|other\\\\u000a | vgg |" in text


def test_each_candidate_is_set_beside_the_first_class_by_class():
    text = comparison.by_class(rows())
    assert text.startswith("## the\\|other\\\\u000a (B) beside one (A)\n")
    assert "| recall of sad (5) | 0.000 | 1.000 | +1.000 (" in text
    assert comparison.by_class(rows()[:1]) == ""


def test_accuracy_is_drawn_against_size_and_against_latency_where_that_was_measured():
    both = comparison.pictures(rows())
    assert both.count("<svg") == 2
    assert "one: test accuracy 0.500 (0.000 to 1.000), megabytes 0.4" in both
    assert "milliseconds for an image 2.5" in both
    assert comparison.pictures(rows(latency=None)).count("<svg") == 1
