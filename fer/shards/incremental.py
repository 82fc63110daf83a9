"""Which shards of an earlier output can be reused, and from what the others are made.

Images that are there already keep their shard; new ones go to new shards. A shard that lost images is written anew from
its own pixels, and one that is less than half full is merged with what is new, so that a little data per day does not
end in thousands of small files. The content of an earlier output is known from `summaries.arrow` beside its shards.
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
from fer.shards import parquet, summary
from fer.shards.refs import ShardsRef
from fer.shards.summary import ShardSummary

_SUMMARIES = "summaries.arrow"
_CANDIDATES = 3  # of the newest outputs
_BATCH = 65_536
_COLUMNS = ("image_id", "class_index", "split", "part", "row")
_NEW = -1


@dataclass(frozen=True)
class ShardPlan:
    """The images of one shard to be made, in order.

    `image_ids` has N, the arrays are (N,) int32. Where `source` is not negative, the pixels are row `source_row` of the
    shard `sources[source]` of the earlier output; else the encoded bytes are row `rows` of part `parts`.
    """

    name: str
    split: str
    image_ids: pa.Array
    class_indexes: np.ndarray
    parts: np.ndarray
    rows: np.ndarray
    source: np.ndarray
    source_row: np.ndarray
    sources: tuple[str, ...]


@dataclass(frozen=True)
class ReusePlan:
    """What is reused of the earlier output `base`: shards as they are, and images of others. Empty without a base."""

    base: ShardsRef | None = None
    folder: Path | None = None
    linked: tuple[ShardSummary, ...] = ()  # shards as they are
    thinned: tuple[tuple[ShardSummary, np.ndarray], ...] = ()  # shards, and the rows that stay
    sources: tuple[str, ...] = ()  # shards whose images go to other shards
    source: dict[str, np.ndarray] = field(default_factory=dict)  # split -> by row of the split, index in `sources`
    source_row: dict[str, np.ndarray] = field(default_factory=dict)  # likewise, row in that shard
    is_placed: dict[str, np.ndarray] = field(default_factory=dict)  # likewise, whether `linked` or `thinned` has it

    @property
    def n_linked(self) -> int:
        """How many images are in shards that are reused as they are."""
        return sum(len(shard.ids) for shard in self.linked)

    @property
    def inputs(self) -> tuple[ShardsRef, ...]:
        """The output whose shards must be read for their pixels, if there is one."""
        return (self.base,) if self.base is not None and (self.thinned or self.sources) else ()


def plan_reuse(
    workspace: workspaces.Workspace, split_table: Path, made_by: str, per_shard: int, out: Path
) -> ReusePlan:
    """What can be reused for the images of `split_table` (data_contracts.split) of the outputs of `preprocess`.

    Of those of the three newest outputs that were `made_by` the same, the one that has most of the images; nothing if
    a file of it was damaged since. Shards hold up to `per_shard` images. Those that are reused as they are get a second
    name in `out`.
    """
    reuse = _find(workspace, split_table, made_by, per_shard)
    if reuse.base is None:
        return reuse
    try:
        folder = workspace.folder(reuse.base, _read_of(reuse))
        record = outputs.read_record(folder)
        for shard in reuse.linked:
            outputs.link(folder, shard.name, out, shard.name, record)
    except (errors.WorkspaceError, errors.IntegrityError):  # damaged since: it is made anew too once it is needed
        return ReusePlan()
    return reuse


def _read_of(reuse: ReusePlan) -> list[str]:
    """The shards that are reused."""
    return [*(shard.name for shard in reuse.linked), *(shard.name for shard, _ in reuse.thinned), *reuse.sources]


def _find(workspace: workspaces.Workspace, split_table: Path, made_by: str, per_shard: int) -> ReusePlan:
    candidates: list[tuple[ShardsRef, Path, list[ShardSummary]]] = []
    for ref in workspace.outputs("preprocess", ShardsRef)[:_CANDIDATES]:
        with contextlib.suppress(errors.WorkspaceError):  # gone meanwhile
            folder = workspace.folder(ref, [_SUMMARIES])
            summaries = read_summaries(folder, made_by) if _has_summaries(folder) else None
            if summaries is not None:
                candidates.append((ref, folder, summaries))
    if not candidates:
        return ReusePlan()
    now = _rows_by_split(split_table)
    base, folder, summaries = candidates[0]
    if len(candidates) > 1:
        base, folder, summaries = max(candidates, key=lambda candidate: _n_shared(now, candidate[2]))
    return _reuse_of(base, folder, summaries, now, per_shard)


def _has_summaries(folder: Path) -> bool:
    """Whether the record of a committed folder names summaries: Arrow ends the process over what is not verified."""
    record = outputs.read_record(folder)
    return record is not None and _SUMMARIES in record.files


@dataclass(frozen=True)
class _Rows:
    """A split's images as they are now, in order: hashes of their IDs (N,) uint64, and class indexes (N,) int32."""

    ids: np.ndarray
    class_indexes: np.ndarray


def _rows_by_split(split_table: Path) -> dict[str, _Rows]:
    ids: dict[str, list[np.ndarray]] = {split: [] for split in files.SPLITS}
    labels: dict[str, list[np.ndarray]] = {split: [] for split in files.SPLITS}
    for split, batch in _batches(split_table):
        ids[split].append(summary.id_hashes(batch["image_id"].to_pylist()))
        labels[split].append(batch["class_index"].to_numpy())
    return {
        split: _Rows(
            np.concatenate([np.empty(0, np.uint64), *ids[split]]),
            np.concatenate([np.empty(0, np.int32), *labels[split]]),
        )
        for split in files.SPLITS
    }


def _n_shared(now: dict[str, _Rows], summaries: Sequence[ShardSummary]) -> int:
    ordered = {split: np.sort(rows.ids) for split, rows in now.items()}
    return sum(int(_is_in(shard.ids, ordered[shard.split]).sum()) for shard in summaries)


def _is_in(ids: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    places = np.searchsorted(ordered, ids)
    return (places < len(ordered)) & (ordered[np.minimum(places, len(ordered) - 1)] == ids) if len(ordered) else ids < 0


def _reuse_of(
    base: ShardsRef,
    folder: Path,
    summaries: Sequence[ShardSummary],
    now: dict[str, _Rows],
    per_shard: int,
) -> ReusePlan:
    linked: list[ShardSummary] = []
    thinned: list[tuple[ShardSummary, np.ndarray]] = []
    sources: list[str] = []
    source = {split: np.full(len(rows.ids), _NEW, np.int32) for split, rows in now.items()}
    source_row = {split: np.zeros(len(rows.ids), np.int32) for split, rows in now.items()}
    is_placed = {split: np.zeros(len(rows.ids), bool) for split, rows in now.items()}
    for split, rows in now.items():
        order = np.argsort(rows.ids)
        ordered = rows.ids[order]
        stays: list[tuple[ShardSummary, np.ndarray, np.ndarray]] = []  # rows that stay, and their rows in the split
        for shard in (shard for shard in summaries if shard.split == split):
            at = np.flatnonzero(_is_in(shard.ids, ordered))
            places = order[np.searchsorted(ordered, shard.ids[at])]
            same = rows.class_indexes[places] == shard.class_indexes[at]
            stays.append((shard, at[same], places[same]))
        n_loose = len(rows.ids) - sum(len(at) for _, at, _ in stays if 2 * len(at) >= per_shard)
        n_small = sum(len(at) for shard, at, _ in stays if 2 * len(at) < per_shard and len(at) == len(shard.ids))
        nothing_to_merge = n_loose == n_small
        for shard, at, places in stays:
            is_whole = len(at) == len(shard.ids)
            if 2 * len(at) >= per_shard or (is_whole and nothing_to_merge):
                is_placed[split][places] = True
                if is_whole:
                    linked.append(shard)
                else:
                    thinned.append((shard, at))
            elif len(at):
                source[split][places] = len(sources)
                source_row[split][places] = at
                sources.append(shard.name)
    return ReusePlan(base, folder, tuple(linked), tuple(thinned), tuple(sources), source, source_row, is_placed)


def plan_shards(split_table: Path, reuse: ReusePlan, per_shard: int) -> Iterator[ShardPlan]:
    """The shards to be made, one after the other: images that no reused shard has, in the order of `split_table`."""
    if reuse.folder is not None:
        for shard, at in reuse.thinned:
            yield _plan_thinned(reuse.folder, shard, at)
    taken = {shard.name for shard in reuse.linked} | {shard.name for shard, _ in reuse.thinned}
    numbers = dict.fromkeys(files.SPLITS, 0)
    n_seen = dict.fromkeys(files.SPLITS, 0)
    waiting: dict[str, list[pa.RecordBatch]] = {split: [] for split in files.SPLITS}
    n_waiting = dict.fromkeys(files.SPLITS, 0)

    def plan(split: str, n: int) -> ShardPlan:
        table = pa.Table.from_batches(waiting[split]).combine_chunks()
        waiting[split] = table.slice(n).to_batches()
        n_waiting[split] -= n
        while parquet.name(split, numbers[split]) in taken:
            numbers[split] += 1
        name = parquet.name(split, numbers[split])
        numbers[split] += 1
        return _plan(name, split, table.slice(0, n).combine_chunks(), reuse.sources)

    for split, batch in _batches(split_table):
        here = slice(n_seen[split], n_seen[split] + len(batch))
        n_seen[split] += len(batch)
        if reuse.base is not None:
            batch = batch.append_column("source", pa.array(reuse.source[split][here]))
            batch = batch.append_column("source_row", pa.array(reuse.source_row[split][here]))
            batch = batch.filter(pa.array(~reuse.is_placed[split][here]))
        waiting[split].append(batch)
        n_waiting[split] += len(batch)
        while n_waiting[split] >= per_shard:
            yield plan(split, per_shard)
    for split in files.SPLITS:
        if n_waiting[split]:
            yield plan(split, n_waiting[split])


def _plan(name: str, split: str, table: pa.Table, sources: tuple[str, ...]) -> ShardPlan:
    nowhere = np.full(len(table), _NEW, np.int32)
    return ShardPlan(
        name,
        split,
        pa.array(table["image_id"].to_pylist(), pa.string()),  # a slice would be sent with the whole table
        table["class_index"].to_numpy(),
        table["part"].to_numpy(),
        table["row"].to_numpy(),
        table["source"].to_numpy() if sources else nowhere,
        table["source_row"].to_numpy() if sources else nowhere,
        sources,
    )


def _plan_thinned(folder: Path, shard: ShardSummary, at: np.ndarray) -> ShardPlan:
    """The rows `at` of a shard, which stay, under its name."""
    image_ids, class_indexes = parquet.read_labels(folder / shard.name)
    nowhere = np.full(len(at), _NEW, np.int32)
    ids = pa.array(image_ids, pa.string()).take(pa.array(at))
    source, source_row = np.zeros(len(at), np.int32), at.astype(np.int32)
    sources = (shard.name,)
    return ShardPlan(shard.name, shard.split, ids, class_indexes[at], nowhere, nowhere, source, source_row, sources)


def _batches(split_table: Path) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows of each split in order, a few at a time."""
    with pq.ParquetFile(split_table) as table:
        for batch in table.iter_batches(_BATCH, columns=list(_COLUMNS), use_threads=False):
            for split in files.SPLITS:
                rows = batch.filter(pc.equal(batch["split"], split))
                if len(rows):
                    yield split, rows


_SCHEMA = pa.schema(
    [("name", pa.string()), ("split", pa.string()), ("classes", pa.list_(pa.string())), ("content", pa.string())]
    + [(name, pa.int64()) for name in ("height", "width", "n_bytes", "n_flat", "total", "squares")]
    + [("ids", pa.list_(pa.uint64())), ("class_indexes", pa.list_(pa.int32()))]
)


def write_summaries(out: Path, summaries: Sequence[ShardSummary], made_by: str) -> None:
    """Write what the shards in `out` hold, for the next run, and what they were `made_by`."""
    schema = _SCHEMA.with_metadata({"made_by": made_by})
    with disk.replacing(out / _SUMMARIES) as staging, pa.ipc.new_file(staging, schema) as file:
        for shard in summaries:
            row = {name: [getattr(shard, name)] for name in _SCHEMA.names} | {"content": [f"{shard.content:x}"]}
            file.write_batch(pa.RecordBatch.from_pydict(row, schema=schema))


def read_summaries(folder: Path, made_by: str) -> list[ShardSummary] | None:
    """What the shards in `folder` hold, if it is known and they were `made_by` the same; else None."""
    try:
        with pa.ipc.open_file(folder / _SUMMARIES) as file:
            if (file.schema.metadata or {}).get(b"made_by") != made_by.encode():
                return None
            rows = file.read_all()
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    return [_summary(rows, at) for at in range(len(rows))]


def _summary(rows: pa.Table, at: int) -> ShardSummary:
    values = {name: rows[name][at] for name in _SCHEMA.names}
    arrays = {name: values.pop(name).values.to_numpy() for name in ("ids", "class_indexes")}
    plain = {name: value.as_py() for name, value in values.items()}
    plain |= {"classes": tuple(plain["classes"]), "content": int(plain["content"], 16)}
    return ShardSummary(**plain, **arrays, copies=None)


def remove_other_shards(out: Path, summaries: Sequence[ShardSummary]) -> None:
    """Remove shards that an earlier attempt left and that are not among the `summaries`."""
    wanted = {shard.name for shard in summaries}
    for split in files.SPLITS:
        for name in parquet.names(out, split):
            if name not in wanted:
                (out / name).unlink()
