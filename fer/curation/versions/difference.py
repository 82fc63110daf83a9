"""What changed from one version of data, A, to another, B: image by image, and as a whole.

An image of A is one of B if it has the same image_id (the same path and bytes), or else the same pixels: then it was
renamed or encoded anew. Of several images with the same pixels those with the same label are matched first. Exchanging
the versions mirrors all of it: what is added the one way is removed the other way; drift alone is measured from A on.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer.curation import drift, groups
from fer.curation.drift import DriftConfig
from fer.curation.versions.version import Version
from fer.engine.records import Record

KINDS = ("added", "removed", "relabelled", "moved", "renamed")
SCHEMA = pa.schema(
    [
        pa.field("change", pa.string(), nullable=False),  # of KINDS; an image may be both relabelled and moved
        *(
            pa.field(f"{name}_{version}", pa.string())  # null on the side that lacks the image
            for name in ("image_id", "source", "path", "label", "split")
            for version in ("a", "b")
        ),
    ]
)
_EXAMPLES = 20
Counts = dict[str, int]


class Beside(Record):
    """A class, source or split: its images in each version, and how many of them were added and removed."""

    a: int
    b: int
    added: int
    removed: int


class DataDifference(Record):
    """The document `data_difference.json`.

    `relabelled` and `moved` count by what it was in A -> what it is in B; `moved` is None where the splits of a version
    are not known. `drift` has the tests of the data quality report: all of B against all of A and, where there are
    enough, what was added against A. `examples` lists some image_ids of each kind of change (B's, of removed ones A's);
    `changes.parquet` beside it has all of them.
    """

    a: str
    b: str
    digest_a: str
    digest_b: str
    n_a: int
    n_b: int
    n_same: int
    n_added: int
    n_removed: int
    n_relabelled: int
    n_moved: int | None
    n_renamed: int
    classes: dict[str, Beside]
    sources: dict[str, Beside]
    splits: dict[str, Beside]
    relabelled: dict[str, Counts]
    moved: dict[str, Counts] | None
    drift: tuple[dict[str, Any], ...]
    examples: dict[str, tuple[str, ...]]

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not (self.n_added or self.n_removed or self.n_relabelled or self.n_moved or self.n_renamed)


def between(a: Version, b: Version, config: DriftConfig | None = None) -> tuple[DataDifference, pa.Table]:
    """The difference, and a row (SCHEMA) for each change."""
    in_a, in_b = matched(a.images, b.images)
    only_a, only_b = _others(len(a.images), in_a), _others(len(b.images), in_b)
    old, new = a.images.take(pa.array(in_a)), b.images.take(pa.array(in_b))
    added, removed = b.images.take(pa.array(only_b)), a.images.take(pa.array(only_a))
    knows_splits = a.has_splits and b.has_splits
    changed = {
        "relabelled": _differ(old["label"], new["label"]),
        "moved": _differ(old["split"], new["split"]) if knows_splits else np.zeros(len(old), bool),
        "renamed": _differ(old["image_id"], new["image_id"]),
    }
    rows = [
        _rows("added", None, added),
        _rows("removed", removed, None),
        *(_rows(kind, old.filter(pa.array(which)), new.filter(pa.array(which))) for kind, which in changed.items()),
    ]
    counts = {kind: int(which.sum()) for kind, which in changed.items()}
    found = DataDifference(
        a=a.name,
        b=b.name,
        digest_a=a.digest,
        digest_b=b.digest,
        n_a=len(a.images),
        n_b=len(b.images),
        n_same=int((~np.any(list(changed.values()), axis=0)).sum()),
        n_added=len(added),
        n_removed=len(removed),
        n_relabelled=counts["relabelled"],
        n_moved=counts["moved"] if knows_splits else None,
        n_renamed=counts["renamed"],
        classes=_beside("label", a.images, b.images, added, removed),
        sources=_beside("source", a.images, b.images, added, removed),
        splits=_beside("split", a.images, b.images, added, removed) if knows_splits else {},
        relabelled=_crossed("label", old, new),
        moved=_crossed("split", old, new) if knows_splits else None,
        drift=tuple(_drift(a.images, b.images, added, config or DriftConfig())),
        examples={
            table["change"][0].as_py(): tuple(
                pc.coalesce(table["image_id_b"], table["image_id_a"])[:_EXAMPLES].to_pylist()
            )
            for table in rows
            if len(table)
        },
    )
    return found, pa.concat_tables(rows)


def matched(a: pa.Table, b: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """The rows of A and of B that are the same image, (M,) int64 each, in the order of A's image_id."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    left_a, left_b = (_in_order(table) for table in (a, b))
    for names in (("image_id",), ("pixel_sha256", "label"), ("pixel_sha256",)):
        keys_a, keys_b = _keys(a, left_a, b, left_b, names)
        _, at_a, at_b = np.intersect1d(keys_a, keys_b, assume_unique=True, return_indices=True)
        pairs.append((left_a[at_a], left_b[at_b]))
        left_a, left_b = np.delete(left_a, at_a), np.delete(left_b, at_b)
    rows_a, rows_b = (np.concatenate(rows) for rows in zip(*pairs, strict=True))
    order = np.argsort(pc.rank(a["image_id"], tiebreaker="first").to_numpy()[rows_a], kind="stable")
    return rows_a[order], rows_b[order]


def _in_order(table: pa.Table) -> np.ndarray:
    """The rows by label and image_id, so that the order of the files does not matter."""
    order = pc.sort_indices(table, sort_keys=[("label", "ascending"), ("image_id", "ascending")])
    return order.to_numpy().astype(np.int64)


def _keys(
    a: pa.Table, rows_a: np.ndarray, b: pa.Table, rows_b: np.ndarray, names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that are equal for rows of A and of B with the same values, the n-th of several with the n-th."""
    both = pa.concat_tables([a.select(names).take(pa.array(rows_a)), b.select(names).take(pa.array(rows_b))])
    number = np.zeros(len(both), np.int64)
    for name in names:
        values, distinct = groups.factorize(both[name])
        number = number * (len(distinct) + 1) + values + 1
    keys = [_occurrence(part) for part in (number[: len(rows_a)], number[len(rows_a) :])]
    most = max(int(nth.max(initial=0)) for nth in keys) + 1
    return number[: len(rows_a)] * most + keys[0], number[len(rows_a) :] * most + keys[1]


def _occurrence(values: np.ndarray) -> np.ndarray:
    """(N,) int64: how many equal values stand before each."""
    order = np.argsort(values, kind="stable")
    in_order = values[order]
    begins = np.flatnonzero(np.append(True, in_order[1:] != in_order[:-1])) if len(values) else np.empty(0, np.int64)
    nth = np.arange(len(values)) - np.repeat(begins, np.diff(np.append(begins, len(values))))
    occurrence = np.empty(len(values), np.int64)
    occurrence[order] = nth
    return occurrence


def _others(n: int, rows: np.ndarray) -> np.ndarray:
    return np.setdiff1d(np.arange(n), rows, assume_unique=True)


def _differ(old: pa.ChunkedArray, new: pa.ChunkedArray) -> np.ndarray:
    return pc.not_equal(old, new).to_numpy().astype(bool)


def _rows(change: str, old: pa.Table | None, new: pa.Table | None) -> pa.Table:
    n = max(len(table) for table in (old, new) if table is not None)
    columns: dict[str, Any] = {"change": pa.repeat(change, n)}
    for version, table in (("a", old), ("b", new)):
        for name in ("image_id", "source", "path", "label", "split"):
            columns[f"{name}_{version}"] = pa.nulls(n, pa.string()) if table is None else table[name]
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _counts(column: pa.ChunkedArray) -> Counts:
    counted = column.value_counts()
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _beside(name: str, *tables: pa.Table) -> dict[str, Beside]:
    a, b, added, removed = (_counts(table[name]) for table in tables)
    return {
        value: Beside(a=a.get(value, 0), b=b.get(value, 0), added=added.get(value, 0), removed=removed.get(value, 0))
        for value in sorted(a.keys() | b.keys())
    }


def _crossed(name: str, old: pa.Table, new: pa.Table) -> dict[str, Counts]:
    """Value in A -> value in B -> images, of those that differ."""
    pairs = pa.table({"a": old[name], "b": new[name]}).filter(pc.not_equal(old[name], new[name]))
    counted = pairs.group_by(["a", "b"]).aggregate([([], "count_all")])
    crossed: dict[str, Counts] = {}
    for row in counted.sort_by([("a", "ascending"), ("b", "ascending")]).to_pylist():
        crossed.setdefault(row["a"], {})[row["b"]] = row["count_all"]
    return crossed


def _drift(a: pa.Table, b: pa.Table, added: pa.Table, config: DriftConfig) -> list[dict[str, Any]]:
    samples: Mapping[str, tuple[pa.Table, pa.Table]] = {"all": (b, a)}
    if len(added) >= config.min_new:
        samples = {**samples, "added": (added, a)}
    return drift.compare(samples, config)
