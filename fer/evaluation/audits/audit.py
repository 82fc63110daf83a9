"""The document of an audit, `audit.json`: how good a model is on some data, and how far that can be believed."""

from typing import Literal

from pydantic import Field

from fer.engine.records import Record
from fer.evaluation.audits.twins import Twins
from fer.evaluation.comparing.costs import Costs
from fer.evaluation.metrics import Metrics
from fer.evaluation.robustness.figures import Robustness
from fer.evaluation.slices.figures import Slices
from fer.models.foreign_file import InputFormat


class AuditedModel(Record):
    """What was audited: a release, or a file by its content. `form` is what its user said of a file."""

    name: str = Field(description="NAME@VERSION, or the file's name")
    kind: Literal["release", "file"]
    digest: str = Field(description="of a release's weights, of a file its SHA-256")
    classes: tuple[str, ...]
    height: int
    width: int
    form: InputFormat | None = None


class AuditedData(Record):
    """What it was audited on. `split_origin` is `official` where the source names its own test split."""

    sources: tuple[str, ...]
    digest: str = Field(description="of the manifest")
    split_origin: str
    split: str
    n_images: int
    n_deduplicated: int


class Audit(Record):
    """An audit. Intervals are at 95 %; `metrics` has the official figures and, as `deduplicated`, those on the split
    without images that have a duplicate closer to training or repeat another one.
    """

    format_version: Literal[1] = 1
    model: AuditedModel
    data: AuditedData
    metrics: Metrics
    twins: Twins | None = Field(description="None for a release that does not say what it was trained on")
    slices: Slices | None = None
    robustness: Robustness | None = None
    costs: Costs

    def sentence(self) -> str:
        """The figures in one line."""
        low, high = self.metrics.accuracy_interval
        text = f"{self.model.name}: accuracy {self.metrics.accuracy:.3f} [{low:.3f}, {high:.3f}] on "
        text += f"{self.data.n_images:,} {self.data.split} images"
        if (clean := self.metrics.deduplicated) is not None:
            low, high = clean.accuracy_interval
            text += f"; {clean.accuracy:.3f} [{low:.3f}, {high:.3f}] on the {clean.n_images:,} de-duplicated ones"
        if self.twins is not None and self.twins.worth is not None:
            low, high = self.twins.worth.interval
            text += (
                f"; twins are worth {100 * self.twins.worth.value:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
            )
        return text
