"""Evaluation's tasks: the model's and the champion's figures, and the verdict of the gates."""

from prefect import task

from fer import plain_text
from fer.curation.refs import SplitRef
from fer.evaluation import evaluate as evaluate_stage
from fer.evaluation import gate as gate_stage
from fer.evaluation.refs import EvaluationRef, Opponent, VerdictRef
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef
from tasks import artifacts, caching, reports

_METRICS, _CHAMPIONS_METRICS = "evaluation", "champion-evaluation"  # pages


def _show_metrics(evaluation: EvaluationRef, model: ModelRef, page: str) -> None:
    text = reports.evaluation_markdown(evaluation, model)
    artifacts.markdown(page, text, plain_text.visible(evaluation.summary()))


def _show_again(page: str) -> caching.Again:
    """Shows the metrics of an evaluation that an earlier run made."""
    return lambda evaluation, parameters: _show_metrics(evaluation, parameters["model"], page)


@task(**caching.cached(evaluate_stage.evaluate, again=_show_again(_METRICS)))
def evaluate(model: ModelRef, shards: ShardsRef, division: SplitRef, split: str = "test") -> EvaluationRef:
    """Predict a split and measure the predictions."""
    return _evaluate(model, shards, division, split, "evaluate", _METRICS)


@task(**caching.cached(evaluate_stage.evaluate, "evaluate champion", again=_show_again(_CHAMPIONS_METRICS)))
def evaluate_champion(model: ModelRef, shards: ShardsRef, division: SplitRef, split: str = "test") -> EvaluationRef:
    """Do the same with the champion, on the candidate's images."""
    return _evaluate(model, shards, division, split, "evaluate champion", _CHAMPIONS_METRICS)


def _evaluate(
    model: ModelRef, shards: ShardsRef, division: SplitRef, split: str, name: str, page: str
) -> EvaluationRef:
    workspace = caching.workspace()
    progress = artifacts.progress_bar(name)
    evaluation = evaluate_stage.evaluate(model, shards, division, split, workspace=workspace, progress=progress)
    _show_metrics(evaluation, model, page)
    return evaluation


def _show_verdict(verdict: VerdictRef) -> None:
    shown = plain_text.in_markdown
    # A list: of a table the UI's narrow column hides the findings.
    lines = [f"- {'✓' if each.passed else '✗'} **{shown(each.name)}**: {shown(each.detail)}" for each in verdict.checks]
    head = f"# The gates {'passed' if verdict.passed else 'failed'}"
    told = [] if verdict.power is None else ["", f"Power: {shown(verdict.power.sentence())}."]
    text = "\n".join([head, "", *lines, *told])
    artifacts.markdown("verdict", text, plain_text.visible(verdict.sentence()))


@task(**caching.cached(gate_stage.gate, again=lambda verdict, _: _show_verdict(verdict)))
def gate(
    evaluation: EvaluationRef,
    division: SplitRef,
    source: str,
    opponent: Opponent | None,
    opponent_evaluation: EvaluationRef | None,
    config: gate_stage.GateConfig,
) -> VerdictRef:
    """Hold the candidate against the recipe's floors and the champion."""
    workspace = caching.workspace()
    progress = artifacts.progress_bar("gate")
    verdict = gate_stage.gate(
        evaluation, division, source, opponent, opponent_evaluation, config, workspace=workspace, progress=progress
    )
    _show_verdict(verdict)
    return verdict
