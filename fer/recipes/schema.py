"""A recipe: every choice of a retraining run, typed and frozen, one section a stage."""

import hashlib
from collections.abc import Sequence
from typing import Self

from pydantic import Field

from fer.curation import baseline
from fer.curation.curate import CurateConfig
from fer.curation.drift import DriftConfig
from fer.curation.inspect import InspectConfig
from fer.curation.split import SplitConfig
from fer.curation.validate import ValidateConfig
from fer.engine.records import Record
from fer.evaluation.calibration.config import CalibrationConfig
from fer.evaluation.config import EvaluationConfig, GateConfig
from fer.evaluation.explanations.config import ExplanationsConfig
from fer.evaluation.robustness.config import RobustnessConfig
from fer.evaluation.slices.config import SlicesConfig
from fer.exports.config import ExportConfig
from fer.ingest import sources
from fer.ingest.demo.archive import DemoConfig
from fer.ingest.index import IndexConfig
from fer.registry import names
from fer.shards.balance import BalanceConfig
from fer.shards.preprocessing import PreprocessConfig
from fer.training import hardware
from fer.training.config import TrainConfig


class Recipe(Record):
    """What to do with a source, from its files to a release. Hand a stage its own section, never the whole."""

    name: str
    model_name: names.Name = Field(description="the name in the model registry that versions are filed under")
    made_for: tuple[str, ...] = Field(
        default=(),
        description="the sources, as `baseline.families` has them, whose models bear `model_name`; none: of any source",
    )
    demo: DemoConfig = Field(default=DemoConfig(), description="the synthetic source `demo`")
    index: IndexConfig
    contracts: ValidateConfig = ValidateConfig()
    inspect: InspectConfig = InspectConfig()
    curate: CurateConfig = CurateConfig()
    split: SplitConfig = SplitConfig()
    drift: DriftConfig = DriftConfig()
    preprocess: PreprocessConfig
    balance: BalanceConfig
    train: TrainConfig
    calibration: CalibrationConfig = CalibrationConfig()
    robustness: RobustnessConfig = RobustnessConfig()
    explanations: ExplanationsConfig = ExplanationsConfig()
    slices: SlicesConfig = SlicesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    export: ExportConfig = ExportConfig()
    gate: GateConfig
    search: dict[str, str] = Field(
        default={}, description="what `fer sweep` tries: setting -> LOW..HIGH, LOW..HIGH log or A|B|C"
    )

    def resolved(self) -> Self:
        """This recipe with what `auto` stands for on this machine in its place; see `fer.training.hardware.resolve`."""
        return self.model_copy(update={"train": hardware.resolve(self.train)})


def model_name(recipe: Recipe, given_sources: Sequence[str], given: str | None = None) -> str:
    """The name in the registry of a recipe's models of these sources; what the user has `given` goes first.

    Models of other sources than the recipe is made for get a name of the sources and the recipe: under the recipe's own
    name they would be compared with models of another dataset.
    Raises ConfigError, SourceError for what is no source.
    """
    if given is not None:
        return given
    if not recipe.made_for or set(baseline.families(given_sources)) <= set(recipe.made_for):
        return recipe.model_name
    slugs = sorted({sources.slug(sources.parse(source)) for source in given_sources})
    head, tail = "-".join(slugs), f"-{recipe.model_name}"
    if len(head) + len(tail) > names.LONGEST_NAME:
        exact = f"-{hashlib.sha256(head.encode()).hexdigest()[:8]}"
        head = head[: names.LONGEST_NAME - len(exact) - len(tail)].rstrip("-") + exact
    return head + tail
