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
├── WorkspaceError       the workspace can't be written, or is out of space
├── IntegrityError       bytes are not those that the manifest promised
├── ContractViolation    data breaks a contract of severity `stop`
│   └── UnfitData        the data is not fit for training; its report says why
└── TrainingError        a model can't be trained, or used: it diverged, or its process failed
    ├── Diverged             its loss is not finite, or far above guessing: the next attempt would do the same
    ├── Interrupted          its process was killed from outside: the next attempt goes on
    ├── OutOfTime            it took longer than it may
    └── OutOfMemory          it needs more memory than there is

A message says what must hold, then what was received, then what to do:
    SourceError("The archive must hold images.", received="0 images in 3 files", todo="check the path")
"""


class FerError(Exception):
    """Base of all errors here. `exit_code` is what the `fer` command exits with."""

    exit_code = 1
    transient = False  # whether the same call can succeed when it is tried again

    def __init__(self, must: str, *, received: object = None, todo: str | None = None):
        parts = [must]
        if received is not None:
            parts.append(f"Received: {received}.")
        if todo is not None:
            parts.append(f"Next: {todo}.")
        super().__init__(" ".join(parts))


class ConfigError(FerError):
    exit_code = 2


class TooLittleMemory(ConfigError):
    pass


class SourceError(FerError):
    exit_code = 3


class LabelError(FerError):
    exit_code = 3


class KaggleError(FerError):
    exit_code = 4


class KaggleRefused(KaggleError):
    pass


class KaggleUnavailable(KaggleError):
    transient = True


class StoreError(FerError):
    exit_code = 5


class StoreRefused(StoreError):
    pass


class StoreUnavailable(StoreError):
    transient = True


class StoreConflict(StoreError):
    pass


class WorkspaceError(FerError):
    exit_code = 6


class IntegrityError(FerError):
    exit_code = 7


class ContractViolation(FerError):
    exit_code = 8


class UnfitData(ContractViolation):
    """`reports`: what each shows -> its path."""

    def __init__(self, must: str, *, received: object, todo: str, reports: dict[str, str]):
        super().__init__(must, received=received, todo=todo)
        self.reports = reports


class TrainingError(FerError):
    exit_code = 9


class Diverged(TrainingError):
    pass


class Interrupted(TrainingError):
    transient = True


class OutOfTime(TrainingError):
    pass


class OutOfMemory(TrainingError):
    pass
