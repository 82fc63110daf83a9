"""What knew images that are to be forgotten: releases, and things on this machine that hold their pixels."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files
from data_contracts.split import EXCLUDED
from fer import errors
from fer.engine.outputs import OutputRecord
from fer.engine.records import Record
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.housekeeping import workspace_folder
from fer.housekeeping.erasure import in_bucket
from fer.housekeeping.workspace_folder import AGAIN, DAMAGED, PARTIAL
from fer.registry import reads, registry, trained_on
from fer.registry.manifest import Manifest

_OF_PIXELS = ("balance", "preprocess", "download", "index")  # stages, in the order in which they are removed
_WITH_FACES = ("quality", "explanations")  # stages that write pages with single faces, if they are asked to


class KnownTo(Record):
    """A release that knew images: how many it was trained on, chosen by and tested on."""

    release: str
    status: str
    is_champion: bool
    n_train: int
    n_validation: int
    n_test: int

    @property
    def must_be_retrained(self) -> bool:
        """Whether the images shaped the model; those that it was tested on did not."""
        return bool(self.n_train or self.n_validation)


class Held(NamedTuple):
    """What holds pixels of the images: an output of the workspace, `stage/key`, something in FER_HOME, or objects of
    the workspace's bucket, by their keys."""

    name: str
    what: str
    is_output: bool
    size_bytes: int = 0
    objects: tuple[str, ...] = ()


def releases(models: registry.Registry, digests: Collection[str]) -> tuple[list[KnownTo], list[str]]:
    """The versions that knew images with these pixels; and those that don't say what they were trained on.

    Raises StoreError, IntegrityError.
    """
    wanted = pa.array(sorted(digests), pa.string())
    found: list[KnownTo] = []
    silent: list[str] = []
    for name in models.names():
        champion = models.ledger(name).read().champion
        for manifest in models.versions(name):
            spec = f"{name}@{manifest.version}"
            known = trained_on_of(models, manifest)
            if known is None:
                silent.append(spec)
                continue
            splits = known.filter(pc.is_in(known["pixel_sha256"], wanted))["split"].to_pylist()
            n_test = len((reads.tested_on(models, manifest) or frozenset()) & frozenset(digests))
            if splits or n_test:
                found.append(
                    KnownTo(
                        release=spec,
                        status=manifest.status,
                        is_champion=champion == manifest.version,
                        n_train=splits.count("train"),
                        n_validation=splits.count("validation"),
                        n_test=n_test,
                    )
                )
    return found, silent


def trained_on_of(models: registry.Registry, manifest: Manifest) -> pa.Table | None:
    """The images that a version was trained on or chosen by (see `trained_on`); None if it does not say."""
    stored = manifest.files.get(files.TRAINED_ON)
    if stored is None:
        return None
    return trained_on.fetch(models.store, stored.key, stored.sha256)


def held(home: Path, workspace: Workspace, digests: Collection[str]) -> list[Held]:
    """All that holds pixels of these images, or may, in the order in which it is to be removed: what tells where else
    they are comes last, so that whoever is stopped can go on.
    """
    root = workspace.root
    outputs: dict[str, Held] = {}
    records = _Records(workspace)
    manifests = [record for record in records.of("index") if _is_affected(record, workspace, digests)]
    datasets = {path for record in manifests if record.parts is not None for path in record.parts.refs().values()}
    prepared: set[str] = set()
    for record in records.of("preprocess"):
        refs = [] if record.parts is None else list(record.parts.refs().values())
        splits = (records.at(path) for path in refs if not path.startswith("index/"))
        if any(_splits(split, workspace, digests) for split in splits) or not refs:
            prepared.add(record.path)
            outputs[record.path] = Held(record.path, "prepared pixels", True, record.size_bytes)
    for record in records.of("balance"):
        refs = [] if record.parts is None else list(record.parts.refs().values())
        if not refs or prepared.intersection(refs) or not all(map(records.at, refs)):
            outputs[record.path] = Held(record.path, "prepared pixels, balanced", True, record.size_bytes)
    for record in records.of("download"):
        if record.path in datasets:
            outputs[record.path] = Held(record.path, "the source's archive as downloaded", True, record.size_bytes)
    for record in manifests:
        outputs[record.path] = Held(record.path, "encoded pictures and thumbnails", True, record.size_bytes)
    ordered = sorted(outputs.values(), key=lambda one: _OF_PIXELS.index(one.name.partition("/")[0]))
    return [*_pages(home, workspace), *_unfinished(root), *_unfinished_in_bucket(workspace), *ordered]


class _Records:
    """The records of a workspace, each read once."""

    def __init__(self, workspace: Workspace):
        self._workspace = workspace
        self._by_stage: dict[str, dict[str, OutputRecord]] = {}

    def of(self, stage: str) -> list[OutputRecord]:
        """Those of a stage, newest first."""
        if stage not in self._by_stage:
            self._by_stage[stage] = {record.path: record for record in in_bucket.records(self._workspace, stage)}
        return list(self._by_stage[stage].values())

    def at(self, path: str) -> OutputRecord | None:
        """That of an output, `stage/key`; None if it is gone."""
        stage = path.partition("/")[0]
        self.of(stage)
        return self._by_stage[stage].get(path)


def _is_affected(record: OutputRecord, workspace: Workspace, digests: Collection[str]) -> bool:
    """Whether a manifest holds one of the images; one that can't be read may."""
    try:
        folder = workspace.folder(Ref.model_construct(**record.ref), {files.MANIFEST})
        rows = pq.read_table(folder / files.MANIFEST, columns=["pixel_sha256"])
    except (errors.FerError, OSError, pa.ArrowInvalid, KeyError):
        return True
    return bool(pc.any(pc.is_in(rows["pixel_sha256"], pa.array(sorted(digests), pa.string()))).as_py())


def _splits(record: OutputRecord | None, workspace: Workspace, digests: Collection[str]) -> bool:
    """Whether one of the images is in a split; one that is gone may have had it."""
    if record is None:
        return True
    try:
        folder = workspace.folder(Ref.model_construct(**record.ref), {files.SPLIT})
        rows = pq.read_table(folder / files.SPLIT, columns=["pixel_sha256", "split"])
    except (errors.FerError, OSError, pa.ArrowInvalid, KeyError):
        return True
    used = rows.filter(pc.not_equal(rows["split"], EXCLUDED))
    return bool(pc.any(pc.is_in(used["pixel_sha256"], pa.array(sorted(digests), pa.string()))).as_py())


def _pages(home: Path, workspace: Workspace) -> Iterator[Held]:
    """Pages with single faces: of whom nobody recorded."""
    for stage in _WITH_FACES:
        for record in in_bucket.records(workspace, stage):
            if record.parts is not None and record.parts.inputs.get("show_faces") is True:
                yield Held(record.path, "a page with faces, of whom is not recorded", True, record.size_bytes)
    for pattern in ("faces/*/*", "reports/data/*/with_faces_*"):
        for path in sorted(home.glob(pattern)):
            name = path.relative_to(home).as_posix()
            yield Held(name, "a page with faces, of whom is not recorded", False, _size_bytes(path))
    for path in sorted(home.glob("reproductions/*")):
        name = path.relative_to(home).as_posix()
        yield Held(name, "the workspace of a release made again", False, _size_bytes(path))


def _size_bytes(path: Path) -> int:
    """Of a file, or of all in a folder."""
    return sum(workspace_folder.blobs(path).values())


def _unfinished(root: Path) -> Iterator[Held]:
    """What may hold them of outputs that were never committed, or were set aside."""
    for kind in (PARTIAL, AGAIN, DAMAGED):
        for stage in (*_OF_PIXELS, *_WITH_FACES):
            for folder in sorted((root / kind / stage).glob("*")):
                name = f"{kind}/{stage}/{folder.name}"
                yield Held(name, "unfinished or damaged, may hold pixels", True, _size_bytes(folder))


def _unfinished_in_bucket(workspace: Workspace) -> Iterator[Held]:
    """The same of a workspace in a bucket, all of it together."""
    found = [] if workspace.objects is None else in_bucket.unfinished(workspace.objects.store)
    if workspace.objects is not None and found:
        what = f"unfinished or damaged, {len(found):,} object{'s' * (len(found) != 1)}, may hold pixels"
        size_bytes = sum(listed.size_bytes for listed in found)
        yield Held(workspace.objects.uri, what, False, size_bytes, tuple(listed.key for listed in found))
