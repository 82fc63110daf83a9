"""What a recipe demands of a candidate: its gates, and when one that passed them replaces the champion."""

from pydantic import Field, field_validator

from fer.engine.records import Record


class EvaluationConfig(Record):
    """What a model is judged by."""

    folds: int = Field(
        default=0,
        ge=0,
        le=20,
        description="cross-fitting, for data too small to keep a test split: each image is tested once, by a model of "
        "this recipe that learned the other folds; the model that is released learns all but validation. 0: no folds, "
        "the test split",
    )

    @field_validator("folds")
    @classmethod
    def _several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("must be 2 or more, or 0 for none")
        return value


class GateConfig(Record):
    """What a candidate must reach to pass, and to replace a champion."""

    min_accuracy: float = Field(default=0.0, ge=0, le=1, description="on the test split")
    min_macro_f1: float = Field(default=0.0, ge=0, le=1, description="on the test split")
    min_recall: float = Field(
        default=0.0, ge=0, le=1, description="of each class, which the lower end of its recall's interval must reach"
    )
    max_slice_gap: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="how much worse than on the rest a model may be shown to be on a slice, in accuracy; 1: any, since "
        "blurred and dark images are harder for whoever looks at them, and how much so is the data's",
    )
    max_calibration_error: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="expected calibration error that the lower end of its interval must not be above; 1: any, since "
        "the temperature that a model gets can't mend all, and its answers may be all that is used",
    )
    margin: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="how much worse than the champion, and than the best release so far, is still as good, in accuracy "
        "and F1",
    )
    max_churn: float = Field(
        default=0.2, ge=0, le=1, description="share of the test that the champion has right and the candidate wrong"
    )
    max_size_ratio: float = Field(
        default=10.0,
        ge=0,
        description="how many times as large as the champion, in parameters and in bytes of its file; wide, as a "
        "better model may be larger; 0: no bound",
    )
    max_latency_ratio: float = Field(
        default=10.0,
        ge=0,
        description="how many times as long as the champion it may take for an image and for 32: by the lower end of "
        "the ratio's interval, measured side by side at the release; wide, as a better model may be slower; 0: none",
    )
    max_parameters: int = Field(
        default=0, ge=0, description="of the model; 0: no bound, as what serves it is not known"
    )
    max_megabytes: float = Field(default=0.0, ge=0, description="of the model's file, 10⁶ bytes each; 0: no bound")
    robustness_margin: float = Field(
        default=0.12,
        ge=0,
        le=1,
        description="how much worse than the champion in mean accuracy under corruption is still as good: wide, as two "
        "seeds of one recipe lie 4 points apart; 1: any",
    )
    min_images: int = Field(
        default=100,
        ge=1,
        description="test images to judge a model by; where there is a champion, of those that it wasn't trained on. "
        "With fewer no run trains",
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="that the candidate is no worse than the margin")
    superiority: float = Field(
        default=0.975,
        ge=0,
        lt=1,
        description="confidence that the candidate is better than the champion in accuracy, so that it replaces it; "
        "0: whatever passes does",
    )
    waivers: int = Field(
        default=1,
        ge=0,
        le=2,
        description="times a year that a candidate replaces the champion for a reason without being shown to be better",
    )
    waiver_margin: float = Field(
        default=0.02, ge=0, le=1, description="how much worse such a candidate may be, in accuracy and F1"
    )
    waiver_confidence: float = Field(default=0.99, gt=0.5, lt=1, description="that it is no worse than that")
    max_age_days: int = Field(default=180, ge=1, description="the champion's age from which it is a reason")
    max_reads: int = Field(
        default=100,
        ge=1,
        description="verdicts that may read a test image, on average, before each further one warns that fresh ones "
        "are due (split.rotation); none is refused for it",
    )
    samples: int = Field(default=2_000, ge=100, le=100_000, description="of the bootstrap")
    seed: int = Field(default=0, ge=0, description="of the bootstrap")
