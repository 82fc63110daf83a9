"""What the stages of `fer.training` make, and what they start from."""

from fer.engine.refs import Ref


class WeightsRef(Ref):
    """A file of weights that a training starts from."""

    file: str
    identity: str
    origin: str  # what they were trained on, and who says so

    def summary(self) -> str:
        """The file, its identity and its origin, in one line."""
        return f"{self.file}, {self.identity}; {self.origin}"


class SoftLabelsRef(Ref):
    """`soft_labels.parquet`: the shares of votes of the train images that have some."""

    classes: tuple[str, ...]
    n_images: int

    def summary(self) -> str:
        """The number of images with votes, in one line."""
        return f"votes for {self.n_images:,} train images"


class ModelRef(Ref):
    """`model.keras`, `preprocessing.json` and `history.json`. The digest is that of the weights."""

    model: str
    classes: tuple[str, ...]
    n_parameters: int
    epochs_run: int
    best_epoch: int
    validation_accuracy: float
    train_seconds: float
    started_from: str | None = None  # the origin of its starting weights, as in WeightsRef; None: random ones

    def summary(self) -> str:
        """The model, its best epoch and its validation accuracy, in one line."""
        best = f"best epoch {self.best_epoch} of {self.epochs_run}"
        start = "" if self.started_from is None else f"; started from {self.started_from}"
        accuracy = f"validation {self.validation_accuracy:.3f}"
        return f"{self.model}, {self.n_parameters:,} parameters, {best}, {accuracy}{start}"


class SeedsRef(Ref):
    """`seeds.json`: models of one recipe by several seeds, and the one chosen by validation. `accuracies` are theirs on
    the validation split, in the order of `seeds`."""

    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    chosen: int  # a seed
    minimum: float
    mean: float
    sd: float
    maximum: float

    def summary(self) -> str:
        """The seed that was chosen and how far the seeds lie apart, in one line."""
        each = ", ".join(f"{seed}: {value:.3f}" for seed, value in zip(self.seeds, self.accuracies, strict=True))
        return (
            f"seed {self.chosen} chosen of {len(self.seeds)} by validation accuracy: mean {self.mean:.3f}, "
            f"sd {self.sd:.3f}, {self.minimum:.3f} to {self.maximum:.3f} ({each})"
        )
