"""The Refs of the stages of `fer.evaluation`, and the champion that a candidate is compared with."""

import math
from typing import Literal

from pydantic import AliasChoices, Field, field_validator

from fer.curation.refs import SplitRef
from fer.engine.records import Record
from fer.engine.refs import Ref
from fer.training.refs import ModelRef


class Scores(Record):
    """Accuracy and macro-F1 of some images, with their intervals at 95 %.

    `absent_classes` have no image among them, and are left out of macro-F1.
    """

    n_images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    absent_classes: tuple[str, ...] = ()


class CalibrationRef(Ref):
    """`calibration.json`, by which a model's probabilities and sets are told (`fer.evaluation.calibration`).

    `coverage` is the stated one of its sets, None without any; `calibration_errors` are those of the validation images
    that it was fitted on, before and after, none without such images.
    """

    temperature: float
    why_one: str
    n_images: int
    coverage: float | None
    calibration_errors: tuple[float, ...] = ()

    def summary(self) -> str:
        """The temperature, or why it is 1, and the coverage, in one line."""
        sets = "no sets" if self.coverage is None else f"sets that hold the true class in {self.coverage:.0%}"
        if self.why_one:
            return f"temperature 1: {self.why_one}; {sets}"
        change = ""
        if self.calibration_errors:
            before, after = self.calibration_errors
            change = f", by which the calibration error goes from {before:.3f} to {after:.3f}"
        return f"temperature {self.temperature:.3f} by {self.n_images:,} validation images{change}; {sets}"


class EvaluationRef(Ref):
    """`predictions.parquet` and `metrics.json` of one model on one split. The digest is that of these two files.

    `deduplicated` are the scores of the split's de-duplicated version, None if it is empty. `flip_tta` are those
    of test-time augmentation by mirror images: the mean of the model's probabilities of an image and of its mirror
    image, which `flip_tta.parquet` holds; early versions wrote `flip_averaged`.
    """

    split: str
    n_images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    absent_classes: tuple[str, ...] = ()  # those without an image, which macro-F1 leaves out
    deduplicated: Scores | None = None
    flip_tta: Scores | None = Field(default=None, validation_alias=AliasChoices("flip_tta", "flip_averaged"))
    flip_tta_deduplicated: Scores | None = Field(
        default=None, validation_alias=AliasChoices("flip_tta_deduplicated", "flip_averaged_deduplicated")
    )

    def summary(self) -> str:
        """Accuracy and macro-F1 with their intervals, in one line."""
        accuracy = f"accuracy {self.accuracy:.3f} [{self.accuracy_interval[0]:.3f}, {self.accuracy_interval[1]:.3f}]"
        macro_f1 = f"macro-F1 {self.macro_f1:.3f} [{self.macro_f1_interval[0]:.3f}, {self.macro_f1_interval[1]:.3f}]"
        clean = self.deduplicated
        others = "" if clean is None else f"; {clean.accuracy:.3f} on the {clean.n_images:,} de-duplicated ones"
        if clean is not None and clean.absent_classes != self.absent_classes:
            others += left_out(clean.absent_classes)
        flipped = self.flip_tta
        averaged = "" if flipped is None else f"; {flipped.accuracy:.3f} averaged with mirror images"
        images = f"{self.n_images:,} {self.split} images{left_out(self.absent_classes)}"
        return f"{accuracy}, {macro_f1} on {images}{others}{averaged}"


def left_out(absent_classes: tuple[str, ...]) -> str:
    """The note on classes without images behind a number of images, or a macro-F1; "" if all classes have some."""
    return f" (none of {', '.join(absent_classes)}, left out of macro-F1)" if absent_classes else ""


class RobustnessRef(Ref):
    """`robustness.json` and `robustness.parquet` of one model on one split: see `fer.evaluation.robustness`.

    `mean_accuracy` is the mean over all corruptions and severities, `accuracy` that on the same images as they are.
    """

    split: str
    n_images: int
    accuracy: float
    mean_accuracy: float
    mean_accuracy_interval: tuple[float, float]

    def summary(self) -> str:
        """Mean accuracy under corruption beside that on the same images as they are, in one line."""
        low, high = self.mean_accuracy_interval
        return (
            f"accuracy under corruption {self.mean_accuracy:.3f} [{low:.3f}, {high:.3f}] on {self.n_images:,} "
            f"{self.split} images, {self.accuracy:.3f} as they are"
        )


class RobustnessComparisonRef(Ref):
    """`robustness_comparison.json`: a candidate and the champion under corruption, on the same `n_images`.

    `difference` is candidate minus champion in mean accuracy under corruption. The mean corruption errors are relative
    to the champion's: below 1 is better than it; None where the champion makes no error to compare with. Without any
    figure where there are too few images.
    """

    champion_version: int
    n_images: int
    difference: float | None
    standard_error: float | None
    mean_corruption_error: float | None
    relative_mean_corruption_error: float | None

    def summary(self) -> str:
        """The difference, and the mean corruption error, in one line."""
        if self.difference is None:
            return f"only {self.n_images:,} images under corruption are new to version {self.champion_version}"
        error = (
            "" if self.mean_corruption_error is None else f", mean corruption error {self.mean_corruption_error:.3f}"
        )
        return (
            f"accuracy under corruption {self.difference:+.4f} against version {self.champion_version} on "
            f"{self.n_images:,} images{error}"
        )


class ExplanationsRef(Ref):
    """`explanations.json` of one model on one split, and a picture by class: see `fer.evaluation.explanations`."""

    layer: str | None  # whose maps say where the model looks; None if it has none
    n_classes_explained: int
    n_mistakes: int
    n_labels_in_doubt: int

    def summary(self) -> str:
        """What is shown and listed, in one line."""
        seen = "no layer to see where the model looks by"
        if self.layer is not None:
            seen = f"{self.n_classes_explained} classes by the maps of {self.layer}"
        return f"{seen}; of {self.n_mistakes:,} mistakes {self.n_labels_in_doubt:,} with a label in doubt"


class SlicesRef(Ref):
    """`slices.json` and `slices.parquet`: how good a model is on parts of the test (`fer.evaluation.slices`).

    `worse` are the slices that are shown to be worse than the rest, the worst first; `worst` is the first of all.
    """

    n_slices: int
    worse: tuple[str, ...]
    worst: str | None = None
    worst_accuracy: float | None = None
    worst_interval: tuple[float, float] | None = None
    not_evaluated: tuple[str, ...] = ()

    def summary(self) -> str:
        """How many slices there are, the worst, and what could not be looked at, in one line."""
        if self.worst is None or self.worst_accuracy is None or self.worst_interval is None:
            found = "no slice that is large enough"
        else:
            low, high = self.worst_interval
            found = (
                f"{self.n_slices:,} slices, {len(self.worse):,} worse than the rest; accuracy "
                f"{self.worst_accuracy:.3f} [{low:.3f}, {high:.3f}] on the worst, {self.worst}"
            )
        return "; not evaluated: ".join(filter(None, (found, "; ".join(self.not_evaluated))))


class Examination(Record):
    """What was found of a candidate beside its evaluation; None: not asked for, or no champion to compare with."""

    robustness: RobustnessRef | None = None
    robustness_comparison: RobustnessComparisonRef | None = None
    explanations: ExplanationsRef | None = None
    slices: SlicesRef | None = None

    def refs(self) -> tuple[Ref, ...]:
        """All that there are."""
        refs = (self.robustness, self.robustness_comparison, self.explanations, self.slices)
        return tuple(ref for ref in refs if ref is not None)


class Measure(Record):
    """What a check measured, and the bound that it is held against: a row of a table.

    What is `judged` must be at least, or at most, the `bound`: the value, or an end of the `interval` that it has at
    `confidence`. An end that no one asks for is None, and so is what is no finite number, which holds no bound.
    """

    quantity: str  # accuracy, difference in accuracy, …
    value: float | None
    interval: tuple[float | None, float | None] | None = None
    confidence: float | None = None
    judged: Literal["value", "lower end", "upper end"] = "value"
    demand: Literal["at least", "at most"]
    bound: float
    unit: str = "share"
    n_images: int | None = None  # that it was measured on
    setting: str  # of the recipe, which sets the bound; empty: none does

    @field_validator("value", mode="before")
    @classmethod
    def _value_is_finite(cls, value: float | None) -> float | None:
        return _finite(value)

    @field_validator("interval", mode="before")
    @classmethod
    def _ends_are_finite(
        cls, interval: tuple[float | None, float | None] | None
    ) -> tuple[float | None, float | None] | None:
        return None if interval is None else (_finite(interval[0]), _finite(interval[1]))

    @property
    def holds(self) -> bool:
        """Whether the bound is kept; not if nothing is known of what is judged."""
        low, high = self.interval or (None, None)
        judged = {"value": self.value, "lower end": low, "upper end": high}[self.judged]
        if judged is None:
            return False
        return judged >= self.bound if self.demand == "at least" else judged <= self.bound


def _finite(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else number


class Check(Record):
    """One line of a verdict: what is demanded and what was found, in words and in figures, and why it is demanded.

    Verdicts from before there were figures have none, nor reasons; a check that measures nothing has no `measure`.
    """

    name: str
    passed: bool
    detail: str
    reason: str = ""
    measure: Measure | None = None
    warns: bool = False  # it passed, but its bound is not kept

    @property
    def mark(self) -> str:
        """✓, or ! of a warning, or ✗."""
        return "✗" if not self.passed else "!" if self.warns else "✓"


class ExportsRef(Ref):
    """A model in the forms of `fer.exports`, with `serving.json` and `preprocess.py`; `checks` are the gate's."""

    files: tuple[str, ...]  # those of models
    checks: tuple[Check, ...]

    def summary(self) -> str:
        """The files that there are, in one line."""
        return ", ".join(self.files) or "none: the model can't be converted"


class Power(Record):
    """What a comparison with the champion can tell on its images: see `fer.evaluation.gates.power`."""

    n_images: int
    n_discordant: int  # images on which exactly one of the two is right
    margin: float
    confidence: float
    loss: float  # of accuracy and macro-F1: what is truly worse, for `worse_passes`
    equal_passes: float  # how often a candidate passes that is as good
    worse_passes: float
    refused_from: float  # the smallest true loss that is refused in 95 % of cases
    images_needed: int  # to pass 95 % of equals and 1 % of those worse by `loss`, by a margin for it

    def sentence(self) -> str:
        """All of it in words; how far it is approximate, see `fer.evaluation.gates.power`."""
        return (
            f"{self.short()}; with another margin {self.images_needed:,} images could pass 95% of equals and 1% of "
            f"those {100 * self.loss:g} points worse"
        )

    def short(self) -> str:
        """A line for the terminal."""
        return (
            f"exactly one of the two is right on {self.n_discordant / self.n_images:.1%} of {self.n_images:,} images: "
            f"the margin of {self.margin:g} passes {self.equal_passes:.0%} of equals and {self.worse_passes:.0%} of "
            f"models {100 * self.loss:g} points worse, and refuses 95% of those {100 * self.refused_from:.1f} points "
            "worse"
        )


class Size(Record):
    """How large a model is. `file_bytes`: of `model.keras`."""

    n_parameters: int
    file_bytes: int

    def words(self) -> str:
        """Both figures."""
        return f"{self.n_parameters:,} parameters, {self.file_bytes / 1e6:,.2f} MB"


class VerdictRef(Ref):
    """`verdict.json`: whether the candidate passed its gates, whether it replaces the champion, and why.

    `decision` says why a candidate that passed replaces the champion or not, and `decided_by` by which figures; both
    empty where there is none to replace.
    """

    passed: bool
    checks: tuple[Check, ...]
    champion_version: int | None  # what the candidate was compared with; None without a champion
    anchor_version: int | None = None  # the best release so far, where that is another one
    power: Power | None = None
    size: Size | None = None  # of the candidate; verdicts from before it was measured have none
    replaces: bool = True
    for_a_reason: bool = False  # it replaces the champion without being shown to be better
    decision: str = ""
    decided_by: tuple[Check, ...] = ()  # a check that failed here keeps the champion, but refuses no candidate
    estimate_of: str = ""  # what the figures estimate, where that is not how good this very model is

    @property
    def promotes(self) -> bool:
        """Whether the candidate is to become champion."""
        return self.passed and self.replaces

    def summary(self) -> str:
        """Whether the candidate passed, and why not, in one line."""
        if not self.passed:
            return f"failed: {self.reason()}"
        return "; ".join(filter(None, ("passed", self.decision)))

    def reason(self) -> str:
        """The details of the failed checks; empty if the candidate passed."""
        return "; ".join(check.detail for check in self.checks if not check.passed)

    def sentence(self) -> str:
        """Whether the candidate passed the gates, and why."""
        if not self.passed:
            return f"Refused by the gates: {self.reason()}"
        estimate = f"an estimate of {self.estimate_of}" if self.estimate_of else ""
        details = "; ".join(check.detail for check in self.checks)
        return f"Passed the gates: {'; '.join(filter(None, (details, self.decision, estimate)))}"


class Champion(Record):
    """A released model that a candidate is compared with. `model` names the folder of all files of its release."""

    version: int
    source: str  # of the dataset that it was made from, as in `DatasetRef.source`
    model: ModelRef
    same_preprocessing: bool  # whether today's code prepares images as it did for this model
    calibration: CalibrationRef | None = None  # releases from before there were any have none
    evaluation: EvaluationRef | None = None  # on the candidate's test images
    robustness: RobustnessRef | None = None  # likewise
    not_rebuilt: str = ""  # with cross-fitting: why its recipe can't be judged on the candidate's folds, if so


class Opponents(Record):
    """Whom a candidate meets.

    The anchor is the best release so far by the lower bound of its accuracy, None if that is the champion: "no worse
    than the champion", week after week, could lose a margin each time. `changes` are reasons to replace the champion
    by a model that is not shown to be better.
    """

    champion: Champion | None = None
    anchor: Champion | None = None
    changes: tuple[str, ...] = ()
    waivers_used: tuple[str, ...] = ()  # the promotions for a reason within a year


class Judged(Record):
    """A candidate, and what it is judged by: the test images of `split`, which are of the dataset `source`."""

    source: str  # as in `DatasetRef.source`
    split: SplitRef
    model: ModelRef
    evaluation: EvaluationRef
    robustness: RobustnessComparisonRef | None = None  # beside the champion's, where both were measured
    slices: SlicesRef | None = None
    exports: ExportsRef | None = None


class ChampionState(Record):
    """The champion alias as it stands, and the models that a candidate is compared with."""

    alias_version: int | None = None  # None: there is no champion
    alias_state: str | None = None
    opponents: Opponents = Opponents()
