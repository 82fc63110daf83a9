"""Stage 1: the dataset as one zip in the workspace, `dataset.zip`, with the source's name in `source.txt`.

The name is for the Ref's digest: the manifest names the source, so that the same bytes under another name are another
input.
"""

from pathlib import Path

from pydantic import BaseModel, Field, SerializeAsAny

from fer.engine import disk, stage
from fer.engine.records import Record
from fer.engine.workspace import Workspace
from fer.ingest import archives, buckets, folders, kaggle, sources
from fer.ingest.refs import DatasetRef
from fer.progress import Progress, silent

_SOURCE = "source.txt"
_ARCHIVE, _FOLDER, _BUCKET = "archive:sha256:", "folder:sha256:", "bucket:sha256:"  # how the identities begin


class ResolvedSource(Record):
    """A source pinned to its content. Only `identity` enters keys, Refs and JSON."""

    identity: str = Field(description="Equal for equal content, and the same on any machine")
    source: sources.Source = Field(exclude=True)
    demo: SerializeAsAny[BaseModel] | None = Field(default=None, exclude=True)
    credentials: kaggle.Credentials | None = Field(default=None, exclude=True)
    links_into: Path | None = Field(default=None, exclude=True)
    text_encoding: str | None = Field(default=None, exclude=True)


def resolve(
    source: sources.Source,
    *,
    demo: BaseModel | None = None,
    credentials: kaggle.Credentials | None = None,
    links_into: Path | None = None,
    text_encoding: str | None = None,
) -> ResolvedSource:
    """Find out which content `source` stands for now: Kaggle's current version, the content of an archive or folder.

    An archive or folder is known by the names and SHA-256s of its files, not by their order or how they are packed;
    what is in a bucket by the names, sizes and ETags that the store lists.
    `demo` is the `demo.archive.DemoConfig` for the demo source; `credentials` are those for Kaggle, if not kagglehub's.
    `links_into` is the folder that links in a folder may lead into, `text_encoding` as in `archives.open_safe`.
    Raises SourceError, KaggleRefused, KaggleUnavailable, StoreError.
    """
    match source:
        case sources.KaggleSource(owner, slug):
            version = kaggle.resolve_version(source, credentials)
            pinned = sources.KaggleSource(owner, slug, version)
            return ResolvedSource(identity=str(pinned), source=pinned, credentials=credentials)
        case sources.ArchiveSource(path):
            identity = f"{_ARCHIVE}{archives.digest(path, text_encoding)}"
            return ResolvedSource(identity=identity, source=source, text_encoding=text_encoding)
        case sources.FolderSource(path):
            identity = f"{_FOLDER}{folders.digest(path, links_into)}"
            return ResolvedSource(identity=identity, source=source, links_into=links_into)
        case sources.BucketSource():
            return ResolvedSource(identity=f"{_BUCKET}{buckets.digest(source)}", source=source)
        case sources.DemoSource():
            if demo is None:
                from fer.ingest.demo import archive as demo_archive

                demo = demo_archive.DemoConfig()
            return ResolvedSource(identity=f"demo:{demo.model_dump_json()}", source=source, demo=demo)


@stage.stage("download", resumable=True)
def download(out: Path, resolved: ResolvedSource, *, workspace: Workspace, progress: Progress = silent) -> DatasetRef:
    """Put the source's archive at `dataset.zip`: repacked, so that equal files give equal bytes, or drawn.

    One attempt; after an interrupted download the next one resumes. Raises SourceError, KaggleRefused,
    KaggleUnavailable, StoreError.
    """
    target = out / archives.DATASET
    label = resolved.identity
    left_out: dict[str, int] = {}
    match resolved.source:
        case sources.KaggleSource():
            left_out = kaggle.fetch(resolved.source, target, credentials=resolved.credentials, progress=progress)
        case sources.ArchiveSource(path):
            left_out = archives.repack(
                path,
                target,
                progress,
                expected=resolved.identity.removeprefix(_ARCHIVE),
                text_encoding=resolved.text_encoding,
            )
        case sources.FolderSource(path):
            expected = resolved.identity.removeprefix(_FOLDER)
            left_out = folders.pack(path, target, expected, progress, links_into=resolved.links_into)
        case sources.BucketSource():
            left_out = buckets.pack(resolved.source, target, resolved.identity.removeprefix(_BUCKET), progress)
        case sources.DemoSource():
            from fer.ingest.demo import archive as demo_archive

            label = "demo"
            with disk.replacing(target) as staging:
                demo_archive.write_archive(staging, demo_archive.DemoConfig.model_validate(resolved.demo), progress)
    (out / _SOURCE).write_bytes(f"{label}\n".encode())
    return DatasetRef(
        source=label,
        n_files=len(archives.members(target)),
        size_bytes=target.stat().st_size,
        left_out=left_out,
    )


def versions_here(source: sources.KaggleSource, workspace: Workspace) -> list[sources.KaggleSource]:
    """The versions of a Kaggle dataset that the workspace holds and that need no request, the highest first."""
    prefix = f"{sources.KaggleSource(source.owner, source.slug)}/"
    names = {ref.source for ref in workspace.outputs(download.name, DatasetRef) if ref.source.startswith(prefix)}
    pinned = [parsed for parsed in map(sources.parse, names) if isinstance(parsed, sources.KaggleSource)]
    here = [
        version
        for version in pinned
        if download.found(ResolvedSource(identity=str(version), source=version), workspace=workspace) is not None
    ]
    return sorted(here, key=lambda version: -(version.version or 0))
