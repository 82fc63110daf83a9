"""Where a dataset comes from, as one line of text.

demo                                the faces that this project draws itself
folder:PATH                         a folder on this machine
archive:PATH.zip                    a zip on this machine
kaggle:OWNER/SLUG[/versions/N]      a dataset on Kaggle, its current version unless one is pinned
s3://BUCKET[/PREFIX]                what lies below a prefix of a bucket of the store
"""

import contextlib
import dataclasses
import re
import unicodedata
from pathlib import Path
from typing import TypeAlias

from fer import errors
from fer.ingest import addresses, archives, other_archives

FORMS = "demo, folder:PATH, archive:PATH.zip, kaggle:OWNER/SLUG[/versions/N] or s3://BUCKET[/PREFIX]"
_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([^?#\s]*))?", re.ASCII)
_HANDLE = re.compile(r"([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)(?:/versions/([1-9][0-9]{0,8}))?", re.ASCII)
JOINED_BY = " + "
_TABLES = (".csv", ".tsv", ".parquet")


@dataclasses.dataclass(frozen=True)
class DemoSource:
    """The faces that the project draws."""

    def __str__(self) -> str:
        return "demo"


@dataclasses.dataclass(frozen=True)
class FolderSource:
    """A folder on this machine, by absolute path."""

    path: Path

    def __str__(self) -> str:
        return f"folder:{self.path}"


@dataclasses.dataclass(frozen=True)
class ArchiveSource:
    """A zip on this machine, by absolute path."""

    path: Path

    def __str__(self) -> str:
        return f"archive:{self.path}"


@dataclasses.dataclass(frozen=True)
class KaggleSource:
    """A dataset on Kaggle; without `version`, the current one."""

    owner: str
    slug: str
    version: int | None = None

    @property
    def page(self) -> str:
        """The address of the dataset's page."""
        return f"https://www.kaggle.com/datasets/{self.owner}/{self.slug}"

    def __str__(self) -> str:
        pinned = "" if self.version is None else f"/versions/{self.version}"
        return f"kaggle:{self.owner}/{self.slug}{pinned}"


@dataclasses.dataclass(frozen=True)
class BucketSource:
    """What lies below a prefix of a bucket of the store that the settings name; an empty prefix is all of it."""

    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


Source: TypeAlias = DemoSource | FolderSource | ArchiveSource | KaggleSource | BucketSource


def parse(text: str) -> Source:
    """Read a source from its line of text.

    Raises ConfigError where it has none of the forms above, SourceError where a path is not that of a folder or zip.
    """
    if JOINED_BY in text or len(text.strip().splitlines()) > 1:
        raise errors.ConfigError(
            f"A source must be one line of text without {JOINED_BY!r}, which joins several.",
            received=repr(text),
            todo="give each source by itself, or rename the folder or archive",
        )
    kind, separator, rest = text.strip().partition(":")
    if (match := _BUCKET.fullmatch(text.strip())) and not addresses.is_packed(text.strip()):
        return BucketSource(match[1], (match[2] or "").strip("/"))
    if address := addresses.in_text(text):
        raise errors.ConfigError(f"A source must be {FORMS}.", received=repr(address.shown), todo=address.todo)
    if kind == "demo" and not separator:
        return DemoSource()
    if kind == "folder" and rest:
        return _folder(rest)
    if kind == "archive" and rest:
        return _archive(rest)
    if kind == "kaggle" and (match := _HANDLE.fullmatch(rest)):
        owner, slug, version = match.groups()
        return KaggleSource(owner, slug, int(version) if version else None)
    raise errors.ConfigError(f"A source must be {FORMS}.", received=repr(text), todo=_hint(kind, text.strip()))


def slug(source: Source) -> str:
    """A source's part of a name, `[a-z0-9-]`: its folder's or archive's name, or OWNER-SLUG of Kaggle."""
    match source:
        case DemoSource():
            kind, name = "demo", "demo"
        case FolderSource(path):
            kind, name = "folder", path.name
        case ArchiveSource(path):
            kind, name = "archive", path.stem
        case KaggleSource(owner, dataset):
            kind, name = "kaggle", f"{owner}-{dataset}"
        case BucketSource(bucket, prefix):
            kind, name = "bucket", f"{bucket}-{prefix}"
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or kind


def _folder(given: str) -> FolderSource:
    path = _absolute(given, "folder")
    if not _is(path, "dir"):
        todo = "check the path"
        if _is(path, "file"):
            todo = _form_of_file(given)
        received = f"a file at {path}" if _is(path, "file") else f"no folder at {path}"
        raise errors.SourceError("The folder must exist.", received=received, todo=todo)
    return FolderSource(path)


def _archive(given: str) -> ArchiveSource:
    path = _absolute(given, "archive")
    if _is(path, "dir"):
        raise errors.SourceError(
            "The archive must be a zip file.", received=f"the folder {path}", todo=f"write folder:{given}"
        )
    if path.suffix.lower() in _TABLES and _is(path, "file"):
        raise errors.SourceError(
            "The archive must be a zip file.", received=f"a table at {path}", todo=_form_of_file(given)
        )
    archives.require_zip(path)
    return ArchiveSource(path)


def _absolute(path: str, kind: str) -> Path:
    """One name for a folder however it is reached by `..`; a link keeps its own, since it may be moved on."""
    try:
        absolute = Path(path).expanduser().absolute()
        return absolute.resolve() if ".." in absolute.parts else absolute
    except (RuntimeError, ValueError):  # ~someone, of whom this machine does not know; a NUL
        raise errors.SourceError(f"The {kind} must exist.", received=path, todo="check the path") from None


def _is(path: Path, kind: str) -> bool:
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # too long, not ours to see, a NUL, ~nobody
        return path.expanduser().is_dir() if kind == "dir" else path.expanduser().is_file()
    return False


def _form_of_file(given: str) -> str:
    if Path(given).suffix.lower() in _TABLES:
        return (
            f"put it and the images that belong to it in a folder of their own, and write folder:{Path(given).parent}"
        )
    path = Path(given).expanduser()
    with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
        if other := other_archives.look(path, file.read(other_archives.START_BYTES)):
            return other.todo
    return f"write archive:{given}"


def _hint(kind: str, text: str) -> str:
    if kind == "kaggle":
        return "take OWNER/SLUG from the address of the dataset's page, https://www.kaggle.com/datasets/OWNER/SLUG"
    if text and _is(Path(text), "dir"):
        return f"write folder:{text}"
    if text.endswith(".zip") or (text and _is(Path(text), "file")):
        return _form_of_file(text)
    if _HANDLE.fullmatch(text):
        return f"write kaggle:{text} for a dataset on Kaggle; or check the path, and write folder:{text}"
    return "give one of these forms, e.g. kaggle:msambare/fer2013"


def family(source: str) -> str:
    """`source` (as in `ManifestRef.source`) without versions and digests: `kaggle:owner/slug`, `archive` or `demo`."""
    return JOINED_BY.join(_family(part) for part in source.split(JOINED_BY))


def _family(source: str) -> str:
    kind, _, rest = source.partition(":")
    return f"{kind}:{rest.split('/versions/')[0]}" if kind == "kaggle" else kind
