"""A search over a recipe's settings: the space, and a study that proposes trials and keeps their results.

A dimension is written as text: `1e-4..1e-2 log` or `0.1..0.5` (numbers in between), `2..6` (whole numbers) or
`adam | sgd` (one of these, each read as JSON or else as it stands).
"""

import json
import math
import re
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from fer import errors, plain_text
from fer.engine import disk
from fer.engine.records import Record

if TYPE_CHECKING:
    import optuna
    from optuna.storages.journal import JournalFileBackend

State = Literal["complete", "pruned", "failed"]
_STARTUP = 5  # trials at random before the sampler learns, and before others are compared with them
_WATCHED_FROM = 0.25  # share of the epochs before which no trial is stopped
_LENGTHS = {"train.epochs", "train.phases"}  # at as many epochs, trials of other lengths are at other learning rates
_RANGE = re.compile(r"(\S+?)\s*\.\.\s*(\S+?)(\s+log)?")
_LARGEST = 2**31  # far beyond, the sampler tells neighbouring whole numbers apart no more


class Range(NamedTuple):
    """Numbers from `low` to `high`, both among them; whole ones if both are."""

    low: float | int
    high: float | int
    log: bool

    @property
    def is_whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def of_kind(self, value: Any) -> "Range":
        """The same of floats if `value`, one within, is a float; of whole numbers if it is one."""
        kind = type(value) if type(value) in (int, float) else None
        return self if kind is None else Range(kind(self.low), kind(self.high), self.log)

    def text(self) -> str:
        """What `parse` reads as this."""
        return f"{self.low!r}..{self.high!r}{' log' if self.log else ''}"


class Choice(NamedTuple):
    """One of some values."""

    values: tuple[Any, ...]


Dimension = Range | Choice


class Trial(Record):
    """One proposal and its result. `value` is the best validation accuracy, None if there is none.

    `curve` is the best up to each epoch, as far as it is known; `seconds` are those of the training.
    """

    number: int
    settings: dict[str, Any]
    state: State | None = None  # None: not ended, or to be tried again
    value: float | None = None
    curve: tuple[float, ...] = ()
    epochs: int = 0
    seconds: float = 0.0
    reason: str = ""

    def assignments(self) -> list[str]:
        """The settings as `fer retrain --set` takes them; a value of null stands for the recipe's own."""
        return [f"{path}={json.dumps(value)}" for path, value in self.settings.items() if value is not None]


def parse(text: str) -> Dimension:
    """Read a dimension. Raises ConfigError."""
    match, options = _RANGE.fullmatch(text.strip()), [option.strip() for option in text.split("|")]
    low, high, log = match.groups() if match is not None else ("", "", None)
    ends = [plain_text.parse_value(end) for end in (low, high)]
    if all(_is_number(end) for end in ends):
        if ends[0] < ends[1] and (ends[0] > 0 or log is None):
            return Range(ends[0], ends[1], log=log is not None)
    elif len(options) > 1 and all(options):
        return Choice(tuple(plain_text.parse_value(option) for option in options))
    raise errors.ConfigError(
        "A dimension of a search must be LOW..HIGH, LOW..HIGH log or A|B|C, low under high, over 0 for log, and no "
        "number beyond 2 to the power of 31.",
        received=repr(text),
        todo="for example --search 'train.learning_rate=1e-4..1e-2 log'",
    )


def parse_space(assignments: Sequence[str]) -> dict[str, str]:
    """Read `section.field=DIMENSION` texts: setting -> dimension's text. Raises ConfigError."""
    space: dict[str, str] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or path.strip() in space:
            raise errors.ConfigError(
                "A search must name each setting once, as section.field=DIMENSION.",
                received=repr(assignment),
                todo="for example --search 'train.learning_rate=1e-4..1e-2 log'",
            )
        parse(text)
        space[path.strip()] = text.strip()
    return space


def corners(space: Mapping[str, str]) -> list[dict[str, Any]]:
    """Settings that together hold each choice and both ends of each range: where these are valid, all between are."""
    ends = {path: _ends(parse(text)) for path, text in space.items()}
    return [
        {path: values[min(index, len(values) - 1)] for path, values in ends.items()}
        for index in range(max((len(values) for values in ends.values()), default=0))
    ]


def _ends(dimension: Dimension) -> tuple[Any, ...]:
    return dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


class Study:
    """The trials of one search, in a journal of JSON lines at `path`, so that a search that was killed goes on.

    Proposals are those of a tree-structured Parzen estimator (Bergstra et al. 2011), drawn by (seed, number) from the
    trials that have ended. What is worse after an epoch than the median of the others after as many is to be stopped,
    unless the space has trainings of several lengths.
    """

    def __init__(self, path: Path, space: Mapping[str, str], *, seed: int, epochs: int):
        import optuna
        from optuna.storages import JournalStorage

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path.parent.mkdir(parents=True, exist_ok=True)
        _cut_off_half_a_line(path)
        self._space = {name: parse(text) for name, text in space.items()}
        self._seed = seed
        of_median = optuna.pruners.MedianPruner(_STARTUP, n_warmup_steps=math.ceil(_WATCHED_FROM * epochs))
        self._study = optuna.create_study(
            storage=JournalStorage(_journal(path)),
            study_name="search",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.NopPruner() if _LENGTHS & space.keys() else of_median,
        )
        for stored in self._study.get_trials(deepcopy=False):
            if not stored.state.is_finished() and not self._is_proposed(stored):
                self._study.tell(stored.number, state=optuna.trial.TrialState.FAIL)

    def trials(self) -> list[Trial]:
        """All so far, by their numbers."""
        return [self._trial(stored) for stored in self._study.get_trials(deepcopy=False) if self._is_proposed(stored)]

    def unfinished(self) -> list[Trial]:
        """Trials that were begun and have not ended: those of a killed search, and those to be tried again."""
        return [trial for trial in self.trials() if trial.state is None]

    def propose(self) -> Trial:
        """Begin a trial."""
        import optuna

        number = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=_STARTUP, constant_liar=True, seed=self._seed + 1_000_003 * number
        )
        begun = self._study.ask(self._distributions())
        return self._trial(self._study.get_trials(deepcopy=False)[begun.number])

    def is_hopeless(self, number: int, epoch: int, best: float) -> bool:
        """Record the best accuracy up to an epoch of a trial; returns whether the trial is to be stopped."""
        return bool(self._recorded(number, {epoch: best}).should_prune())

    def end(self, trial: Trial) -> None:
        """Record the result of a trial; one without a state stays unfinished."""
        import optuna

        states = {
            "complete": optuna.trial.TrialState.COMPLETE,
            "pruned": optuna.trial.TrialState.PRUNED,
            "failed": optuna.trial.TrialState.FAIL,
        }
        recorded = self._recorded(trial.number, dict(enumerate(trial.curve, start=1)))
        recorded.set_user_attr("about", trial.model_dump(include={"epochs", "seconds", "reason"}))
        if trial.state is not None:
            value = trial.value if trial.state == "complete" else None
            self._study.tell(trial.number, value, state=states[trial.state], skip_if_finished=True)

    def _recorded(self, number: int, best: Mapping[int, float]) -> "optuna.trial.Trial":
        """The stored trial, with the best accuracy up to each of the epochs of `best` that it lacks."""
        import optuna

        stored = self._study.get_trials(deepcopy=False)[number]
        trial = optuna.trial.Trial(self._study, stored._trial_id)
        for epoch in sorted(best.keys() - stored.intermediate_values.keys()):
            trial.report(best[epoch], epoch)
        return trial

    def _distributions(self) -> "dict[str, optuna.distributions.BaseDistribution]":
        from optuna import distributions

        by_path: dict[str, distributions.BaseDistribution] = {}
        for path, dimension in self._space.items():
            if isinstance(dimension, Choice):  # by index: the value may be a list
                by_path[path] = distributions.CategoricalDistribution(tuple(range(len(dimension.values))))
            elif dimension.is_whole:
                by_path[path] = distributions.IntDistribution(
                    int(dimension.low), int(dimension.high), log=dimension.log
                )
            else:
                by_path[path] = distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
        return by_path

    def _is_proposed(self, stored: "optuna.trial.FrozenTrial") -> bool:
        """Whether the trial has all of its settings: a kill may have come before the last was written."""
        return self._space.keys() <= stored.params.keys()

    def _trial(self, stored: "optuna.trial.FrozenTrial") -> Trial:
        settings: dict[str, Any] = {}
        for path, dimension in self._space.items():
            value = stored.params[path]
            settings[path] = dimension.values[value] if isinstance(dimension, Choice) else value
        states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        state = states.get(stored.state.name)
        curve = tuple(stored.intermediate_values[epoch] for epoch in sorted(stored.intermediate_values))
        accuracy = max(curve) if state == "pruned" and curve else stored.value
        about = stored.user_attrs.get("about", {})
        return Trial(number=stored.number, settings=settings, state=state, value=accuracy, curve=curve, **about)


def _journal(path: Path) -> "JournalFileBackend":
    """The journal at `path`, of which each line holds its own SHA-256; those of earlier versions do not.

    Reading it raises IntegrityError for a line that is not as it was written.
    """
    from optuna.storages.journal import JournalFileBackend

    class Sealed(JournalFileBackend):
        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            super().append_logs([{**log, disk.SEAL: disk.seal(log)} for log in logs])

        def read_logs(self, log_number_from: int) -> Generator[dict[str, Any]]:
            try:
                for log in super().read_logs(log_number_from):
                    yield disk.unsealed(json.dumps(log).encode())[0]
            except ValueError as error:
                raise errors.IntegrityError(
                    "A search's journal must be as it was written.",
                    received=f"{error} in {path}",
                    todo="move the file away and run the same command again: what was trained is not trained again",
                ) from error

    return Sealed(str(path))


def _cut_off_half_a_line(journal: Path) -> None:
    """Remove a last line that a kill or a full disk cut short: appended to, it could not be read."""
    if journal.exists():
        with journal.open("r+b") as file:
            data = file.read()
            file.truncate(data.rfind(b"\n") + 1)


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial of the highest validation accuracy; the first of equals."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def table(trials: Sequence[Trial]) -> list[dict[str, str | int | float]]:
    """The trials, the best first, as they are shown: column -> value."""
    order = {"complete": 0, "pruned": 1, "failed": 2, None: 3}
    ranked = sorted(trials, key=lambda trial: (order[trial.state], -(trial.value or 0), trial.number))
    return [
        {
            "trial": trial.number,
            "state": trial.state or "unfinished",
            "validation accuracy": "" if trial.value is None else f"{trial.value:.4f}",
            "epochs": trial.epochs,
            "minutes": f"{trial.seconds / 60:.1f}",
            **{path: _shown(value) for path, value in trial.settings.items()},
            "reason": trial.reason,
        }
        for trial in ranked
    ]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value).strip('"')
