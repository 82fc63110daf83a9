"""How a model is trained: every choice of the `train` stage."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fer import errors
from fer.engine.processes import process_pool
from fer.engine.records import Record
from fer.images import augment
from fer.models import zoo

IMAGENET, REGISTRY = "imagenet", "registry:"  # weights that no file of the user's holds


class Phase(Record):
    """A part of a training with a learning rate and an optimiser of its own, which starts from the best epoch so far.

    Transfer learning is two or more: first the head, then more and more of the backbone.
    """

    epochs: int = Field(ge=1, le=1_000, description="at most")
    train_from: str = Field(
        default="start",
        description="the first layer that is trained, and all after it; `start`: every layer, `head`: those after the "
        "backbone",
    )
    batch_norm: Literal["trained", "frozen"] = Field(
        default="trained", description="the backbone's batch norms; frozen: they keep their statistics, scale and shift"
    )
    learning_rate: float | None = Field(default=None, gt=0, le=1, description="the highest; empty: the training's own")
    warmup_epochs: float | None = Field(default=None, ge=0, le=1_000, description="empty: the training's own")


class TrainConfig(Record):
    """How a model is trained."""

    model: zoo.AnyModelConfig = Field(default_factory=zoo.default, description="which model, and how large")
    weights: str | None = Field(
        default=None,
        description="what it starts from: `imagenet`, a file of weights or `registry:NAME@ALIAS`; empty: random",
    )
    weights_origin: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="of a file of weights, which must have it: what they were trained on, as you declare it. It says "
        "that they saw no image of validation or test, and is recorded, not verified",
    )
    phases: tuple[Phase, ...] = Field(
        default=(), description="one after another, in place of `epochs`; empty: one in which every layer is trained"
    )
    epochs: int = Field(
        default=30,
        ge=1,
        le=1_000,
        description="at most; each sees the train images once, except those that fill no batch",
    )
    patience: int = Field(
        default=8, ge=1, description="epochs without a better validation accuracy before a phase ends"
    )
    batch_size: int = Field(default=64, ge=1, le=4_096, description="images per step")
    micro_batch: int | None = Field(
        default=None,
        ge=1,
        le=4_096,
        description="images that go through the model at once, whose gradients are summed up to the step's; empty: "
        "the batch, or what of it the memory has room for",
    )
    learning_rate: float = Field(default=2e-3, gt=0, le=1, description="the highest; AdamW")
    schedule: Literal["cosine", "constant"] = Field(
        default="cosine", description="how the learning rate goes on after the warm-up: down to 0, or not at all"
    )
    warmup_epochs: float = Field(default=1.0, ge=0, le=1_000, description="over which the learning rate rises from 0")
    weight_decay: float = Field(default=1e-2, ge=0, le=1, description="of kernels, decoupled from the gradient")
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share that an exponential moving average of the weights keeps at each step; it is what is "
        "validated and saved; 0: no average",
    )
    loss: Literal["cross-entropy", "focal", "logit-adjusted"] = Field(
        default="cross-entropy",
        description="focal: images that are right already count less; logit-adjusted: rare classes get a margin",
    )
    focal_gamma: float = Field(default=2.0, ge=0, le=10, description="how much less the focal loss counts them")
    logit_tau: float = Field(default=1.0, ge=0, le=10, description="how much of the classes' frequency is adjusted for")
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="share of the label spread over all classes")
    soft_labels: bool = Field(default=False, description="learn the shares of the votes, where a dataset has them")
    mixup: float = Field(
        default=0.0, ge=0, le=10, description="alpha of the beta distribution that images are blended by; 0: not at all"
    )
    cutmix: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="alpha of the one that boxes are exchanged by; beside mixup: half the steps",
    )
    augmentation: augment.AugmentConfig = Field(
        default=augment.AugmentConfig(rotation_deg=12, shift=0.08, shear_deg=0, zoom=0.12),
        description="drawn anew for each image in each epoch; all 0 and no flip: none",
    )
    augment_on: Literal["host", "accelerator"] = Field(
        default="host",
        description="what augments: the CPU beside the steps, or the device that trains; alike except for rounding, "
        "and for mixup and cutmix, which blend images before they are augmented there and after it on the host",
    )
    precision: Literal["auto", "float32", "mixed-bfloat16", "mixed-float16"] = Field(
        default="float32",
        description="of the layers' arithmetic in training; weights, validation and the saved model stay float32; "
        "auto: mixed-bfloat16 where the machine has units for it, or else float32",
    )
    threads: int = Field(
        default_factory=process_pool.usable_cores,
        ge=1,
        le=1_024,
        description="that compute on the CPU; by default one for each core that the run may use. The bits of the model "
        "depend on their number, and on any number of cores are the same for one",
    )
    xla: bool = Field(default=False, description="compile the step by XLA: for GPUs; slower on a CPU; JAX always does")
    devices: Literal["one", "all", "workers"] = Field(
        default="one", description="one, all GPUs of this machine, or the workers that TF_CONFIG names"
    )
    resident_mb: int = Field(
        default=2_048,
        ge=0,
        description="MiB of pixels up to which a split is held in memory; a larger one is streamed, in another order",
    )
    seed: int = Field(default=0, ge=0, description="of weights, order, dropout and augmentation")
    seeds: int = Field(
        default=1,
        ge=1,
        le=100,
        description="models that are trained, one after the other, by `seed` and the numbers after it; the best on "
        "validation is taken, and their spread is recorded. A trial of a sweep trains one",
    )
    timeout_s: float = Field(
        default=3_600,
        gt=0,
        exclude=True,  # from what is written, and so from the key: it decides whether there is a model, not which
        description="training that takes longer is stopped, and fails; the same command goes on with it",
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.micro_batch is not None and self.batch_size % self.micro_batch:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of micro_batch {self.micro_batch}")
        fewest, micro_batch = self.model.min_micro_batch, self.micro_batch or self.batch_size
        if micro_batch < fewest:
            raise ValueError(f"{self.model.name} must see {fewest} images at once or more, not {micro_batch}")
        if self.devices != "one":
            self._check_strategy()
        check_origin(self.weights, self.weights_origin)
        return self

    def _check_strategy(self) -> None:
        """Each replica takes its part of a batch at once. A loss scale would have to be one for all of them: a replica
        whose gradients overflow leaves out a step that the others make."""
        if self.micro_batch is not None:
            raise ValueError(f"micro_batch must be empty with devices {self.devices}, not {self.micro_batch}")
        if self.precision == "mixed-float16":
            raise ValueError(f"precision must be auto, float32 or mixed-bfloat16 with devices {self.devices}")

    def by_seed(self) -> dict[int, Self]:
        """The trainings that this is, each of one seed: seed -> its config."""
        return {
            seed: self.model_copy(update={"seed": seed, "seeds": 1})
            for seed in range(self.seed, self.seed + self.seeds)
        }

    @property
    def n_epochs(self) -> int:
        """The epochs of all phases."""
        return sum(phase.epochs for phase in self.resolved_phases)

    @property
    def resolved_phases(self) -> tuple[Phase, ...]:
        """The phases, one at least, with the training's own values where a phase leaves them empty."""
        phases = self.phases or (Phase(epochs=self.epochs),)
        own = {"learning_rate": self.learning_rate, "warmup_epochs": self.warmup_epochs}
        return tuple(
            phase.model_copy(update={name: value for name, value in own.items() if getattr(phase, name) is None})
            for phase in phases
        )


def check_origin(weights: str | None, origin: str | None) -> None:
    """Raise ConfigError for a file of weights whose training data nobody declares.

    What keras.applications publishes was trained on ImageNet alone, and a release lists the images that it was trained
    on.
    """
    is_known = weights is None or weights == IMAGENET or weights.startswith(REGISTRY)
    if not is_known and not (origin or "").strip():
        raise errors.ConfigError(
            "Weights from a file must come with their origin: they may have seen images that are held out here.",
            received=f"train.weights={weights} without train.weights_origin",
            todo="if you know that they saw no image of validation or test, declare what they were trained on, as in "
            "--set 'train.weights_origin=ImageNet'; it is recorded as declared by you, and not verified",
        )
