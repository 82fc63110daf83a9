"""Every error that this project raises on purpose.

FerError
├── ConfigError          a recipe, setting or option is not valid
│   └── TooLittleMemory      not even a part of a batch fits the memory that there is now
├── SourceError          the data source can't be read: wrong form, empty, unsafe, damaged
├── LabelError           a label that the recipe does not know
├── KaggleError
│   ├── KaggleRefused    401, 403, 404: asking again will not help
│   └── KaggleUnavailable    429, 5xx, resets, truncated bodies: transient
├── StoreError
│   ├── StoreRefused     the store answers, but not to these credentials or this bucket
│   ├── StoreUnavailable     no answer: transient
│   └── StoreConflict    another writer was first (compare-and-swap lost)
├── MailError            the mail server refuses, or does not answer
├── PrefectUnavailable   Prefect's server does not start, or does not answer
├── WorkspaceError       the workspace can't be written, or is out of space
├── IntegrityError       bytes are not those that the manifest promised
├── ContractViolation    data breaks a contract of severity `stop`
│   └── UnfitData        the data is not fit for training; its report says why
└── TrainingError        a model can't be trained, or used: it diverged, or its process failed
    ├── Diverged             its loss is not finite, or far above guessing: the next attempt would do the same
    ├── Interrupted          its process was killed from outside: the next attempt goes on
    ├── OutOfTime            it took longer than its time limit
    └── OutOfMemory          it needs more memory than there is

A message says what must hold, then what was received, then what to do:
    SourceError("The archive must hold images.", received="0 images in 3 files", todo="check the path")
What looks like a key is left out of it.
"""

from fer import redaction


class FerError(Exception):
    """Base of all errors here. `exit_code` is what the `fer` command exits with."""

    exit_code = 1
    transient = False  # whether the same call can succeed when it is tried again

    def __init__(self, must: str, *, received: object = None, todo: str | None = None):
        super().__init__(redaction.redacted(must))
        self.received = None if received is None else redaction.redacted(str(received))
        self.todo = None if todo is None else redaction.redacted(todo)

    def __str__(self) -> str:
        parts = [str(part) for part in self.args]
        if self.received is not None:
            parts.append(f"Received: {self.received}.")
        if self.todo is not None:
            parts.append(f"Next: {self.todo}.")
        return " ".join(parts)


class ConfigError(FerError):
    """A recipe, a setting, an option or the environment is not valid."""

    exit_code = 2


class TooLittleMemory(ConfigError):
    """Not even a part of a batch fits the memory that there is now."""


class SourceError(FerError):
    """The data source can't be read: wrong form, empty, unsafe, damaged."""

    exit_code = 3


class LabelError(FerError):
    """A label that the recipe does not know."""

    exit_code = 3


class KaggleError(FerError):
    """Kaggle does not give the dataset."""

    exit_code = 4


class KaggleRefused(KaggleError):
    """401, 403, 404: asking again will not help."""


class KaggleUnavailable(KaggleError):
    """429, 5xx, resets, truncated bodies. `wait_s`: for how long Kaggle asks for no further request, if it does."""

    transient = True

    def __init__(self, must: str, *, received: object = None, todo: str | None = None, wait_s: float | None = None):
        super().__init__(must, received=received, todo=todo)
        self.wait_s = wait_s


class StoreError(FerError):
    """The S3-compatible store can't be used."""

    exit_code = 5


class StoreRefused(StoreError):
    """The store answers, but not to these credentials or this bucket."""


class StoreUnavailable(StoreError):
    """No answer."""

    transient = True


class StoreConflict(StoreError):
    """Another writer was first: a conditional put was lost."""


class MailError(FerError):
    """The mail server refuses, or does not answer."""


class PrefectUnavailable(FerError):
    """Prefect's server does not start, or does not answer: a run can't begin, or go on."""

    exit_code = 11


class WorkspaceError(FerError):
    """The workspace can't be written, is out of space, or has lost an output."""

    exit_code = 6


class IntegrityError(FerError):
    """Bytes are not those that the manifest promised."""

    exit_code = 7


class ContractViolation(FerError):
    """Data breaks a contract of severity `stop`."""

    exit_code = 8


class UnfitData(ContractViolation):
    """The data is not fit for training. `reports`: title -> path of a report that says why."""

    def __init__(self, must: str, *, received: object, todo: str, reports: dict[str, str]):
        super().__init__(must, received=received, todo=todo)
        self.reports = reports


class TrainingError(FerError):
    """A model can't be trained, or used: it diverged, or its process failed."""

    exit_code = 9


class Diverged(TrainingError):
    """The loss is not finite, or far above guessing: the next attempt would do the same."""


class Interrupted(TrainingError):
    """The process was killed from outside: the next attempt goes on."""

    transient = True


class OutOfTime(TrainingError):
    """It took longer than its time limit."""


class OutOfMemory(TrainingError):
    """It needs more memory than there is."""
