import contextlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine.local_workspace import LocalWorkspace
from fer.evaluation import intervals, metrics, predictions
from fer.evaluation.config import GateConfig
from fer.evaluation.gates import beforehand, gate
from fer.evaluation.refs import (
    Champion,
    EvaluationRef,
    Judged,
    Measure,
    Opponents,
    RobustnessComparisonRef,
    Size,
    SlicesRef,
    VerdictRef,
)
from fer.evaluation.slices import figures
from fer.evaluation.slices.columns import Column
from fer.ingest import sources
from fer.training.refs import ModelRef

CLASSES = ("happy", "sad", "angry")
TRUTH = np.tile([0, 1, 2], 100)


def right(share: float, seed: int = 0) -> np.ndarray:
    """Predictions of which about `share` equal TRUTH."""
    hit = np.random.default_rng(seed).random(len(TRUTH)) < share
    return np.where(hit, TRUTH, (TRUTH + 1) % 3)


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def evaluation(workspace, name, predicted, *, truth=TRUTH, classes=CLASSES, prefix="") -> EvaluationRef:
    """Commit an evaluation of which only the predictions matter."""

    def produce(out):
        ids = [f"{prefix}{row}" for row in range(len(truth))]
        probabilities = np.eye(len(classes), dtype=np.float32)[predicted]
        predictions.write(out / predictions.FILE, ids, truth.astype(np.int32), probabilities, truth > 0, classes)
        scores = metrics.from_predictions(out / predictions.FILE)
        return EvaluationRef(
            split="test",
            n_images=scores.n_images,
            accuracy=scores.accuracy,
            accuracy_interval=scores.accuracy_interval,
            macro_f1=scores.macro.f1,
            macro_f1_interval=scores.macro_f1_interval,
        )

    return workspace.run("evaluate", name, EvaluationRef, produce, resumable=False)


def split_of(workspace, n=300, classes=CLASSES, n_train=2_700, origin="drawn") -> SplitRef:
    """A split of which only the test images, those of TRUTH, matter; one of its rows is in train."""

    def produce(out):
        rows = [
            {
                "image_id": str(row),
                "pixel_sha256": f"pixels of {row}",
                "near_duplicates": [f"pixels of a near-duplicate of {row}"],
                "class_index": int(TRUTH[row]),
                "split": "test",
            }
            for row in range(n)
        ]
        of_train = {"image_id": "t", "pixel_sha256": "pixels of t", "class_index": 0, "split": "train"}
        rows.append(of_train | {"near_duplicates": []})
        pq.write_table(pa.Table.from_pylist(rows), out / files.SPLIT)
        counts = {"train": {classes[0]: n_train}, "test": {classes[0]: n}}
        return SplitRef(classes=classes, counts=counts, origin=origin)

    return workspace.run("split", f"{n}{classes}{n_train}{origin}", SplitRef, produce, resumable=False)


def champion_of(workspace, version=1, *, trained_on=(), classes=CLASSES, source="demo", same_code=True) -> Champion:
    """A champion trained on the pixels of these rows; None: its release holds no record of them."""

    def produce(out):
        (out / "model.keras").write_bytes(b"")
        if trained_on is not None:
            known = pa.table({"pixel_sha256": pa.array([f"pixels of {row}" for row in trained_on], pa.string())})
            pq.write_table(known, out / files.TRAINED_ON)
        return ModelRef(
            model="cnn",
            classes=classes,
            n_parameters=1,
            epochs_run=1,
            best_epoch=1,
            validation_accuracy=0.5,
            train_seconds=1.0,
        )

    model = workspace.run("champion", str(hash((str(trained_on), classes))), ModelRef, produce, resumable=False)
    return Champion(version=version, source=source, model=model, same_preprocessing=same_code)


def model_of(workspace, n_parameters=1, file_bytes=0) -> ModelRef:
    """A candidate's model of that size."""

    def produce(out):
        (out / "model.keras").write_bytes(b"k" * file_bytes)
        fields = {"epochs_run": 1, "best_epoch": 1, "validation_accuracy": 0.5, "train_seconds": 1.0}
        return ModelRef(model="cnn", classes=CLASSES, n_parameters=n_parameters, **fields)

    return workspace.run("train", f"{n_parameters} {file_bytes}", ModelRef, produce, resumable=False)


def judged(workspace, candidate, images=None, source="demo", model=None) -> Judged:
    images = images or split_of(workspace, candidate.n_images)
    return Judged(source=source, split=images, model=model or model_of(workspace), evaluation=candidate)


def judge(workspace, candidate, champion_scores=None, released=None, source="demo", others=None, model=None, **config):
    """The verdict; `others` are fields of the opponents beside the champion."""
    released = champion_of(workspace) if champion_scores is not None and released is None else released
    if released is not None:
        released = released.model_copy(update={"evaluation": champion_scores})
    opponents = Opponents(champion=released, **(others or {}))
    one = judged(workspace, candidate, source=source, model=model)
    return gate.gate(one, opponents, GateConfig(**config), workspace=workspace)


def test_without_a_champion_the_floors_decide_and_the_verdict_says_so(workspace):
    candidate = evaluation(workspace, "candidate", right(0.7))
    verdict = judge(workspace, candidate, min_accuracy=0.6, min_macro_f1=0.6)
    assert verdict.passed
    assert verdict.champion_version is None
    assert verdict.checks[-1].detail == "no other model was champion before it"
    written = json.loads((workspace.folder(verdict) / "verdict.json").read_bytes())
    assert written["passed"] is True
    assert len(written["checks"]) == 4
    assert written["power"] is None


def test_each_check_has_a_reason_and_what_measures_something_says_the_figures_and_the_bound(workspace):
    candidate, champion = (evaluation(workspace, name, right(0.7)) for name in ("candidate", "champion"))
    verdict = judge(workspace, candidate, champion, champion_of(workspace, 4), min_recall=0.1, margin=0.05)
    written = json.loads((workspace.folder(verdict) / "verdict.json").read_bytes())
    checks = {check["name"]: check for check in written["checks"] + written["decided_by"]}
    assert all(check["reason"] for check in checks.values())
    measures = {name: check["measure"] for name, check in checks.items()}
    assert {measure["setting"] for measure in measures.values()} == {
        f"gate.{name}"
        for name in (
            "min_accuracy",
            "min_macro_f1",
            "min_recall",
            "min_images",
            "max_size_ratio",
            "margin",
            "max_churn",
            "superiority",
        )
    }
    difference = measures["accuracy no worse than the champion (version 4)"]
    assert difference == {
        "quantity": "difference in accuracy",
        "value": 0.0,
        "interval": [0.0, None],
        "confidence": 0.95,
        "judged": "lower end",
        "demand": "at least",
        "bound": -0.05,
        "unit": "share",
        "n_images": 300,
        "setting": "gate.margin",
    }
    assert measures["better than the champion (version 4)"]["value"] == 1
    assert not checks["better than the champion (version 4)"]["passed"]
    assert verdict.passed


def test_a_verdict_from_before_there_were_figures_is_read(workspace):
    old = {"name": "accuracy at least 0", "passed": True, "detail": "accuracy 0.7"}
    verdict = VerdictRef.model_validate({"passed": True, "checks": [old], "champion_version": None})
    assert (verdict.checks[0].reason, verdict.checks[0].measure, verdict.decided_by) == ("", None, ())


@given(
    st.one_of(st.none(), st.floats(allow_nan=True)),
    st.floats(allow_nan=True),
    st.floats(allow_nan=True),
    st.sampled_from(["value", "lower end", "upper end"]),
    st.sampled_from(["at least", "at most"]),
    st.floats(-1, 1),
)
def test_no_bound_is_held_by_what_is_no_finite_number(value, low, high, judged, demand, bound):
    ends = {"interval": (low, high), "judged": judged, "demand": demand, "bound": bound}
    measure = Measure(quantity="accuracy", value=value, setting="gate.min_accuracy", **ends)
    number = {"value": value, "lower end": low, "upper end": high}[judged]
    known = number is not None and np.isfinite(number)
    assert measure.holds == (known and (number >= bound if demand == "at least" else number <= bound))
    json.dumps(measure.model_dump(), allow_nan=False)


def test_a_candidate_below_a_floor_fails_with_the_numbers(workspace):
    verdict = judge(workspace, evaluation(workspace, "candidate", right(0.7)), min_accuracy=0.9)
    assert not verdict.passed
    failed = [check for check in verdict.checks if not check.passed]
    assert [check.name for check in failed] == ["accuracy at least 0.9"]
    assert "floor 0.9" in failed[0].detail


def test_the_champion_itself_is_no_worse_than_the_champion(workspace):
    candidate = evaluation(workspace, "candidate", right(0.7))
    verdict = judge(
        workspace, candidate, evaluation(workspace, "champion", right(0.7)), champion_of(workspace, 4), margin=0.0
    )
    assert verdict.passed
    assert verdict.champion_version == 4
    names = [check.name for check in verdict.checks]
    assert names[-3:-1] == [f"{metric} no worse than the champion (version 4)" for metric in ("accuracy", "macro-F1")]


def test_a_champion_of_other_classes_fails_and_says_so(workspace):
    released = champion_of(workspace, 4, classes=("happy", "sad", "fear"))
    verdict = judge(workspace, evaluation(workspace, "candidate", right(0.7)), None, released)
    assert not verdict.passed
    assert "champion (version 4) knows other classes: happy, sad, fear" in verdict.checks[-1].detail
    assert "--name" in verdict.checks[-1].detail


@pytest.mark.parametrize(
    ("champion_source", "source"),
    [
        ("demo", "kaggle:msambare/fer2013/versions/1"),
        ("kaggle:msambare/fer2013/versions/1", "kaggle:other/fer2013/versions/1"),
        ("kaggle:msambare/fer2013/versions/1", "archive:sha256:00"),
    ],
)
def test_a_champion_from_another_dataset_fails_and_says_what_to_do(workspace, champion_source, source):
    released = champion_of(workspace, 4, source=champion_source)
    verdict = judge(workspace, evaluation(workspace, "candidate", right(0.7)), None, released, source)
    assert not verdict.passed
    last = verdict.checks[-1].detail
    assert f"from {sources.family(champion_source)}, this model from {sources.family(source)}" in last
    assert "--name NAME" in last
    assert verdict.champion_version == 4


@pytest.mark.parametrize(
    ("champion_source", "source"),
    [("kaggle:a/b/versions/1", "kaggle:a/b/versions/12"), ("archive:sha256:00", "archive:sha256:11"), ("demo", "demo")],
)
def test_another_version_of_the_dataset_is_the_same_dataset(workspace, champion_source, source):
    assert beforehand.comparability(champion_of(workspace, source=champion_source), source, split_of(workspace)) is None


def test_the_key_depends_on_what_the_champion_was_trained_on_and_made_from(workspace):
    candidate = evaluation(workspace, "candidate", right(0.7))
    released = [
        champion_of(workspace),
        champion_of(workspace, trained_on=(1,)),
        champion_of(workspace, source="archive"),
    ]
    of_one = judged(workspace, candidate)
    keys = {gate.gate.key(of_one, Opponents(champion=one), GateConfig()) for one in released}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("n_parameters", "file_bytes", "ratio", "passed"),
    [(1, 0, 1, True), (10, 3, 10, True), (11, 3, 11, False), (2, 11, 11, False)],
)
def test_a_model_may_be_so_many_times_as_large_as_the_champion(workspace, n_parameters, file_bytes, ratio, passed):
    candidate, champion = (evaluation(workspace, name, right(0.7)) for name in ("candidate", "champion"))
    verdict = judge(workspace, candidate, champion, model=model_of(workspace, n_parameters, file_bytes))
    assert verdict.passed == passed
    (check,) = (check for check in verdict.checks if check.name == "size against the champion (version 1)")
    assert (check.passed, check.measure.value, check.measure.bound) == (passed, ratio, 10)
    assert verdict.size == Size(n_parameters=n_parameters, file_bytes=file_bytes)
    assert judge(workspace, candidate, champion, model=model_of(workspace, n_parameters), max_size_ratio=0).passed


def test_a_first_model_has_its_size_recorded_and_is_held_to_the_bounds_that_the_recipe_sets(workspace):
    candidate, large = evaluation(workspace, "candidate", right(0.7)), model_of(workspace, 5_000_000, 2_000_000)
    verdict = judge(workspace, candidate, model=large)
    assert verdict.passed
    assert verdict.size.file_bytes == 2_000_000
    assert not any("size" in check.name or "at most" in check.name for check in verdict.checks)
    assert judge(workspace, candidate, model=large, max_parameters=5_000_000, max_megabytes=2).passed
    refused = judge(workspace, candidate, model=large, max_parameters=4_999_999, max_megabytes=1.5)
    assert refused.reason() == (
        "5,000,000 parameters, of at most 4,999,999 by gate.max_parameters; "
        "2 megabytes, of at most 1.5 by gate.max_megabytes"
    )


@pytest.mark.parametrize("known", [range(150), [f"a near-duplicate of {row}" for row in range(150)]])
def test_images_are_left_out_that_the_champion_was_trained_on_or_on_a_near_duplicate_of(workspace, known):
    # The champion knows the first 150 by heart and guesses the rest; the candidate is fair on all.
    predicted = np.where(np.arange(300) < 150, TRUTH, (TRUTH + 1) % 3)
    champion = evaluation(workspace, "champion", predicted)
    candidate = evaluation(workspace, "candidate", right(0.4))
    assert not judge(workspace, candidate, champion, champion_of(workspace)).passed
    verdict = judge(workspace, candidate, champion, champion_of(workspace, 3, trained_on=known))
    assert verdict.passed
    details = [check.detail for check in verdict.checks]
    compared = "compared on 150 of 300 test images"
    assert (
        f"{compared}; the champion (version 3) was trained on the other 150 or on near-duplicates of theirs" in details
    )


def test_too_few_images_that_the_champion_does_not_know_fail_and_say_why(workspace):
    candidate, champion = (evaluation(workspace, name, right(0.7)) for name in ("candidate", "champion"))
    released = champion_of(workspace, 3, trained_on=range(280))
    verdict = judge(workspace, candidate, champion, released)
    assert [check.passed for check in verdict.checks] == [True, True, True, True, False]
    last = verdict.checks[-1].detail
    assert "only 20 of 300 test images to compare on, fewer than gate.min_images=100" in last
    assert "trained on the other 280" in last
    assert "split.seed" in last
    assert judge(workspace, candidate, champion, released, min_images=20).passed


def test_a_class_of_which_the_champion_knows_every_image_can_not_be_compared(workspace):
    champion = evaluation(workspace, "champion", TRUTH)
    collapsed = evaluation(workspace, "candidate", np.where(TRUTH == 2, 0, TRUTH))
    verdict = judge(workspace, collapsed, champion, champion_of(workspace, 3, trained_on=range(2, 300, 3)))
    assert not verdict.passed
    assert f"only 200 of 300 test images to compare on, none of {CLASSES[2]};" in verdict.checks[-1].detail


def test_a_champion_that_does_not_say_what_it_was_trained_on_is_compared_with_a_warning(workspace):
    candidate, champion = (evaluation(workspace, name, right(0.7)) for name in ("candidate", "champion"))
    verdict = judge(workspace, candidate, champion, champion_of(workspace, trained_on=None))
    assert verdict.passed
    assert any("does not say what it was trained on" in check.detail for check in verdict.checks)


def test_a_much_worse_candidate_fails(workspace):
    candidate = evaluation(workspace, "candidate", right(0.5))
    verdict = judge(workspace, candidate, evaluation(workspace, "champion", right(0.9)))
    failed = [check.name.split(" ")[0] for check in verdict.checks if not check.passed]
    assert failed == ["accuracy", "macro-F1", "churn"]


def test_a_better_candidate_passes(workspace):
    candidate = evaluation(workspace, "candidate", right(0.9))
    assert judge(workspace, candidate, evaluation(workspace, "champion", right(0.5))).passed


def test_as_good_but_by_too_few_images_does_not_pass(workspace):
    # 0.02 can't be told from 0 on 30 unpaired answers: no worse must be shown, not presumed.
    truth = TRUTH[:30]
    candidate = evaluation(workspace, "candidate", right(0.7, seed=1)[:30], truth=truth)
    champion = evaluation(workspace, "champion", right(0.7, seed=2)[:30], truth=truth)
    assert not judge(workspace, candidate, champion, min_images=1).passed


def test_other_images_are_refused(workspace):
    candidate = evaluation(workspace, "candidate", right(0.9))
    with pytest.raises(errors.ContractViolation, match=r"same images.*0 of them shared"):
        judge(workspace, candidate, evaluation(workspace, "champion", right(0.9), prefix="x"))


def test_other_labels_are_refused(workspace):
    candidate = evaluation(workspace, "candidate", right(0.9))
    champion = evaluation(workspace, "champion", right(0.9), truth=(TRUTH + 1) % 3)
    with pytest.raises(errors.ContractViolation, match="same labels"):
        judge(workspace, candidate, champion)


def test_rows_are_paired_by_image_whatever_their_order():
    predicted = np.arange(4, dtype=np.int32) % 3
    table = {"probabilities": np.eye(3)[predicted], "is_clean": predicted > 0, "classes": CLASSES}
    candidate = predictions.Predictions(list("abcd"), predicted, predicted, **table)
    order = [2, 0, 3, 1]
    champion = predictions.Predictions([*"cadb"], predicted[order], predicted[order], **table)
    assert predictions.paired(candidate, champion).tolist() == predicted.tolist()


ANSWERS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=12, max_size=60)  # champion's, candidate's
GATES = st.fixed_dictionaries(
    {
        "min_accuracy": st.floats(0, 1),
        "min_macro_f1": st.floats(0, 1),
        "min_recall": st.sampled_from([0.0, 0.05, 0.3]),
        "max_churn": st.floats(0, 1),
        "margin": st.floats(0, 0.5),
        "superiority": st.sampled_from([0.0, 0.6, 0.975]),
        "waiver_margin": st.floats(0, 0.5),
    }
)
REASONS = st.sampled_from([(), ("the data has changed",)])


def decided(folder, answers, config, changes=(), order=None):
    """The verdict on a candidate's answers beside a champion's, their rows written in that order."""
    workspace = LocalWorkspace(folder)
    order = np.arange(len(answers)) if order is None else np.array(order)
    truth, ids = TRUTH[: len(answers)][order], [str(row) for row in order]

    def evaluated(name, predicted):
        def produce(out):
            probabilities = np.eye(3, dtype=np.float32)[predicted]
            predictions.write(out / predictions.FILE, ids, truth.astype(np.int32), probabilities, truth > 0, CLASSES)
            matrix = metrics.confusion(truth, predicted, 3)
            figures = {"accuracy": float(np.trace(matrix) / len(truth)), "macro_f1": float(metrics.macro_f1(matrix))}
            intervals = {"accuracy_interval": (0.0, 1.0), "macro_f1_interval": (0.0, 1.0)}
            return EvaluationRef(split="test", n_images=len(truth), **figures, **intervals)

        return workspace.run("evaluate", name, EvaluationRef, produce, resumable=False)

    champion, candidate = (
        evaluated(name, predicted)
        for name, predicted in zip(("champion", "candidate"), np.array(answers)[order].T, strict=True)
    )
    opponents = {"changes": changes}
    return judge(workspace, candidate, champion, others=opponents, min_images=1, samples=200, **config)


@settings(max_examples=max(5, settings.default.max_examples // 10))
@given(ANSWERS, st.sets(st.integers(0, 59), min_size=1), GATES, REASONS)
def test_getting_more_images_right_never_turns_a_pass_into_a_refusal_nor_keeps_a_champion(
    tmp_path_factory, answers, righted, config, changes
):
    better = [(old, TRUTH[row] if row in righted else new) for row, (old, new) in enumerate(answers)]
    before = decided(tmp_path_factory.mktemp("gate"), answers, config, changes)
    after = decided(tmp_path_factory.mktemp("gate"), better, config, changes)
    passed_before = {check.name for check in before.checks if check.passed}
    assert passed_before <= {check.name for check in after.checks if check.passed}
    assert after.promotes or not before.promotes


@settings(max_examples=max(5, settings.default.max_examples // 10))
@given(ANSWERS, GATES, REASONS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_count(tmp_path_factory, answers, config, changes, shuffler):
    order = list(range(len(answers)))
    shuffler.shuffle(order)
    straight = decided(tmp_path_factory.mktemp("gate"), answers, config, changes)
    shuffled = decided(tmp_path_factory.mktemp("gate"), answers, config, changes, order)
    assert shuffled.model_dump(exclude={"path", "digest"}) == straight.model_dump(exclude={"path", "digest"})


@pytest.mark.parametrize("bounds", [{}, {"min_accuracy": 0.5}, {"min_images": 1}])
def test_no_gate_passes_on_what_is_no_number(workspace, bounds):
    unknown = {"accuracy": float("nan"), "macro_f1": float("nan"), "accuracy_interval": (float("nan"),) * 2}
    candidate = evaluation(workspace, "candidate", right(0.7)).model_copy(update=unknown)
    verdict = judge(workspace, candidate, **bounds)
    assert not verdict.passed
    assert [check.passed for check in verdict.checks[:2]] == [False, False]
    written = (workspace.folder(verdict) / "verdict.json").read_text()
    assert "NaN" not in json.dumps(json.loads(written)["checks"])


@pytest.mark.parametrize("has_champion", [True, False])
def test_no_gate_passes_on_no_images(workspace, has_champion):
    def nothing(out):
        no_labels, no_answers = np.empty(0, np.int32), np.empty((0, 3), np.float32)
        predictions.write(out / predictions.FILE, [], no_labels, no_answers, np.empty(0, bool), CLASSES)
        scores = {"accuracy_interval": (0.0, 1.0), "macro_f1_interval": (0.0, 1.0)}
        return EvaluationRef(split="test", n_images=0, accuracy=1.0, macro_f1=1.0, **scores)

    empty = workspace.run("evaluate", "empty", EvaluationRef, nothing, resumable=False)
    with contextlib.suppress(errors.FerError):
        assert not judge(workspace, empty, empty if has_champion else None, min_images=1).passed


def required(workspace, images, released=None, source="demo", **config):
    beforehand.require(released, source, images, GateConfig(**config), workspace=workspace)


def test_a_test_split_that_is_too_small_is_refused_before_the_first_training_and_by_the_gate(workspace):
    few = split_of(workspace, 24, n_train=216)
    with pytest.raises(errors.ContractViolation) as raised:
        required(workspace, few)
    message = str(raised.value)
    assert "24 test images, 76 fewer than gate.min_images=100" in message
    assert "add about 760 images, of which test gets 10%, or raise split.test_share" in message
    assert "--set gate.min_images=24" in message
    assert "±0.20 at worst" in message
    candidate = evaluation(workspace, "candidate", right(0.9)[:24], truth=TRUTH[:24])
    verdict = judge(workspace, candidate)
    assert not verdict.passed
    assert any("76 fewer than gate.min_images=100" in check.detail for check in verdict.checks)
    required(workspace, few, min_images=24)
    assert judge(workspace, candidate, min_images=24).passed


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        ("official", "add 76 images to the source's test split"),
        ("official, validation drawn", "add 76 images to the source's test split"),
        ("official, test drawn", "add about 760 images, of which test gets 10%"),
    ],
)
def test_more_images_are_asked_for_where_the_test_split_comes_from(workspace, origin, message):
    with pytest.raises(errors.ContractViolation, match=message):
        required(workspace, split_of(workspace, 24, n_train=216, origin=origin))


@pytest.mark.parametrize(
    ("champion", "source", "message"),
    [
        ({"source": "kaggle:a/b/versions/1"}, "demo", "was made from kaggle:a/b, this model from demo"),
        ({"classes": ("happy", "sad", "fear")}, "demo", "knows other classes: happy, sad, fear"),
        ({"same_code": False}, "demo", "the code that prepares images has changed"),
        ({"trained_on": range(280)}, "demo", "only 20 of 300 test images to compare on"),
        ({"trained_on": range(2, 300, 3)}, "demo", "none of angry"),
    ],
)
def test_what_the_champion_rules_out_is_refused_before_the_training(workspace, champion, source, message):
    with pytest.raises(errors.ConfigError, match=f"{message}.*Next: .*--name NAME"):
        required(workspace, split_of(workspace), champion_of(workspace, 3, **champion), source)


def test_a_champion_of_the_same_data_rules_out_nothing(workspace):
    required(workspace, split_of(workspace), champion_of(workspace, trained_on=range(300, 400)))
    required(workspace, split_of(workspace), champion_of(workspace, trained_on=None))


@settings(max_examples=settings.default.max_examples * 2 // 5)
@given(
    n=st.integers(1, 300),
    known=st.integers(0, 300),
    least=st.integers(1, 300),
    source=st.sampled_from(["demo", "archive:sha256:0"]),
)
def test_the_gate_refuses_all_that_is_refused_before_the_training(tmp_path_factory, n, known, least, source):
    workspace = LocalWorkspace(tmp_path_factory.mktemp("gate"))
    images, released = split_of(workspace, n), champion_of(workspace, trained_on=range(known))
    config = GateConfig(min_images=least, margin=1)
    candidate = evaluation(workspace, "candidate", TRUTH[:n], truth=TRUTH[:n])
    evaluated = released.model_copy(update={"evaluation": candidate})
    one = judged(workspace, candidate, images, source)
    verdict = gate.gate(one, Opponents(champion=evaluated), config, workspace=workspace)
    try:
        beforehand.require(released, source, images, config, workspace=workspace)
    except errors.FerError:
        assert not verdict.passed
    else:
        assert verdict.passed  # a candidate that answers as the champion


def test_a_verdict_says_what_its_comparison_can_tell(workspace):
    verdict = judge(
        workspace,
        evaluation(workspace, "candidate", right(0.7, seed=1)),
        evaluation(workspace, "champion", right(0.7, seed=2)),
        margin=0.1,
    )
    power = verdict.power
    assert (power.n_images, power.margin) == (300, 0.1)
    assert power.n_discordant == int(((right(0.7, seed=1) == TRUTH) != (right(0.7, seed=2) == TRUTH)).sum())
    written = json.loads((workspace.folder(verdict) / "verdict.json").read_bytes())["power"]
    assert written.pop("sentence") == power.sentence()
    assert written == power.model_dump()


def test_what_is_not_compared_has_no_power(workspace):
    candidate = evaluation(workspace, "candidate", right(0.7))
    assert judge(workspace, candidate).power is None
    assert judge(workspace, candidate, None, champion_of(workspace, source="archive")).power is None


def test_a_champion_whose_images_can_no_longer_be_prepared_as_it_knows_them_fails(workspace):
    check = beforehand.comparability(champion_of(workspace, 4, same_code=False), "demo", split_of(workspace))
    assert check is not None
    assert not check.passed
    assert "version 4" in check.detail
    assert "--name" in check.detail


def test_a_candidate_that_is_worse_than_the_best_release_is_refused_though_it_equals_the_champion(workspace):
    champion = evaluation(workspace, "champion", right(0.6))
    best = evaluation(workspace, "best", right(0.9))
    anchor = champion_of(workspace, 2, trained_on=(400,)).model_copy(update={"evaluation": best})
    verdict = judge(workspace, champion, champion, champion_of(workspace, 3), others={"anchor": anchor})
    assert not verdict.passed
    assert (verdict.champion_version, verdict.anchor_version) == (3, 2)
    failed = [check.name for check in verdict.checks if not check.passed]
    assert failed == [f"{metric} no worse than the best release (version 2)" for metric in ("accuracy", "macro-F1")]


def test_a_best_release_that_can_not_be_compared_is_said_and_rules_nothing_out(workspace):
    equal = evaluation(workspace, "champion", right(0.6))
    for released, why in (
        (champion_of(workspace, 2, classes=("happy", "sad", "fear")), "knows other classes"),
        (champion_of(workspace, 2, trained_on=range(290)), "only 10 of 300 test images to compare on"),
    ):
        verdict = judge(workspace, equal, equal, champion_of(workspace, 3), others={"anchor": released})
        assert verdict.passed
        detail = next(check.detail for check in verdict.checks if "best release" in check.name)
        assert detail.startswith("not compared: ")
        assert why in detail


def test_what_passes_without_being_better_does_not_replace_the_champion(workspace):
    equal = evaluation(workspace, "equal", right(0.7))
    verdict = judge(workspace, equal, equal)
    assert (verdict.passed, verdict.replaces, verdict.promotes) == (True, False, False)
    assert "no reason to change" in verdict.sentence()
    better = judge(workspace, evaluation(workspace, "better", right(0.9)), equal)
    assert (better.passed, better.promotes, better.for_a_reason) == (True, True, False)
    for_a_reason = judge(workspace, equal, equal, others={"changes": ("the data has changed",)})
    assert (for_a_reason.promotes, for_a_reason.for_a_reason) == (True, True)
    written = json.loads((workspace.folder(for_a_reason) / "verdict.json").read_bytes())
    assert written["for_a_reason"] is True
    assert written["decision"] == for_a_reason.decision


def test_the_images_that_changed_sides_are_listed(workspace):
    old, new = right(0.7, seed=1), right(0.7, seed=2)
    verdict = judge(workspace, evaluation(workspace, "new", new), evaluation(workspace, "old", old), margin=1)
    rows = pq.read_table(workspace.folder(verdict) / gate.CHURN).to_pylist()
    changed = np.flatnonzero((old == TRUTH) != (new == TRUTH))
    assert [row["image_id"] for row in rows] == sorted(str(at) for at in changed)
    at = int(rows[0]["image_id"])
    expected = [CLASSES[answers[at]] for answers in (TRUTH, old, new)]
    assert [rows[0][name] for name in ("label", "champion", "candidate")] == expected


def test_the_recall_of_each_class_must_reach_its_floor_by_its_interval(workspace):
    # 70 % of happy, 90 % of the others; of 100 images each.
    predicted = np.where((TRUTH == 0) & (np.arange(300) // 3 < 30), 1, TRUTH)
    candidate = evaluation(workspace, "candidate", predicted)
    low = intervals.wilson(70, 100)[0]
    assert judge(workspace, candidate, min_recall=low - 0.001).passed
    refused = judge(workspace, candidate, min_recall=low + 0.001)
    (failed,) = [check for check in refused.checks if not check.passed]
    assert f"below it: happy {low:.3f}" in failed.detail


def test_the_calibration_error_must_not_be_surely_above_the_bound(workspace):
    candidate = evaluation(workspace, "candidate", right(0.7))  # sure of everything
    assert judge(workspace, candidate).passed
    assert judge(workspace, candidate, max_calibration_error=0.36).passed
    refused = judge(workspace, candidate, max_calibration_error=0.1)
    assert not refused.passed
    assert "at most 0.1 by the interval's lower end" in refused.reason()


def test_a_slice_that_is_far_below_the_rest_is_refused_if_that_is_bounded(workspace):
    candidate = evaluation(workspace, "candidate", np.where(np.arange(300) < 100, (TRUTH + 1) % 3, TRUTH))
    rows = predictions.read(workspace.folder(candidate) / predictions.FILE)
    groups = np.array(["dark" if row < 100 else "light" for row in range(300)], object)

    def produce(out):
        found = figures.measure(rows, [Column("light", "property", groups, ("dark", "light"))], 50, [])
        (out / figures.FILE).write_text(found.model_dump_json())
        return SlicesRef(n_slices=2, worse=("dark",))

    slices = workspace.run("slices", "0", SlicesRef, produce, resumable=False)
    one = judged(workspace, candidate).model_copy(update={"slices": slices})
    verdicts = [
        gate.gate(one, Opponents(), GateConfig(max_slice_gap=gap), workspace=workspace) for gap in (0.1, 0.99, 1.0)
    ]
    assert [verdict.passed for verdict in verdicts] == [False, True, True]
    assert "the worst is dark: 0.000 on 100 images" in verdicts[0].reason()
    assert not any("slice" in check.name for check in verdicts[2].checks)


def test_a_model_that_fails_under_corruption_is_refused_and_one_that_was_not_tried_is_not(workspace):
    candidate, champion = (evaluation(workspace, name, right(0.7)) for name in ("candidate", "champion"))
    released = champion_of(workspace).model_copy(update={"evaluation": champion})
    compared = RobustnessComparisonRef(
        digest="compared",
        champion_version=1,
        n_images=200,
        difference=-0.1,
        standard_error=0.01,
        mean_corruption_error=1.2,
        relative_mean_corruption_error=1.3,
    )
    verdicts = [
        gate.gate(
            judged(workspace, candidate).model_copy(update={"robustness": robustness}),
            Opponents(champion=released),
            GateConfig(superiority=0, robustness_margin=margin),
            workspace=workspace,
        )
        for robustness, margin in ((compared, 0.05), (compared, 0.2), (None, 0.05))
    ]
    assert [verdict.passed for verdict in verdicts] == [False, True, True]
    assert "under corruption -0.1000 against the champion (version 1)" in verdicts[0].reason()
    assert not any("corruption" in check.name for check in verdicts[2].checks)
