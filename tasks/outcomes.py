"""What a run came to, told where Prefect's users look: its final state, its tags, and events to listen for."""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar, cast

from prefect import get_client, get_run_logger
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.states import Completed, Failed

from fer import errors, plain_text
from fer.curation import baseline
from fer.curation.refs import DriftRef, ValidationRef
from fer.reports.refs import QualityRef
from tasks import artifacts, events
from tasks.results import ComparisonOutcome, Intake, Outcome, SweepOutcome

P = ParamSpec("P")
R = TypeVar("R")

# Event names; docs/reference/outcomes.md has their resources and payloads.
MODEL = {word: f"fer.model.{word}" for word in ("released", "kept", "refused")}
DRIFTED, UNFIT = "fer.data.drifted", "fer.data.refused"

_cached_by_stage: ContextVar[dict[str, bool]] = ContextVar("_cached_by_stage")  # of the stages that ended in this run


def told(body: Callable[P, R]) -> Callable[P, R]:
    """A flow's body that ends in a state which says what it came to. It goes below `@flow`.

    The state is what Prefect takes for the run's; a caller of the flow gets what the body returned, or its error. An
    error of `fer.errors` is logged as its message, which says what to do; any other keeps its traceback.
    """

    @functools.wraps(body)
    def run(*arguments: P.args, **named: P.kwargs) -> R:
        cached_by_stage: dict[str, bool] = {}

        def hear(event: events.Event) -> None:
            if isinstance(event, events.Ended):
                cached_by_stage[event.name] = event.cached

        token = _cached_by_stage.set(cached_by_stage)
        try:
            with events.heard_by(hear):
                state = _completed(body(*arguments, **named))
        except errors.FerError as error:
            state = _failed(error)
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


def tell_data(
    recipe: str,
    sources: Sequence[str],
    validation: ValidationRef,
    drift: DriftRef | None,
    quality: QualityRef,
    reports: Mapping[str, str],
) -> None:
    """Send an event if the data drifted, and one if it is not fit for training."""
    found = {"n_found": validation.n_found, "n_accepted": validation.n_accepted, "reports": dict(reports)}
    if drift is not None and (drift.failures or drift.warnings):
        changed = {"n_new": drift.n_new, "n_gone": drift.n_gone, "n_relabelled": drift.n_relabelled}
        said = {"failures": drift.failures, "warnings": drift.warnings}
        _send_of_data(DRIFTED, "drift", recipe, sources, drift.summary(), changed | said | found)
    if quality.failures:
        said = {"failures": quality.failures, "warnings": quality.warnings}
        _send_of_data(UNFIT, "quality", recipe, sources, "; ".join(quality.failures), said | found)
        tag(outcome="unfit-data")


def tell_too_small(recipe: str, sources: Sequence[str], error: errors.ContractViolation) -> None:
    """Send the event of data that is not fit, as it is too small to judge a model by."""
    message = plain_text.visible(str(error), but="\n")
    said = {"failures": [message], "warnings": [], "reports": {}}
    _send_of_data(UNFIT, "quality", recipe, sources, message, said)
    tag(outcome="unfit-data")


def _send_of_data(
    event: str, stage: str, recipe: str, sources: Sequence[str], message: str, payload: dict[str, Any]
) -> None:
    families = baseline.families(sources)
    resource = {
        "prefect.resource.id": f"fer.data.{baseline.name(recipe, families)}",
        "prefect.resource.name": f"{recipe} from {', '.join(families)}",
        "fer.recipe": recipe,
    }
    _send(event, stage, resource, {"message": message, "recipe": recipe, "sources": list(sources)} | payload)


def _send_of_model(outcome: Outcome) -> None:
    release, evaluation, verdict = outcome.release, outcome.evaluation, outcome.verdict
    resource = {
        "prefect.resource.id": f"fer.model.{release.name}",
        "prefect.resource.name": release.name,
        "fer.recipe": outcome.recipe,
        "fer.version": str(release.version),
    }
    payload = {
        "message": outcome.message(),
        "recipe": outcome.recipe,
        "sources": list(outcome.sources),
        "name": release.name,
        "version": release.version,
        "uri": release.uri,
        "champion_version": release.champion_version,
        "compared_with": verdict.champion_version,
        "checks": [each.model_dump() for each in verdict.checks],
        "n_images": evaluation.n_images,
        "accuracy": evaluation.accuracy,
        "accuracy_interval": list(evaluation.accuracy_interval),
        "macro_f1": evaluation.macro_f1,
        "macro_f1_interval": list(evaluation.macro_f1_interval),
        "deduplicated_accuracy": None if evaluation.deduplicated is None else evaluation.deduplicated.accuracy,
        "reports": dict(outcome.reports),
    }
    _send(MODEL[outcome.word], "register", resource, payload)


def _send(event: str, stage: str, resource: dict[str, str], payload: dict[str, Any]) -> None:
    """Send an event about `resource`, labelled `fer.repeated` if `stage` came to it in an earlier run already.

    Prefect relates it to the flow run, its flow, deployment and tags.
    """
    repeated = _cached_by_stage.get({}).get(stage, False)
    with artifacts.harmless(f"The event {event}"):
        emit_event(event, resource=resource | {"fer.repeated": str(repeated).lower()}, payload=payload)


def _completed(found: Any) -> State[Any]:
    if isinstance(found, State):  # a flow that ended before any work
        return found
    cached_by_stage = _cached_by_stage.get()
    name, message = None, None
    if isinstance(found, Outcome):
        name, message = found.word.capitalize(), found.message()
        if "report" in found.reports:
            get_run_logger().info("report: %s", plain_text.visible(found.reports["report"]))
        tag(outcome=name.lower(), model=found.release.name)
        _send_of_model(found)
    elif isinstance(found, Intake):
        message = f"{found.quality.summary()}; {found.drift.summary()}"
        tag(outcome="fit")
    elif isinstance(found, ComparisonOutcome):
        message = f"best on validation: {found.best}"
    elif isinstance(found, SweepOutcome) and found.best is not None:
        message = f"{len(found.rows):,} trials, the best {found.best:.4f} on validation"
    if cached_by_stage and all(cached_by_stage.values()):
        tag(stages="cached")
        message = f"{message} (every stage cached)"
    said = None if message is None else plain_text.visible(message)
    return Completed(message=said, data=found) if name is None else Completed(name=name, message=said, data=found)


def _failed(error: errors.FerError) -> State[Any]:
    message = plain_text.visible(str(error), but="\n")
    get_run_logger().error("%s: %s", type(error).__name__, message)
    return Failed(message=message, data=error)
