"""What the stages of `fer.shards` make."""

from pydantic import Field

from fer.engine.refs import Counts, Ref


class ShardsRef(Ref):
    """`{split}-*.parquet` of uint8 pixels, and `preprocessing.json`, the record of how they were made.

    `class_weights`: class -> the weight of its images in the training loss, whose mean over the images is 1; empty: all
    weigh 1.
    """

    classes: tuple[str, ...]
    height: int
    width: int
    counts: dict[str, Counts]  # split -> class -> images
    mean: float  # of the train split's pixels, 0-255
    std: float
    class_weights: dict[str, float] = Field(default_factory=dict)

    def summary(self) -> str:
        """Images per split, and their size."""
        parts = [f"{name} {sum(by_class.values()):,}" for name, by_class in self.counts.items()]
        weighed = ", classes weighted" if self.class_weights else ""
        return f"{', '.join(parts)} at {self.height}×{self.width}{weighed}"
