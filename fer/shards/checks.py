"""Shards against their contract, by the summaries of what is on the disk once they are written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_contracts import shards as contract
from fer.engine import contracts
from fer.engine.refs import Counts
from fer.shards import summary
from fer.shards.summary import ShardSummary

_SHARD = pa.schema(
    [("shard", pa.string()), ("split", pa.string()), ("has_classes", pa.bool_())]
    + [(name, pa.int64()) for name in ("height", "width", "n_images", "n_bytes", "n_repeated", "n_flat")]
    + [(name, pa.int64()) for name in ("lowest_class", "highest_class")]
)
_COPIES = pa.schema(
    [("shard", pa.string())] + [(name, pa.int64()) for name in ("n_copies", "n_without_source", "n_of_other_class")]
)


def check(
    out: Path,
    dataset: str,
    summaries: Sequence[ShardSummary],
    promised: Mapping[str, Counts],
    classes: tuple[str, ...],
    size: tuple[int, int],
) -> None:
    """Check the shards in `out` of images of `size` (height, width) by their contract; see `contracts.check`.

    `promised` is split -> class -> images. Raises ContractViolation.
    """
    counts = summary.counts(summaries, classes, list(promised))
    rows = {
        "shards": pa.Table.from_pylist(_shards(summaries, classes), _SHARD),
        "splits": pa.table(
            {"split": list(counts), "n_images": [sum(by_class.values()) for by_class in counts.values()]}
        ),
        "counts": pa.Table.from_pylist(
            [
                {"split": split, "label": label, "n_images": n, "n_promised": promised[split].get(label, 0)}
                for split, by_class in counts.items()
                for label, n in by_class.items()
            ]
        ),
    }
    copies = [{"shard": shard.name} | shard.copies._asdict() for shard in summaries if shard.copies is not None]
    if copies:
        rows["copies"] = pa.Table.from_pylist(copies, _COPIES)
    names = {"counts": lambda row: f"{row['label']} in {row['split']}", "splits": lambda row: str(row["split"])}
    height, width = size
    rules = [rule for rule in contract.rules(classes, height=height, width=width) if rule.frame in rows]
    frames = {name: contracts.Frame(table, names.get(name, _shard_name)) for name, table in rows.items()}
    contracts.check(out, dataset, frames, rules)


def _shard_name(row: dict[str, Any]) -> str:
    return str(row["shard"])


def _shards(summaries: Sequence[ShardSummary], classes: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "shard": shard.name,
            "split": shard.split,
            "has_classes": shard.classes == classes,
            "height": shard.height,
            "width": shard.width,
            "n_images": len(shard.class_indexes),
            "n_bytes": shard.n_bytes,
            "n_repeated": n_repeated,
            "n_flat": shard.n_flat,
            "lowest_class": int(shard.class_indexes.min()) if len(shard.class_indexes) else None,
            "highest_class": int(shard.class_indexes.max()) if len(shard.class_indexes) else None,
        }
        for shard, n_repeated in zip(summaries, _n_repeated(summaries), strict=True)
    ]


def _n_repeated(summaries: Sequence[ShardSummary]) -> list[int]:
    """How many rows of each shard have an image_id that another row, of any shard, has too."""
    ids = np.sort(np.concatenate([shard.ids for shard in summaries])) if summaries else np.empty(0, np.uint64)
    several = np.unique(ids[1:][ids[1:] == ids[:-1]])
    return [int(np.isin(shard.ids, several).sum()) if len(several) else 0 for shard in summaries]
