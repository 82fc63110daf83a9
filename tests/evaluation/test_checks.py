import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import files
from data_contracts import predictions as contract
from fer import errors
from fer.engine import contracts
from fer.evaluation import checks as prediction_checks
from fer.evaluation import predictions
from fer.shards import parquet

CLASSES = ("happy", "sad", "angry")
IDS = ("a", "b", "c", "d")
TRUTH = (0, 1, 2, 0)


def probabilities(predicted, certainty=0.8):
    rest = (1 - certainty) / 2
    return np.where(np.eye(3)[list(predicted)] == 1, certainty, rest).astype(np.float32)


@pytest.fixture
def split(tmp_path):
    """A test split of two shards."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, rows in enumerate((slice(0, 3), slice(3, 4))):
        pixels = np.zeros((len(IDS[rows]), 2, 2), np.uint8)
        parquet.write(
            folder / parquet.name("test", number), IDS[rows], np.array(TRUTH[rows], np.int32), pixels, CLASSES
        )
    return folder


def check(tmp_path, split, image_ids=IDS, truth=TRUTH, scores=None, predicted=None):
    """The ids of the broken rules."""
    out = tmp_path / "out"
    out.mkdir()
    scores = probabilities((0, 1, 2, 1)) if scores is None else scores
    predictions.write(
        out / predictions.FILE, image_ids, np.array(truth, np.int32), scores, np.ones(len(truth), bool), CLASSES
    )
    if predicted is not None:
        table = pq.read_table(out / predictions.FILE)
        column = pa.array(predicted, pa.int32())
        pq.write_table(table.set_column(2, table.schema.field(2), column), out / predictions.FILE)
    prediction_checks.check(out, split, "test")
    return {outcome.id for outcome in contracts.read(out) if not outcome.passed}


def test_sound_predictions_keep_every_rule_and_have_pages(tmp_path, split):
    assert check(tmp_path, split) == set()
    assert {outcome.id for outcome in contracts.read(tmp_path / "out")} == {rule.id for rule in contract.rules(CLASSES)}
    assert (tmp_path / "out" / files.DOCS / "index.html").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.full((4, 3), 0.9, np.float32)}, "do not add up to 1"),
        ({"scores": np.array([[1.5, -0.5, 0]] * 4, np.float32)}, "below 0.*above 1"),
        ({"image_ids": ("a", "b", "c", "a")}, "occurs more than once"),
        ({"image_ids": ("a", "b", "c", "z")}, "not in the split"),
        ({"truth": (1, 1, 2, 0)}, "another than in the shards"),
        ({"truth": (0, 1, 3, 0)}, "class_index is that of no class"),
        ({"predicted": (0, 1, 2, 2)}, "not the most probable"),
        ({"predicted": (0, 1, 7, 1)}, "predicted is no class"),
        (
            {"image_ids": IDS[:3], "truth": TRUTH[:3], "scores": probabilities((0, 1, 2))},
            "without a prediction: 1 of test",
        ),
        ({"image_ids": (), "truth": (), "scores": np.empty((0, 3), np.float32)}, "no predictions"),
    ],
)
def test_unsound_predictions_are_never_scored(tmp_path, split, change, message):
    with pytest.raises(errors.ContractViolation, match=message):
        check(tmp_path, split, **change)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_predictions_that_are_not_finite_are_not_even_read(tmp_path, split, value):
    with pytest.raises(errors.IntegrityError, match="the probabilities must be finite"):
        check(tmp_path, split, scores=np.full((4, 3), value, np.float32))


def test_a_model_that_predicts_one_class_only_is_a_warning(tmp_path, split):
    assert check(tmp_path, split, scores=probabilities((0, 0, 0, 0))) == {"several_classes"}


def test_a_model_that_is_sure_and_wrong_is_a_warning(tmp_path, split):
    assert check(tmp_path, split, scores=probabilities((1, 2, 0, 1), 0.99)) == {"confidence"}
