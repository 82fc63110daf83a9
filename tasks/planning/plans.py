"""The plan of a run: what is cached and what would run, for how long, and in how much of the disk and the memory."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from fer import errors, plain_text, settings
from fer.engine import connect
from tasks.planning import estimates, provenance, walks
from tasks.planning.estimates import Estimate, Memory
from tasks.planning.walks import Step, Walk
from tasks.runs.results import RunPlan

Row = dict[str, str | int | float]


def of(body: Callable[[], object], again: Collection[str] = ()) -> RunPlan:
    """The plan of a run whose flow does `body`; the stages `again` are to run in any case.

    Nothing is done and nothing written: what must be read of a release is fetched to a temporary folder. A store that
    is not needed yet is not started.
    Raises what `body` raises before its first stage.
    """
    configured = settings.Settings.load()
    with connect.looked_at(configured) as workspace:
        walk = Walk(workspace, again)
        end = ""
        with walks.walking(walk):
            try:
                body()
            except errors.FerError as error:
                if not walk.steps:
                    raise
                end = plain_text.visible(str(error))
        expected = [estimates.of(step, walk.workspace) for step in walk.steps]
    free_bytes = psutil.disk_usage(str(_existing(configured.workspace_folder))).free
    rows = tuple(_row(step, estimate) for step, estimate in zip(walk.steps, expected, strict=True))
    return RunPlan(rows=rows, message=_message(walk.steps, expected, free_bytes), end=end)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next((place for place in (folder, *folder.parents) if place.is_dir()), Path("/"))


def _row(step: Step, estimate: Estimate) -> Row:
    return {
        "stage": step.name,
        "plan": {"cached": "cached", "runs": "will run", "unknown": "unknown"}[step.state],
        "why": _why(step),
        "depends on": ", ".join(step.waits_for),
        "key": (step.key or "")[:8],
        "minutes": _figure(estimate.seconds, 60),
        "MB": _figure(estimate.size_bytes, 1e6),
    }


def _why(step: Step) -> str:
    """Where a cached output is from; what another is made for."""
    if step.is_forced:
        return "it is to be made again"
    if step.record is not None:
        return provenance.of_cached(step.record).origin
    if step.state == "unknown":
        return ""
    if step.parts:
        return next(_why(part) for part in step.parts if part.state == "runs")
    return "" if step.reason is None else step.reason.sentence()


def _figure(value: float | None, unit: float) -> str:
    if value is None:
        return "?"
    return "" if value == 0 else f"{value / unit:.1f}" if value >= unit / 10 else "<0.1"


def _message(steps: Sequence[Step], expected: Sequence[Estimate], free_bytes: int) -> str:
    """All of the plan in one line."""
    count = Counter[str](step.state for step in steps)
    states = {"cached": "cached", "runs": "to run", "unknown": "unknown until these have run"}
    parts = [", ".join(f"{count[state]} {words}" for state, words in states.items() if count[state])]
    at_work = {step.name: estimate for step, estimate in zip(steps, expected, strict=True) if step.state != "cached"}
    if at_work:
        parts += [_time(at_work), _space(at_work.values(), free_bytes)]
    memory = [estimate.memory for estimate in at_work.values() if estimate.memory is not None]
    if memory:
        parts.append(_memory(max(memory, key=lambda one: one.mb), _other_pixels(steps)))
    return "; ".join(parts)


def _other_pixels(steps: Sequence[Step]) -> list[str]:
    """In what the images to be trained on are larger or smaller than before."""
    changes = [change for step in steps if step.name == "preprocess" and step.reason for change in step.reason.changes]
    return [change.sentence() for change in changes if change.name in ("preprocess.height", "preprocess.width")]


def _memory(needed: Memory, other_pixels: Sequence[str]) -> str:
    """What the nearest earlier training took, which may not be what this one takes."""
    free = psutil.virtual_memory().available
    differing = [*other_pixels, *needed.differing]
    but = f", but {plain_text.visible('; '.join(differing))}" if differing else ""
    return f"{needed.mb / 1e3:.1f} GB of memory, as the training {needed.output} took{but} ({free / 1e9:.1f} GB free)"


def _time(at_work: Mapping[str, Estimate]) -> str:
    known = [estimate.seconds for estimate in at_work.values() if estimate.seconds is not None]
    if not known:
        return "no earlier run says how long it takes"
    unknown = dict.fromkeys(
        part
        for name, estimate in at_work.items()
        for part in (estimate.without if estimate.seconds is not None else [name])
    )
    another = " on another machine" if any(estimate.is_of_another for estimate in at_work.values()) else ""
    but = f" (without {', '.join(unknown)}: no earlier run says how long)" if unknown else ""
    return f"about {sum(known) / 60:,.1f} min, as before{another}{but}"


def _space(at_work: Iterable[Estimate], free_bytes: int) -> str:
    needed = sum(estimate.size_bytes or 0 for estimate in at_work)
    return f"{needed / 1e6:,.1f} MB of disk ({free_bytes / 1e9:,.1f} GB free)"
