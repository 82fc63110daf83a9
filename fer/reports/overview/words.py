"""What an overview says in words, the same in the terminal, on the page and in Prefect's UI."""

from datetime import datetime, timedelta

from fer.reports.overview.document import Drift, Figures, Model, Overview, Run, Schedule, TestReads

RUNS_SHOWN = 8
PARTS_SHOWN = 8  # of the disk
_MB, _GB = 1e6, 1e9


def headline(overview: Overview) -> str:
    """Whether all is well."""
    match len(overview.needs):
        case 0:
            return "All is well"
        case 1:
            return "One thing needs a person"
        case count:
            return f"{count:,} things need a person"


def moment(when: datetime | None) -> str:
    """To the minute, in UTC."""
    return "–" if when is None else f"{when:%Y-%m-%d %H:%M} UTC"


def ago(when: datetime, now: datetime) -> str:
    """How long ago, in its largest unit."""
    return f"{lasting((now - when).total_seconds())} ago"


def lasting(seconds: float) -> str:
    """A duration in its largest unit."""
    for size_s, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size_s or (size_s != 86_400 and seconds >= size_s):
            return f"{seconds / size_s:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def size(size_bytes: int) -> str:
    """In MB or GB."""
    return f"{size_bytes / _GB:,.1f} GB" if size_bytes >= _GB else f"{size_bytes / _MB:,.1f} MB"


def figures(found: Figures) -> str:
    """The scores with their intervals."""
    scores = [
        f"{name} {value:.3f}{f' ({ends[0]:.3f} to {ends[1]:.3f})' if ends else ''}"
        for name, value, ends in (
            ("accuracy", found.accuracy, found.accuracy_interval),
            ("macro-F1", found.macro_f1, found.macro_f1_interval),
        )
    ]
    return f"{', '.join(scores)}, on {found.n_images:,} test images"


def champion(model: Model, now: datetime) -> str:
    """Which version it is, and since when."""
    if model.champion is None or model.champion_since_utc is None:
        return "none"
    since = model.champion_since_utc
    return f"version {model.champion.version}, champion since {moment(since)} ({ago(since, now)})"


def anchor(model: Model) -> str:
    """The best release so far."""
    if model.champion is None:
        return "none"
    if model.anchor is None:
        return "the champion itself is the best release so far"
    return f"version {model.anchor.version} is the best release so far: {figures(model.anchor)}"


def drift(found: Drift | None) -> str:
    """What has happened to the data since the champion was trained."""
    if found is None:
        return "not known"
    if found.unknown:
        return f"not known: {found.unknown}"
    accepted = f"accepted on {moment(found.accepted_utc)}" if found.accepted_utc else "accepted last"
    if not (found.n_new or found.n_gone or found.n_relabelled):
        return f"the data {accepted} is what it was trained on"
    changes = f"{found.n_new:,} new, {found.n_gone:,} gone, {found.n_relabelled:,} relabelled"
    return f"{changes} in the data {accepted}; drift: {'; '.join(found.findings) or 'none'}"


def reads(found: TestReads | None) -> str:
    """How worn the test images are."""
    if found is None:
        return "no version says what it was tested on"
    worn = ", which are worn" if found.is_worn else ""
    return (
        f"{found.verdicts:,.4g} verdicts of at most {found.max_reads:,} on {found.n_images:,} test images{worn}; an "
        f"accuracy on them is within {found.accuracy_within:.3f} at 95 %"
    )


def last_version(model: Model) -> str:
    """What was registered last."""
    if model.last_version is None:
        return "none"
    return f"version {model.last_version}, {model.last_status}, {moment(model.last_utc)}"


def run(one: Run) -> str:
    """When it began, and how long it took, if it began."""
    if one.started_utc is None:
        return moment(one.due_utc)
    return f"{moment(one.started_utc)}, {lasting(one.seconds)}"


def next_run(schedule: Schedule, now: datetime) -> str:
    """When it is to run."""
    if schedule.is_paused:
        return "paused"
    if schedule.next_utc is None:
        return "none planned" if schedule.n_schedules else "by hand"
    left = schedule.next_utc - now
    return f"{moment(schedule.next_utc)} (in {lasting(max(left, timedelta()).total_seconds())})"
