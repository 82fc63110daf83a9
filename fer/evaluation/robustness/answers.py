"""What a model answered under each condition, image by image: `robustness.parquet`.

Its columns are `image_id`, `class_index` (the truth), and one a condition with the predicted class index: `clean`,
`KIND-SEVERITY` of each corruption, and the name of each nuisance. Rows are sorted by image_id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer import errors
from fer.engine import disk
from fer.evaluation.robustness.config import RobustnessConfig
from fer.images import corruptions

FILE = "robustness.parquet"
CLEAN = "clean"
_KEYS = ["image_id", "class_index"]


class Condition(NamedTuple):
    """What is done to images before a model sees them: nothing, a corruption of a severity, or a nuisance."""

    name: str
    kind: corruptions.Kind | None = None
    severity: int = 0
    nuisance: corruptions.Nuisance | None = None

    def change(self, pixels: np.ndarray, image_ids: Sequence[str], seed: int) -> np.ndarray:
        """(N, H, W) uint8 `pixels` under this condition."""
        if self.kind is not None:
            return corruptions.corrupt(pixels, image_ids, self.kind, self.severity, seed=seed)
        return pixels if self.nuisance is None else corruptions.perturb(pixels, self.nuisance)


def conditions(config: RobustnessConfig) -> tuple[Condition, ...]:
    """All that a model is tried under: `clean` first, then the corruptions, then the nuisances."""
    return (
        Condition(CLEAN),
        *(
            Condition(f"{kind}-{severity}", kind=kind, severity=severity)
            for kind in config.corruptions
            for severity in config.severities
        ),
        *(Condition(nuisance, nuisance=nuisance) for nuisance in corruptions.NUISANCES),
    )


@dataclass(frozen=True)
class Answers:
    """`predicted`: condition -> (N,) int32, in the order of `image_ids`; `class_indexes` (N,) int32 is the truth."""

    image_ids: list[str]
    class_indexes: np.ndarray
    predicted: dict[str, np.ndarray]

    def right(self, condition: str) -> np.ndarray:
        """(N,) bool: which images the model has right under a condition."""
        return self.predicted[condition] == self.class_indexes

    def rows(self, image_ids: Sequence[str]) -> "Answers":
        """Those of these images, in their order. Raises KeyError for one that is not among them."""
        places = {image_id: row for row, image_id in enumerate(self.image_ids)}
        chosen = np.array([places[image_id] for image_id in image_ids], np.int64)
        predicted = {name: values[chosen] for name, values in self.predicted.items()}
        return Answers(list(image_ids), self.class_indexes[chosen], predicted)


def write(path: Path, answers: Answers) -> None:
    """Write the answers, sorted by image_id."""
    answers = answers.rows(sorted(answers.image_ids))
    columns = {name: pa.array(values, pa.int32()) for name, values in answers.predicted.items()}
    keys = [pa.array(answers.image_ids, pa.string()), pa.array(answers.class_indexes, pa.int32())]
    with disk.replacing(path) as staging:
        pq.write_table(pa.table(dict(zip(_KEYS, keys, strict=True)) | columns), staging, compression="zstd")


def read(path: Path) -> Answers:
    """Read what `write` wrote. Raises IntegrityError."""
    try:
        table = pq.read_table(path)
        predicted = {name: table[name].to_numpy() for name in table.column_names if name not in _KEYS}
        return Answers(table["image_id"].to_pylist(), table["class_index"].to_numpy(), predicted)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise errors.IntegrityError(
            "A model's answers under corruption must be a whole Parquet file.",
            received=f"'{error}' on reading {path}",
            todo=f"remove {path.parent} and run the same command again; it is made anew",
        ) from error
