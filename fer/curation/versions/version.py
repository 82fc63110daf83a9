"""A version of data: its accepted images, and the splits that they were put into."""

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files, properties
from data_contracts import manifest as manifest_contract
from fer import errors
from fer.curation.refs import SplitRef, ValidationRef
from fer.engine.outputs import RefT
from fer.engine.workspace import Workspace
from fer.ingest.refs import ManifestRef

LEFT_OUT = "left out"  # the split of an image that curation put aside
_COLUMNS = ("image_id", "source", "path", "pixel_sha256", "label", *properties.EDGES)
_DIGEST = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Version:
    """`images`: a row of the manifest per accepted image, with its `split` (of files.SPLITS, `excluded` or LEFT_OUT),
    null where the version's splits are not known. `digest` is that of the output that the images were read from.
    """

    name: str
    digest: str
    images: pa.Table

    @property
    def has_splits(self) -> bool:
        """Whether it is known which split each image is in."""
        return self.images["split"].null_count == 0


def read(name: str, images: ValidationRef | ManifestRef, split: SplitRef | None, workspace: Workspace) -> Version:
    """The version whose accepted images a stage left; of a manifest alone those that could be decoded and labelled."""
    if isinstance(images, ValidationRef):
        table = pq.read_table(workspace.folder(images) / files.ACCEPTED, columns=list(_COLUMNS))
    else:
        table = pq.read_table(workspace.folder(images) / files.MANIFEST, columns=[*_COLUMNS, "status"])
        is_used = pc.and_(pc.equal(table["status"], manifest_contract.ACCEPTED), table["label"].is_valid())
        table = table.filter(is_used).drop_columns(["status"])
    splits: pa.Array | pa.ChunkedArray = pa.nulls(len(table), pa.string())
    if split is not None:
        rows = pq.read_table(workspace.folder(split) / files.SPLIT, columns=["image_id", "split"])
        at = pc.index_in(table["image_id"], value_set=rows["image_id"].combine_chunks())
        splits = pc.fill_null(rows["split"].take(at), LEFT_OUT)
    return Version(name, images.digest, table.append_column("split", splits))


def is_digest(text: str) -> bool:
    """Whether this may be the digest of a manifest, or the first eight letters or more of one."""
    return _DIGEST.fullmatch(text) is not None


def by_digests(name: str, workspace: Workspace, *, validation: str, split: str | None) -> Version:
    """The version whose accepted images, and splits, have these digests. Raises WorkspaceError if they are gone."""
    found = _of_digest(workspace, "validate", ValidationRef, validation)
    if found is None:
        raise _gone(name, workspace)
    in_splits = None if split is None else _of_digest(workspace, "split", SplitRef, split)
    return read(name, found, in_splits, workspace)


def of_manifest(digest: str, workspace: Workspace) -> Version:
    """The version whose manifest has this digest, or one that begins so. Raises WorkspaceError if there is none."""
    found = _of_digest(workspace, "index", ManifestRef, digest)
    if found is None:
        raise _gone(digest, workspace)
    return read(found.source, found, None, workspace)


def _of_digest(workspace: Workspace, stage: str, ref_type: type[RefT], digest: str) -> RefT | None:
    matching = [ref for ref in workspace.outputs(stage, ref_type) if ref.digest.startswith(digest)]
    if len({ref.digest for ref in matching}) > 1:
        raise errors.ConfigError(
            "A digest must be long enough to name one output.",
            received=f"{digest}, with which {len(matching)} begin",
            todo="give more of its letters",
        )
    return matching[0] if matching else None


def _gone(name: str, workspace: Workspace) -> errors.WorkspaceError:
    return errors.WorkspaceError(
        "A version of data must be in the workspace to be compared.",
        received=f"nothing of {name} in {workspace.root}",
        todo="give its source, or bring it in again: fer data check SOURCE",
    )
