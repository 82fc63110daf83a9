"""A run's result where Prefect's users look for it: the final state, tags, and events to listen for."""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar, cast

from prefect import get_client, get_run_logger
from prefect.client.schemas.objects import FlowRunPolicy, State
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.states import Completed, Failed

from fer import errors, plain_text, settings
from fer.curation import baseline
from fer.curation.refs import DriftRef, ValidationRef
from fer.recipes.reproduction import Reproduction
from fer.registry.growth import Growth
from fer.reports.refs import QualityRef
from tasks.planning import walks
from tasks.runs import events, heartbeats
from tasks.runs.results import (
    AuditResult,
    BackedUp,
    ChampionMoved,
    Collected,
    ComparisonResult,
    IngestResult,
    RetrainResult,
    RunPlan,
    ScoreResult,
    SweepResult,
)
from tasks.shown import artifacts, graph, summaries

P = ParamSpec("P")
R = TypeVar("R")

# Event names; docs/reference/outcomes.md has their resources and payloads.
MODEL = {status: f"fer.model.{status}" for status in ("released", "kept", "refused")}
DRIFTED, UNFIT, GROWN = "fer.data.drifted", "fer.data.refused", "fer.data.grown"
MOVED = "fer.model.moved"  # its champion, by a person

_cached_by_stage: ContextVar[dict[str, bool]] = ContextVar("_cached_by_stage")  # of the stages that ended in this run


def as_final_state(body: Callable[P, R]) -> Callable[P, R]:
    """Wrap a flow's body so that the run ends in a state which says its result. It goes below `@flow`.

    The state is what Prefect takes for the run's; a caller of the flow gets what the body returned, or its error. An
    error of `fer.errors` is logged as its message, which says what to do; any other keeps its traceback.
    """

    @functools.wraps(body)
    def run(*arguments: P.args, **named: P.kwargs) -> R:
        cached_by_stage: dict[str, bool] = {}
        stages: list[events.Ended] = []

        def note_end(event: events.Event) -> None:
            if isinstance(event, events.Ended):
                cached_by_stage[event.name] = event.cached
                stages.append(event)

        token = _cached_by_stage.set(cached_by_stage)
        result = None
        try:
            with heartbeats.sent():
                with artifacts.noted() as pages, events.heard_by(note_end), graph.drawn():
                    try:
                        result = body(*arguments, **named)
                        state = _completed(result)
                    except errors.FerError as error:
                        if error.transient:
                            _allow_another_try()
                        state = _failed(error)
                if not isinstance(result, State):
                    summaries.show(state.message or state.name or "", result, stages, pages)
        finally:
            _cached_by_stage.reset(token)
        return cast(R, state)

    return run


def tag(**tags: str) -> None:
    """Add tags to this run, each `key:value`, beside those that it has."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    with artifacts.harmless("The run's tags"), get_client(sync_client=True) as client:
        known = client.read_flow_run(context.flow_run.id).tags
        # In the context too: Prefect names them in the events that follow.
        context.flow_run.tags = sorted({*known, *(f"{key}:{value}" for key, value in tags.items())})
        client.update_flow_run(context.flow_run.id, tags=context.flow_run.tags)


def rename(name: str) -> None:
    """Give this run another name."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.name == name:
        return
    with artifacts.harmless("The run's name"), get_client(sync_client=True) as client:
        client.update_flow_run(context.flow_run.id, name=name)
        context.flow_run.name = name


def emit_data_events(
    recipe: str,
    sources: Sequence[str],
    validation: ValidationRef,
    drift: DriftRef | None,
    quality: QualityRef,
    reports: Mapping[str, str],
) -> None:
    """Send an event if the data drifted, and one if it is not fit for training."""
    figures = {"n_found": validation.n_found, "n_accepted": validation.n_accepted, "reports": dict(reports)}
    if drift is not None and (drift.failures or drift.warnings):
        tag(drift="found")
        changes = {"n_new": drift.n_new, "n_gone": drift.n_gone, "n_relabelled": drift.n_relabelled}
        findings = {"failures": drift.failures, "warnings": drift.warnings}
        _emit_of_data(
            DRIFTED, "drift", recipe, sources, drift.summary(), changes | findings | figures, fit=not quality.failures
        )
    if quality.failures:
        findings = {"failures": quality.failures, "warnings": quality.warnings}
        _emit_of_data(UNFIT, "quality", recipe, sources, "; ".join(quality.failures), findings | figures)
        tag(outcome="unfit-data")


def emit_too_small(recipe: str, sources: Sequence[str], error: errors.ContractViolation) -> None:
    """Send the event of data that is not fit, as it is too small to judge a model by."""
    message = plain_text.visible(str(error), keep="\n")
    payload = {"failures": [message], "warnings": [], "reports": {}}
    _emit_of_data(UNFIT, "quality", recipe, sources, message, payload)
    tag(outcome="unfit-data")


def emit_grown(recipe: str, sources: Sequence[str], growth: Growth) -> None:
    """Send the event of data of which the champion has not learned enough."""
    payload = growth.model_dump() | {"share": growth.share, "reports": {}}
    _emit_of_data(GROWN, "split", recipe, sources, growth.summary(), payload, fit=True)


def _emit_of_data(
    event: str,
    stage: str,
    recipe: str,
    sources: Sequence[str],
    message: str,
    payload: dict[str, Any],
    *,
    fit: bool = False,
) -> None:
    families = baseline.families(sources)
    resource = {
        "prefect.resource.id": f"fer.data.{baseline.Scope(recipe, families).name}",
        "prefect.resource.name": f"{recipe} from {', '.join(families)}",
        "fer.recipe": recipe,
        "fer.fit": str(fit).lower(),
    }
    _emit(event, stage, resource, {"message": message, "recipe": recipe, "sources": list(sources)} | payload)


def _emit_of_model(result: RetrainResult) -> None:
    release, evaluation, verdict = result.release, result.evaluation, result.verdict
    resource = {
        "prefect.resource.id": f"fer.model.{release.name}",
        "prefect.resource.name": release.name,
        "fer.recipe": result.recipe,
        "fer.version": str(release.version),
    }
    payload = {
        "message": result.message(),
        "recipe": result.recipe,
        "sources": list(result.sources),
        "name": release.name,
        "version": release.version,
        "uri": release.uri,
        "champion_version": release.champion_version,
        "compared_with": verdict.champion_version,
        "checks": [check.model_dump() for check in result.checks],
        "n_images": evaluation.n_images,
        "accuracy": evaluation.accuracy,
        "accuracy_interval": list(evaluation.accuracy_interval),
        "macro_f1": evaluation.macro_f1,
        "macro_f1_interval": list(evaluation.macro_f1_interval),
        "deduplicated_accuracy": None if evaluation.deduplicated is None else evaluation.deduplicated.accuracy,
        "reports": dict(result.reports),
    }
    _emit(MODEL[result.status], "register", resource, payload)


def _emit(event: str, stage: str, resource: dict[str, str], payload: dict[str, Any]) -> None:
    """Send an event about `resource`, labelled `fer.repeated` if `stage` is cached: an earlier run sent the same.

    Prefect relates it to the flow run, its flow, deployment and tags.
    """
    if walks.current() is not None:
        return
    repeated = _cached_by_stage.get({}).get(stage, False)
    with artifacts.harmless(f"The event {event}"):
        emit_event(event, resource=resource | {"fer.repeated": str(repeated).lower()}, payload=payload)


def _completed(result: Any) -> State[Any]:
    if isinstance(result, State):  # a flow that ended before any work
        return result
    cached_by_stage = _cached_by_stage.get()
    name, message = None, None
    match result:
        case RetrainResult():
            name, message = result.status.capitalize(), result.message()
            if "report" in result.reports:
                get_run_logger().info("report: %s", plain_text.visible(result.reports["report"]))
            tag(outcome=result.status, model=result.release.name)
            _emit_of_model(result)
        case IngestResult():
            message = f"{result.quality.summary()}; {result.drift.summary()}"
            tag(outcome="fit")
        case AuditResult() | BackedUp() | Collected():
            message = result.sentence
        case Reproduction():
            name, message = "Reproduced" if result.is_same else "Differs", result.sentence()
            tag(outcome="reproduced" if result.is_same else "differs")
        case ScoreResult():
            message = result.sentence
            tag(model=result.model, **({"drift": "found"} if result.drifted else {}))
        case ChampionMoved():
            message = result.sentence
            tag(model=result.name)
            _emit_of_move(result)
        case ComparisonResult():
            message = f"best on validation: {result.best}"
        case RunPlan():
            name, message = "Planned", result.message
        case SweepResult(best=float(best)):
            message = f"{len(result.rows):,} trials, the best {best:.4f} on validation"
    if cached_by_stage and all(cached_by_stage.values()):
        tag(stages="cached")
        message = f"{message} (every stage cached)"
    text = None if message is None else plain_text.visible(message)
    return Completed(message=text, data=result) if name is None else Completed(name=name, message=text, data=result)


def _emit_of_move(moved: ChampionMoved) -> None:
    if not moved.has_moved:
        return
    resource = {"prefect.resource.id": f"fer.model.{moved.name}", "prefect.resource.name": moved.name}
    _emit(MOVED, "", resource, {"message": moved.sentence} | moved.model_dump(exclude={"sentence"}))


def _allow_another_try() -> None:
    """Let Prefect begin this run again, as often and after the wait that the settings say, once it has failed."""
    context, configured = FlowRunContext.get(), settings.Settings.load()
    if context is None or context.flow_run is None or not configured.run_retries:
        return
    policy = FlowRunPolicy(retries=configured.run_retries, retry_delay=configured.run_retry_wait_s)
    with artifacts.harmless("The run's second try"), get_client(sync_client=True) as client:
        client.update_flow_run(context.flow_run.id, empirical_policy=policy)


def _failed(error: errors.FerError) -> State[Any]:
    message = plain_text.visible(str(error), keep="\n")
    get_run_logger().error("%s: %s", type(error).__name__, message)
    return Failed(message=message, data=error)
