"""Where a dataset comes from, as one line of text.

demo                                the faces that this project draws itself
archive:PATH.zip                    a zip on this machine
kaggle:OWNER/SLUG[/versions/N]      a dataset on Kaggle, its current version unless one is pinned
"""

import dataclasses
import re
from pathlib import Path
from typing import TypeAlias

from fer import archives, errors

FORMS = "demo, archive:PATH.zip or kaggle:OWNER/SLUG[/versions/N]"
_HANDLE = re.compile(r"([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)(?:/versions/([1-9][0-9]{0,8}))?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class DemoSource:
    """The faces that the project draws."""

    def __str__(self) -> str:
        return "demo"


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


Source: TypeAlias = DemoSource | ArchiveSource | KaggleSource


def parse(text: str) -> Source:
    """Read a source from its line of text.

    Raises ConfigError where it has none of the forms above, SourceError where an archive's path is not that of a zip.
    """
    kind, separator, rest = text.strip().partition(":")
    if kind == "demo" and not separator:
        return DemoSource()
    if kind == "archive" and rest:
        path = _absolute(rest)
        archives.require_zip(path)
        return ArchiveSource(path)
    if kind == "kaggle" and (found := _HANDLE.fullmatch(rest)):
        owner, slug, version = found.groups()
        return KaggleSource(owner, slug, int(version) if version else None)
    raise errors.ConfigError(f"A source must be {FORMS}.", received=repr(text), todo=_hint(kind, text))


def _absolute(path: str) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:  # ~someone, of whom this machine does not know
        raise errors.SourceError("The archive must exist.", received=path, todo="check the path") from None


def _hint(kind: str, text: str) -> str:
    if "kaggle.com/" in text or kind == "kaggle":
        return "take OWNER/SLUG from the address of the dataset's page, https://www.kaggle.com/datasets/OWNER/SLUG"
    if text.strip().endswith(".zip"):
        return f"write archive:{text.strip()}"
    return "give one of these forms, e.g. kaggle:msambare/fer2013"
