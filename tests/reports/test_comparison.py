from fer.evaluation import compare
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


def test_the_table_names_the_best_by_validation_and_has_a_row_per_candidate():
    best = MODEL.model_copy(update={"validation_accuracy": 0.7})
    rows = (
        compare.Row(candidate="one", model=best, evaluation=EVALUATION),
        compare.Row(
            candidate="the|other\n", model=MODEL, evaluation=EVALUATION, difference=0.4, difference_interval=(0.3, 0.5)
        ),
    )
    text = comparison.markdown(rows)
    assert "| one (best on validation) | vgg | 1,234 | 7 of 9 | 1.5 | 0.700 |" in text
    assert "| +0.400 (" in text
    assert [row["candidate"] for row in comparison.table(rows)] == ["one (best on validation)", "the|other\n"]
    assert "| the\\|other\\\\u000a | vgg |" in text
