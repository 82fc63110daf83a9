"""Which shards of an earlier output a stage can keep, and what the others are made of.

Images that are there already keep their shard; new ones go to new shards. A shard that lost images is written anew from
its own pixels, and one that is less than half full is merged with what is new, so that a little data a day does not end
in thousands of small files. What an earlier output holds is known from `summaries.arrow` beside its shards.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files
from fer import errors
from fer.engine import disk, outputs
from fer.engine import workspace as workspaces
from fer.shards import checks as shard_checks
from fer.shards import parquet
from fer.shards.refs import ShardsRef

_SUMMARIES = "summaries.arrow"
_CANDIDATES = 3  # of the newest outputs
_BATCH = 65_536
_COLUMNS = ("image_id", "class_index", "split", "part", "row")
_NEW = -1


@dataclass(frozen=True)
class Cut:
    """The images of one shard to be made, in order.

    `image_ids` has N, the arrays are (N,). Where `kept_in` is not negative, the pixels are row `kept_at` of the shard
    `sources[kept_in]` of the earlier output; else the encoded bytes are row `row` of part `part`.
    """

    name: str
    split: str
    image_ids: pa.Array
    class_indexes: np.ndarray
    parts: np.ndarray
    rows: np.ndarray
    kept_in: np.ndarray
    kept_at: np.ndarray
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """What is kept of `base`: shards as they are, and images of others. None of both without a base."""

    base: ShardsRef | None = None
    folder: Path | None = None
    linked: tuple[shard_checks.Summary, ...] = ()
    thinned: tuple[tuple[shard_checks.Summary, np.ndarray], ...] = ()  # shards, and the rows that stay
    sources: tuple[str, ...] = ()  # shards whose images go elsewhere
    kept_in: dict[str, np.ndarray] = field(default_factory=dict)  # split -> by row of the split, index in `sources`
    kept_at: dict[str, np.ndarray] = field(default_factory=dict)  # likewise, row in the shard
    is_elsewhere: dict[str, np.ndarray] = field(default_factory=dict)  # likewise, whether `linked` or `thinned` has it

    @property
    def n_linked(self) -> int:
        return sum(len(each.ids) for each in self.linked)

    @property
    def inputs(self) -> tuple[ShardsRef, ...]:
        """The output whose shards must be read for their pixels, if there is one."""
        return (self.base,) if self.base is not None and (self.thinned or self.sources) else ()


def keep(workspace: workspaces.Workspace, split_table: Path, made_by: str, per_shard: int, out: Path) -> Kept:
    """What can be kept for the images of `split_table` (data_contracts.split) of the outputs of `preprocess`.

    Of those of the three newest outputs that were `made_by` the same, the one that has most of the images; nothing if
    a file of it was damaged since. Shards hold up to `per_shard` images. Those that are kept as they are get a second
    name in `out`.
    """
    kept = _find(workspace, split_table, made_by, per_shard)
    if kept.folder is None:
        return kept
    record = outputs.read_record(kept.folder)
    read = [*(each.name for each, _ in kept.thinned), *kept.sources]
    if record is None or not all(outputs.is_kept(kept.folder, name, record.files[name]) for name in read):
        return Kept()
    try:
        for each in kept.linked:
            outputs.link(kept.folder, each.name, out, each.name, record)
    except errors.IntegrityError:  # damaged since: it will be made anew too, by whoever needs it
        return Kept()
    return kept


def _find(workspace: workspaces.Workspace, split_table: Path, made_by: str, per_shard: int) -> Kept:
    found: list[tuple[ShardsRef, Path, list[shard_checks.Summary]]] = []
    for ref in workspace.outputs("preprocess", ShardsRef)[:_CANDIDATES]:
        with contextlib.suppress(errors.WorkspaceError):  # gone meanwhile
            folder = workspace.folder(ref)
            summaries = recall(folder, made_by) if _knows(folder) else None
            if summaries is not None:
                found.append((ref, folder, summaries))
    if not found:
        return Kept()
    now = _now(split_table)
    base, folder, summaries = max(found, key=lambda each: _n_shared(now, each[2])) if len(found) > 1 else found[0]
    return _kept(base, folder, summaries, now, per_shard)


def _knows(folder: Path) -> bool:
    """Whether there are summaries in a committed folder, as they were committed: Arrow ends the process over others."""
    record = outputs.read_record(folder)
    return (
        record is not None
        and _SUMMARIES in record.files
        and outputs.is_kept(folder, _SUMMARIES, record.files[_SUMMARIES])
    )


@dataclass(frozen=True)
class _Rows:
    """A split's images as they are now, in order: hashes of their IDs (N,) uint64, and class indexes (N,) int32."""

    ids: np.ndarray
    class_indexes: np.ndarray


def _now(split_table: Path) -> dict[str, _Rows]:
    ids: dict[str, list[np.ndarray]] = {each: [] for each in files.SPLITS}
    labels: dict[str, list[np.ndarray]] = {each: [] for each in files.SPLITS}
    for split, batch in _batches(split_table):
        ids[split].append(shard_checks.id_hashes(batch["image_id"].to_pylist()))
        labels[split].append(batch["class_index"].to_numpy())
    return {
        each: _Rows(
            np.concatenate([np.empty(0, np.uint64), *ids[each]]), np.concatenate([np.empty(0, np.int32), *labels[each]])
        )
        for each in files.SPLITS
    }


def _n_shared(now: dict[str, _Rows], summaries: Sequence[shard_checks.Summary]) -> int:
    there = {split: np.sort(rows.ids) for split, rows in now.items()}
    return sum(int(_is_in(each.ids, there[each.split]).sum()) for each in summaries)


def _is_in(ids: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    places = np.searchsorted(ordered, ids)
    return (places < len(ordered)) & (ordered[np.minimum(places, len(ordered) - 1)] == ids) if len(ordered) else ids < 0


def _kept(
    base: ShardsRef,
    folder: Path,
    summaries: Sequence[shard_checks.Summary],
    now: dict[str, _Rows],
    per_shard: int,
) -> Kept:
    linked: list[shard_checks.Summary] = []
    thinned: list[tuple[shard_checks.Summary, np.ndarray]] = []
    sources: list[str] = []
    kept_in = {split: np.full(len(rows.ids), _NEW, np.int32) for split, rows in now.items()}
    kept_at = {split: np.zeros(len(rows.ids), np.int32) for split, rows in now.items()}
    is_elsewhere = {split: np.zeros(len(rows.ids), bool) for split, rows in now.items()}
    for split, rows in now.items():
        of_split = [each for each in summaries if each.split == split]
        order = np.argsort(rows.ids)
        ordered = rows.ids[order]
        stays: list[tuple[shard_checks.Summary, np.ndarray, np.ndarray]] = []  # rows that stay, and where they are now
        for each in of_split:
            at = np.flatnonzero(_is_in(each.ids, ordered))
            places = order[np.searchsorted(ordered, each.ids[at])]
            same = rows.class_indexes[places] == each.class_indexes[at]
            stays.append((each, at[same], places[same]))
        n_loose = len(rows.ids) - sum(len(at) for _, at, _ in stays if 2 * len(at) >= per_shard)
        n_small = sum(len(at) for each, at, _ in stays if 2 * len(at) < per_shard and len(at) == len(each.ids))
        nothing_to_merge = n_loose == n_small
        for each, at, places in stays:
            is_whole = len(at) == len(each.ids)
            if 2 * len(at) >= per_shard or (is_whole and nothing_to_merge):
                is_elsewhere[split][places] = True
                if is_whole:
                    linked.append(each)
                else:
                    thinned.append((each, at))
            elif len(at):
                kept_in[split][places] = len(sources)
                kept_at[split][places] = at
                sources.append(each.name)
    return Kept(base, folder, tuple(linked), tuple(thinned), tuple(sources), kept_in, kept_at, is_elsewhere)


def cuts(split_table: Path, kept: Kept, per_shard: int) -> Iterator[Cut]:
    """The shards to be made, one after the other: what is not `kept` is cut in the order of `split_table`."""
    if kept.folder is not None:
        for summary, at in kept.thinned:
            yield _thinned(kept.folder, summary, at)
    taken = {each.name for each in kept.linked} | {each.name for each, _ in kept.thinned}
    numbers = dict.fromkeys(files.SPLITS, 0)
    n_seen = dict.fromkeys(files.SPLITS, 0)
    waiting: dict[str, list[pa.RecordBatch]] = {each: [] for each in files.SPLITS}
    n_waiting = dict.fromkeys(files.SPLITS, 0)

    def cut(split: str, n: int) -> Cut:
        table = pa.Table.from_batches(waiting[split]).combine_chunks()
        waiting[split] = table.slice(n).to_batches()
        n_waiting[split] -= n
        while parquet.name(split, numbers[split]) in taken:
            numbers[split] += 1
        name = parquet.name(split, numbers[split])
        numbers[split] += 1
        return _cut(name, split, table.slice(0, n).combine_chunks(), kept.sources)

    for split, batch in _batches(split_table):
        here = slice(n_seen[split], n_seen[split] + len(batch))
        n_seen[split] += len(batch)
        if kept.base is not None:
            batch = batch.append_column("kept_in", pa.array(kept.kept_in[split][here]))
            batch = batch.append_column("kept_at", pa.array(kept.kept_at[split][here]))
            batch = batch.filter(pa.array(~kept.is_elsewhere[split][here]))
        waiting[split].append(batch)
        n_waiting[split] += len(batch)
        while n_waiting[split] >= per_shard:
            yield cut(split, per_shard)
    for split in files.SPLITS:
        if n_waiting[split]:
            yield cut(split, n_waiting[split])


def _cut(name: str, split: str, table: pa.Table, sources: tuple[str, ...]) -> Cut:
    nowhere = np.full(len(table), _NEW, np.int32)
    return Cut(
        name,
        split,
        pa.array(table["image_id"].to_pylist(), pa.string()),  # a slice would travel with all that it was cut from
        table["class_index"].to_numpy(),
        table["part"].to_numpy(),
        table["row"].to_numpy(),
        table["kept_in"].to_numpy() if sources else nowhere,
        table["kept_at"].to_numpy() if sources else nowhere,
        sources,
    )


def _thinned(folder: Path, summary: shard_checks.Summary, at: np.ndarray) -> Cut:
    """What stays of a shard, under its name."""
    image_ids, class_indexes = parquet.read_labels(folder / summary.name)
    nowhere = np.full(len(at), _NEW, np.int32)
    ids = pa.array(image_ids, pa.string()).take(pa.array(at))
    kept_in, kept_at = np.zeros(len(at), np.int32), at.astype(np.int32)
    return Cut(summary.name, summary.split, ids, class_indexes[at], nowhere, nowhere, kept_in, kept_at, (summary.name,))


def _batches(split_table: Path) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows of each split in order, a few at a time."""
    with pq.ParquetFile(split_table) as table:
        for batch in table.iter_batches(_BATCH, columns=list(_COLUMNS), use_threads=False):
            for split in files.SPLITS:
                found = batch.filter(pc.equal(batch["split"], split))
                if len(found):
                    yield split, found


_SCHEMA = pa.schema(
    [("name", pa.string()), ("split", pa.string()), ("classes", pa.list_(pa.string())), ("content", pa.string())]
    + [(name, pa.int64()) for name in ("height", "width", "n_bytes", "n_flat", "total", "squares")]
    + [("ids", pa.list_(pa.uint64())), ("class_indexes", pa.list_(pa.int32()))]
)


def remember(out: Path, summaries: Sequence[shard_checks.Summary], made_by: str) -> None:
    """Write what the shards in `out` hold, for the next time."""
    schema = _SCHEMA.with_metadata({"made_by": made_by})
    with disk.replacing(out / _SUMMARIES) as staging, pa.ipc.new_file(staging, schema) as file:
        for each in summaries:
            row = {name: [getattr(each, name)] for name in _SCHEMA.names} | {"content": [f"{each.content:x}"]}
            file.write_batch(pa.RecordBatch.from_pydict(row, schema=schema))


def recall(folder: Path, made_by: str) -> list[shard_checks.Summary] | None:
    """What the shards in `folder` hold, if it is known and they were `made_by` the same; else None."""
    try:
        with pa.ipc.open_file(folder / _SUMMARIES) as file:
            if (file.schema.metadata or {}).get(b"made_by") != made_by.encode():
                return None
            rows = file.read_all()
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    return [_summary(rows, at) for at in range(len(rows))]


def _summary(rows: pa.Table, at: int) -> shard_checks.Summary:
    values = {name: rows[name][at] for name in _SCHEMA.names}
    arrays = {name: values.pop(name).values.to_numpy() for name in ("ids", "class_indexes")}
    plain = {name: value.as_py() for name, value in values.items()}
    plain |= {"classes": tuple(plain["classes"]), "content": int(plain["content"], 16)}
    return shard_checks.Summary(**plain, **arrays, copies=None)


def remove_others(out: Path, summaries: Sequence[shard_checks.Summary]) -> None:
    """Remove shards that an earlier attempt cut otherwise."""
    wanted = {each.name for each in summaries}
    for split in files.SPLITS:
        for name in parquet.names(out, split):
            if name not in wanted:
                (out / name).unlink()
