"""What the stages of `fer.evaluation` make, and what a candidate is compared with."""

from pydantic import BaseModel, ConfigDict

from fer.engine.refs import Ref
from fer.training.refs import ModelRef


class Scores(BaseModel):
    """Accuracy and macro-F1 of some images, with their intervals at 95 %.

    `absent_classes` have no image among them, and are left out of macro-F1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    absent_classes: tuple[str, ...] = ()


class EvaluationRef(Ref):
    """`predictions.parquet` and `metrics.json` of one model on one split. The digest is that of these two files.

    `deduplicated` are the scores of the split's de-duplicated version, None if it is empty. `flip_averaged` are those
    of the mean of what the model says of each image and of its mirror image, which `flip_averaged.parquet` holds.
    """

    split: str
    n_images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    absent_classes: tuple[str, ...] = ()  # those without an image, which macro-F1 leaves out
    deduplicated: Scores | None = None
    flip_averaged: Scores | None = None
    flip_averaged_deduplicated: Scores | None = None

    def summary(self) -> str:
        accuracy = f"accuracy {self.accuracy:.3f} [{self.accuracy_interval[0]:.3f}, {self.accuracy_interval[1]:.3f}]"
        macro_f1 = f"macro-F1 {self.macro_f1:.3f} [{self.macro_f1_interval[0]:.3f}, {self.macro_f1_interval[1]:.3f}]"
        clean = self.deduplicated
        others = "" if clean is None else f"; {clean.accuracy:.3f} on the {clean.n_images:,} de-duplicated ones"
        if clean is not None and clean.absent_classes != self.absent_classes:
            others += left_out(clean.absent_classes)
        flipped = self.flip_averaged
        averaged = "" if flipped is None else f"; {flipped.accuracy:.3f} averaged with mirror images"
        images = f"{self.n_images:,} {self.split} images{left_out(self.absent_classes)}"
        return f"{accuracy}, {macro_f1} on {images}{others}{averaged}"


def left_out(absent_classes: tuple[str, ...]) -> str:
    """What is to be said behind a number of images, or a macro-F1, of the classes that have none; "" if all have."""
    return f" (none of {', '.join(absent_classes)}, left out of macro-F1)" if absent_classes else ""


class Check(BaseModel):
    """One line of a verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    passed: bool
    detail: str


class Power(BaseModel):
    """What a comparison with the champion can tell on its images: see `fer.evaluation.power`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        """All of it in words, as far as it is approximate: see `fer.evaluation.power`."""
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


class VerdictRef(Ref):
    """`verdict.json`: whether the candidate may become champion, and why; `power` where it was compared with one."""

    passed: bool
    checks: tuple[Check, ...]
    champion_version: int | None  # what the candidate was compared with; None without a champion
    power: Power | None = None

    def summary(self) -> str:
        return "passed" if self.passed else f"failed: {self.reason()}"

    def reason(self) -> str:
        """What stands in the candidate's way; empty if it passed."""
        return "; ".join(check.detail for check in self.checks if not check.passed)

    def sentence(self) -> str:
        """What the gates made of the candidate, and why."""
        if not self.passed:
            return f"Refused by the gates: {self.reason()}"
        return f"Passed the gates: {'; '.join(check.detail for check in self.checks)}"


class Champion(BaseModel):
    """The released model that a candidate is compared with. `model` names the folder of all files of its release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    source: str  # of the dataset that it was made from, as in `DatasetRef.source`
    model: ModelRef
    same_preprocessing: bool  # whether today's code prepares images as it did for this model
    evaluation: EvaluationRef | None = None  # on the candidate's test images


class ChampionState(BaseModel):
    """The champion alias as it stands, and the model that a candidate is compared with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alias_version: int | None = None  # None: there is no champion
    alias_state: str | None = None
    champion: Champion | None = None
