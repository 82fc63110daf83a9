"""Evaluation's tasks: the model's and the champion's figures, and the verdict of the gates."""

from fer import plain_text
from fer.curation.refs import CurationRef, InspectionRef, SplitRef, ValidationRef
from fer.evaluation import evaluate as evaluate_stage
from fer.evaluation.calibration import calibrate as calibrate_stage
from fer.evaluation.calibration.config import CalibrationConfig
from fer.evaluation.config import GateConfig
from fer.evaluation.explanations import explain as explanations_stage
from fer.evaluation.explanations.config import ExplanationsConfig
from fer.evaluation.gates import gate as gate_stage
from fer.evaluation.refs import (
    CalibrationRef,
    Champion,
    EvaluationRef,
    Examination,
    ExplanationsRef,
    Judged,
    Opponents,
    RobustnessComparisonRef,
    RobustnessRef,
    SlicesRef,
    VerdictRef,
)
from fer.evaluation.robustness import comparison as comparison_stage
from fer.evaluation.robustness import measure as robustness_stage
from fer.evaluation.robustness.config import RobustnessConfig
from fer.evaluation.slices import measure as slices_stage
from fer.evaluation.slices.config import SlicesConfig
from fer.recipes.schema import Recipe
from fer.reports import gate_chart
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef
from tasks import caching, reports, stages
from tasks.runs.results import TrainedModel
from tasks.shown import artifacts

_METRICS, _CHAMPIONS_METRICS, _ANCHORS_METRICS = "evaluation", "champion-evaluation", "anchor-evaluation"  # pages
_EVALUATE_CHAMPION, _EVALUATE_ANCHOR = "evaluate champion", "evaluate best release"
_ROBUSTNESS, _CHAMPIONS_ROBUSTNESS = "robustness", "champion-robustness"  # pages
_CHAMPION_ROBUSTNESS = "champion's robustness"


def _show_metrics(evaluation: EvaluationRef, model: ModelRef, page: str) -> None:
    text = reports.evaluation_markdown(evaluation, model)
    artifacts.markdown(page, text, plain_text.visible(evaluation.summary()))


def _on_cached(page: str) -> caching.OnCached:
    """Shows the metrics of an evaluation that an earlier run made."""
    return lambda evaluation, parameters: _show_metrics(evaluation, parameters["model"], page)


@stages.task(calibrate_stage.calibrate)
def calibrate(model: ModelRef, split: SplitRef, config: CalibrationConfig) -> CalibrationRef:
    """Find out by the validation split how sure the model may say that it is."""
    return stages.run(calibrate_stage.calibrate, model, split, config)


@stages.task(evaluate_stage.evaluate, on_cached=_on_cached(_METRICS))
def evaluate(
    model: ModelRef,
    shards: ShardsRef,
    split: SplitRef,
    split_name: str = "test",
    calibration: CalibrationRef | None = None,
) -> EvaluationRef:
    """Predict a split and measure the predictions."""
    evaluation = stages.run(evaluate_stage.evaluate, model, shards, split, split_name, calibration)
    _show_metrics(evaluation, model, _METRICS)
    return evaluation


@stages.task(evaluate_stage.evaluate, _EVALUATE_CHAMPION, on_cached=_on_cached(_CHAMPIONS_METRICS))
def evaluate_champion(
    model: ModelRef,
    shards: ShardsRef,
    split: SplitRef,
    split_name: str = "test",
    calibration: CalibrationRef | None = None,
) -> EvaluationRef:
    """Do the same with the champion, on the candidate's images."""
    evaluation = stages.run(
        evaluate_stage.evaluate, model, shards, split, split_name, calibration, name=_EVALUATE_CHAMPION
    )
    _show_metrics(evaluation, model, _CHAMPIONS_METRICS)
    return evaluation


@stages.task(evaluate_stage.evaluate, _EVALUATE_ANCHOR, on_cached=_on_cached(_ANCHORS_METRICS))
def evaluate_anchor(
    model: ModelRef,
    shards: ShardsRef,
    split: SplitRef,
    split_name: str = "test",
    calibration: CalibrationRef | None = None,
) -> EvaluationRef:
    """Do the same with the best release so far, where that is not the champion."""
    evaluation = stages.run(
        evaluate_stage.evaluate, model, shards, split, split_name, calibration, name=_EVALUATE_ANCHOR
    )
    _show_metrics(evaluation, model, _ANCHORS_METRICS)
    return evaluation


def _show_robustness(robustness: RobustnessRef, model: ModelRef, page: str) -> None:
    artifacts.markdown(page, reports.robustness_markdown(robustness, model), plain_text.visible(robustness.summary()))


def _on_cached_robustness(page: str) -> caching.OnCached:
    return lambda robustness, parameters: _show_robustness(robustness, parameters["model"], page)


@stages.task(robustness_stage.robustness, on_cached=_on_cached_robustness(_ROBUSTNESS))
def robustness(model: ModelRef, shards: ShardsRef, config: RobustnessConfig, split_name: str = "test") -> RobustnessRef:
    """Score the model on corrupted and moved images of a split."""
    result = stages.run(robustness_stage.robustness, model, shards, split_name, config)
    _show_robustness(result, model, _ROBUSTNESS)
    return result


@stages.task(robustness_stage.robustness, _CHAMPION_ROBUSTNESS, on_cached=_on_cached_robustness(_CHAMPIONS_ROBUSTNESS))
def champion_robustness(
    model: ModelRef, shards: ShardsRef, config: RobustnessConfig, split_name: str = "test"
) -> RobustnessRef:
    """Do the same with the champion, on the candidate's images."""
    result = stages.run(robustness_stage.robustness, model, shards, split_name, config, name=_CHAMPION_ROBUSTNESS)
    _show_robustness(result, model, _CHAMPIONS_ROBUSTNESS)
    return result


def _show_comparison(comparison: RobustnessComparisonRef) -> None:
    text = reports.robustness_comparison_markdown(comparison)
    artifacts.markdown("robustness-comparison", text, plain_text.visible(comparison.summary()))


@stages.task(comparison_stage.compare, on_cached=lambda comparison, _: _show_comparison(comparison))
def compare_robustness(
    candidate: RobustnessRef, champion: Champion, split: SplitRef, config: RobustnessConfig
) -> RobustnessComparisonRef:
    """Compare the candidate with the champion under each corruption."""
    comparison = stages.run(comparison_stage.compare, candidate, champion, split, config)
    _show_comparison(comparison)
    return comparison


def _show_explanations(found: ExplanationsRef, model: ModelRef) -> None:
    artifacts.markdown("explanations", reports.explanations_markdown(found, model), plain_text.visible(found.summary()))


@stages.task(
    explanations_stage.explanations,
    on_cached=lambda found, parameters: _show_explanations(found, parameters["model"]),
)
def explanations(
    model: ModelRef,
    shards: ShardsRef,
    evaluation: EvaluationRef,
    config: ExplanationsConfig,
    show_faces: bool = False,
) -> ExplanationsRef:
    """Find out where the model looks, and list its mistakes."""
    found = stages.run(explanations_stage.explanations, model, shards, evaluation, config, show_faces)
    _show_explanations(found, model)
    return found


def examine(
    recipe: Recipe, trained: TrainedModel, evaluation: EvaluationRef, split: SplitRef, champion: Champion | None
) -> Examination:
    """What the recipe asks to be known of a model beside its evaluation; `champion` with its own robustness."""
    found, compared, explained = None, None, None
    if recipe.robustness.enabled:
        found = robustness(trained.model, trained.shards, recipe.robustness)
    if found is not None and champion is not None and champion.robustness is not None:
        compared = compare_robustness(found, champion, split, recipe.robustness)
    if recipe.explanations.enabled:
        explained = explanations(trained.model, trained.shards, evaluation, recipe.explanations)
    return Examination(robustness=found, robustness_comparison=compared, explanations=explained)


def _show_slices(slices: SlicesRef) -> None:
    artifacts.markdown("slices", reports.slices_markdown(slices), plain_text.visible(slices.summary()))


@stages.task(slices_stage.slices, on_cached=lambda slices, _: _show_slices(slices))
def slices(
    evaluation: EvaluationRef,
    validation: ValidationRef,
    inspection: InspectionRef,
    curation: CurationRef,
    config: SlicesConfig,
) -> SlicesRef:
    """Measure the predictions on parts of the test."""
    result = stages.run(slices_stage.slices, evaluation, validation, inspection, curation, config)
    _show_slices(result)
    return result


def _show_verdict(verdict: VerdictRef) -> None:
    plain = plain_text.in_markdown
    # A list: of a table the UI's narrow column hides the findings.
    lines = [f"- {check.mark} **{plain(check.name)}**: {plain(check.detail)}" for check in verdict.checks]
    title = f"# The gates {'passed' if verdict.passed else 'failed'}"
    decision = [f"- {'✓' if verdict.replaces else '–'} **replaces the champion**: {plain(verdict.decision)}"]
    power = [] if verdict.power is None else ["", f"Power: {plain(verdict.power.sentence())}."]
    estimate = ["", f"The figures are an estimate of {plain(verdict.estimate_of)}."] if verdict.estimate_of else []
    drawn = gate_chart.of(verdict.checks)
    picture = (
        [] if drawn is None else ["", artifacts.picture(drawn, "What the gates measured"), f"\n*{gate_chart.LEGEND}*"]
    )
    text = "\n".join([title, "", *lines, *(decision if verdict.decision else []), *power, *estimate, *picture])
    artifacts.markdown("verdict", text, plain_text.visible(verdict.sentence()))


@stages.task(gate_stage.gate, on_cached=lambda verdict, _: _show_verdict(verdict))
def gate(judged: Judged, opponents: Opponents, config: GateConfig) -> VerdictRef:
    """Hold the candidate against the recipe's floors, the champion and the best release so far."""
    verdict = stages.run(gate_stage.gate, judged, opponents, config)
    _show_verdict(verdict)
    return verdict
