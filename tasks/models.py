"""The models' tasks: train, evaluate, gate."""

from prefect import task

from fer import plain_text
from fer.curation.refs import SplitRef
from fer.evaluation import evaluate as evaluate_stage
from fer.evaluation import gate as gate_stage
from fer.evaluation.refs import EvaluationRef, Opponent, VerdictRef
from fer.models import zoo
from fer.registry import starting_weights as weights_stage
from fer.reports import plots
from fer.shards.refs import ShardsRef
from fer.training import config as train_config
from fer.training import soft_labels
from fer.training import train as train_stage
from fer.training.refs import ModelRef, SoftLabelsRef, WeightsRef
from tasks import artifacts, caching

_CURVES = "Loss and accuracy by epoch"
_METRICS, _CHAMPIONS_METRICS = "evaluation", "champion-evaluation"  # pages


@task(name="resolve weights", **caching.UNCACHED, **caching.retried(3))
def resolve_weights(
    source: str, model: zoo.ModelConfig, declared_origin: str | None = None
) -> weights_stage.ResolvedWeights:
    """Find out which weights the source stands for now, so that the cache knows what it has."""
    return weights_stage.resolve(source, model, declared_origin)


@task(**caching.cached(weights_stage.fetch))
def fetch_weights(resolved: weights_stage.ResolvedWeights, division: SplitRef | None) -> WeightsRef:
    """Bring the weights that training starts from into the workspace; those of a release for this split."""
    progress = artifacts.progress_bar("weights")
    return weights_stage.fetch(resolved, division, workspace=caching.workspace(), progress=progress)


def starting_weights(source: str, config: train_config.TrainConfig, division: SplitRef) -> WeightsRef:
    """The weights that `source` stands for now, in the workspace, for a training by `config`."""
    resolved = resolve_weights(source, config.model, config.weights_origin)
    return fetch_weights(resolved, division if resolved.is_release else None)


@task(**caching.cached(soft_labels.collect))
def collect_votes(division: SplitRef) -> SoftLabelsRef:
    """Bring together what annotators voted about the train split."""
    progress = artifacts.progress_bar("soft labels")
    return soft_labels.collect(division, workspace=caching.workspace(), progress=progress)


def _curves(model: ModelRef) -> str:
    png = plots.learning_curves(caching.workspace().folder(model), model)
    return f"{plain_text.in_markdown(model.summary())}\n\n{artifacts.picture(png, 'Learning curves')}"


def _show_curves(model: ModelRef) -> None:
    artifacts.markdown("learning-curves", _curves(model), _CURVES)


@task(**caching.cached(train_stage.train, again=lambda model, _: _show_curves(model)))
def train(
    balanced: ShardsRef,
    shards: ShardsRef,
    weights: WeightsRef | None,
    votes: SoftLabelsRef | None,
    config: train_config.TrainConfig,
) -> ModelRef:
    """Train the recipe's model in a process of its own."""
    workspace = caching.workspace()
    progress = artifacts.progress_bar("train")
    page = artifacts.living_page("learning-curves", _CURVES)

    def draw(epoch: int, history: dict[str, list[float]]) -> None:
        page(lambda: artifacts.picture(plots.curves_so_far(history, config.model.name), "Learning curves"))

    with train_stage.watching(draw):
        model = train_stage.train(balanced, shards, weights, votes, config, workspace=workspace, progress=progress)
    page(lambda: _curves(model), last=True)
    return model


def _show_metrics(evaluation: EvaluationRef, page: str) -> None:
    folder = caching.workspace().folder(evaluation)
    matrix = artifacts.picture((folder / "confusion.png").read_bytes(), "Confusion matrix")
    text = f"{(folder / 'report.md').read_text()}\n\n{matrix}"
    artifacts.markdown(page, text, plain_text.visible(evaluation.summary()))


@task(**caching.cached(evaluate_stage.evaluate, again=lambda found, _: _show_metrics(found, _METRICS)))
def evaluate(model: ModelRef, shards: ShardsRef, division: SplitRef, split: str = "test") -> EvaluationRef:
    """Predict a split and measure the predictions."""
    return _evaluate(model, shards, division, split, "evaluate", _METRICS)


@task(
    **caching.cached(
        evaluate_stage.evaluate, "evaluate champion", again=lambda found, _: _show_metrics(found, _CHAMPIONS_METRICS)
    )
)
def evaluate_champion(model: ModelRef, shards: ShardsRef, division: SplitRef, split: str = "test") -> EvaluationRef:
    """Do the same with the champion, on the candidate's images."""
    return _evaluate(model, shards, division, split, "evaluate champion", _CHAMPIONS_METRICS)


def _evaluate(
    model: ModelRef, shards: ShardsRef, division: SplitRef, split: str, name: str, page: str
) -> EvaluationRef:
    workspace = caching.workspace()
    progress = artifacts.progress_bar(name)
    evaluation = evaluate_stage.evaluate(model, shards, division, split, workspace=workspace, progress=progress)
    _show_metrics(evaluation, page)
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
