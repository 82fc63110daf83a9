"""Several models on the same images: a row per model, with its differences from the first one, image by image."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fer.curation.refs import CurationRef, InspectionRef, ValidationRef
from fer.engine.records import Record
from fer.engine.workspace import Workspace
from fer.evaluation import predictions
from fer.evaluation.comparing import costs, differences
from fer.evaluation.comparing.costs import Costs
from fer.evaluation.comparing.differences import Differences
from fer.evaluation.refs import EvaluationRef
from fer.evaluation.slices import columns
from fer.evaluation.slices.config import SlicesConfig
from fer.training.refs import ModelRef


class Row(Record):
    """One candidate; `differences` are its answers beside the first one's (A) on the images, None for the first."""

    candidate: str
    model: ModelRef
    evaluation: EvaluationRef
    costs: Costs
    differences: Differences | None = None


class Known(NamedTuple):
    """What is known of the images that candidates are tested on, by which they are divided into slices."""

    validation: ValidationRef
    inspection: InspectionRef
    curation: CurationRef
    config: SlicesConfig

    def slices(self, image_ids: Sequence[str], workspace: Workspace) -> dict[str, np.ndarray]:
        """Name -> (N,) bool; none where the recipe looks at no slices. Raises as `slices.columns.read`."""
        if not self.config.enabled:
            return {}
        validation, inspection = workspace.folder(self.validation), workspace.folder(self.inspection)
        found, _ = columns.read(image_ids, validation, inspection, workspace.folder(self.curation), self.config)
        return columns.members(found, self.config.min_slice_size)


def compare(
    candidates: Mapping[str, tuple[ModelRef, EvaluationRef]],
    workspace: Workspace,
    known: Known | None = None,
    *,
    time_them: bool = True,
) -> tuple[Row, ...]:
    """The candidates by name, in their order; `time_them`: side by side in a process of its own.

    Raises ContractViolation if they are not of the same images.
    """
    folders = [workspace.folder(model) for model, _ in candidates.values()]
    timed = costs.latencies(folders) if time_them else [None] * len(folders)
    rows: list[Row] = []
    first: predictions.Predictions | None = None
    for (name, (model, evaluation)), folder, latency in zip(candidates.items(), folders, timed, strict=True):
        own = predictions.read(workspace.folder(evaluation) / predictions.FILE)
        beside_first = None
        if first is None:
            first = own
        else:
            predictions.paired(own, first)
            both = differences.shared(first, own)
            slices = {} if known is None else known.slices(both.image_ids, workspace)
            beside_first = differences.between(both, slices)
        rows.append(
            Row(
                candidate=name,
                model=model,
                evaluation=evaluation,
                costs=costs.of(model, folder, latency),
                differences=beside_first,
            )
        )
    return tuple(rows)


def best_of(rows: Sequence[Row]) -> Row:
    """The candidate of the highest validation accuracy: the test split does not choose."""
    return max(rows, key=lambda row: row.model.validation_accuracy)
