"""What an overview says, as one JSON document: processes first, then the models. `flows.operating` collects it.

Times are UTC, sizes bytes, durations seconds.
"""

from datetime import datetime
from typing import Literal

from fer.engine.records import Record

EXIT_CODE = 12  # of `fer status`, where something needs a person


class Matter(Record):
    """What needs a person: what it is, and what to do. A `warn` can wait; a `stop` keeps a model from being renewed."""

    level: Literal["warn", "stop"]
    subject: str  # the model, run, deployment, service or disk that it is about
    text: str
    todo: str


class Service(Record):
    """A process of the installation. One that is `unused` is not there, and nobody waits for it."""

    name: str
    state: Literal["up", "down", "unused"]
    text: str
    todo: str = ""  # where it is down


class Run(Record):
    """A run that began, or should have. `line` is the same for runs that do the same job: those of one deployment."""

    id: str
    name: str
    flow: str
    deployment: str | None
    line: str
    state: str  # its name, as Released or Late
    kind: str  # Prefect's type of it, as COMPLETED
    message: str
    due_utc: datetime | None
    started_utc: datetime | None
    ended_utc: datetime | None
    seconds: float
    tags: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.kind in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class StageRun(Record):
    """A task that has ended: its output was there already, or was made, or it failed."""

    stage: str
    outcome: Literal["cached", "made", "failed"]
    seconds: float


class Schedule(Record):
    """A deployment, and when it runs next; `next_utc` is None where nothing is scheduled."""

    deployment: str
    pool: str | None
    is_paused: bool
    n_schedules: int  # that are active
    next_utc: datetime | None
    is_new: bool = False  # so new that its first run may not be planned yet


class Server(Record):
    """What Prefect's server says. Where none is configured, or it does not answer, `problem` says so in words."""

    url: str | None = None
    answers: bool = False
    problem: str = ""
    services: tuple[Service, ...] = ()  # the workers of its pools
    runs: tuple[Run, ...] = ()  # newest first
    late: tuple[Run, ...] = ()  # that should have begun
    schedules: tuple[Schedule, ...] = ()


class Figures(Record):
    """How good a version was on its test images."""

    version: int
    n_images: int
    accuracy: float
    accuracy_interval: tuple[float, float] | None
    macro_f1: float
    macro_f1_interval: tuple[float, float] | None


class Drift(Record):
    """How the data accepted last differs from what the champion was trained on; `unknown` says why it is not known."""

    unknown: str = ""
    accepted_utc: datetime | None = None
    n_new: int = 0
    n_gone: int = 0
    n_relabelled: int = 0
    findings: tuple[str, ...] = ()


class TestReads(Record):
    """How often the test images that were read last were read, of how often at most."""

    test_set: str  # its digest
    n_images: int
    verdicts: float  # that read an image of it, on average
    max_reads: int
    is_worn: bool
    accuracy_within: float  # by how much an accuracy on it may be off, at 95 %


class Model(Record):
    """A registered model and its champion."""

    name: str
    n_versions: int = 0
    champion: Figures | None = None
    champion_since_utc: datetime | None = None
    age_days: float | None = None  # since it became champion
    max_age_days: int | None = None  # from which on its age is a reason to change it
    source: str = ""
    anchor: Figures | None = None  # the best release so far, where that is not the champion
    drift: Drift | None = None
    reads: TestReads | None = None
    last_version: int | None = None
    last_status: str = ""
    last_utc: datetime | None = None
    problem: str = ""  # what of it can't be read


class Registry(Record):
    """The models; `problem` says why they can't be told."""

    models: tuple[Model, ...] = ()
    problem: str = ""


class DiskUse(Record):
    """A part of the installation on this machine's disk."""

    part: str  # `workspace/STAGE`, `store`, `reports`, …
    size_bytes: int


class Disk(Record):
    """The disk below FER_HOME."""

    folder: str
    free_bytes: int
    total_bytes: int
    parts: tuple[DiskUse, ...]  # the largest first
    budget_bytes: int | None = None  # what all of them together may take

    @property
    def used_bytes(self) -> int:
        """What they take together."""
        return sum(use.size_bytes for use in self.parts)


class Overview(Record):
    """The whole. `needs` is what needs a person, the most urgent first; empty if all is well."""

    made_utc: datetime
    home: str
    services: tuple[Service, ...]
    server: Server
    registry: Registry
    disk: Disk
    needs: tuple[Matter, ...] = ()
