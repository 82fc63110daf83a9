"""An image's label and split by its path: [any/folders/][split/]CLASS/name.jpg, also CLASS/split/name.jpg.

The class is the deepest folder that is not named like a split. In FER2013's Kaggle set, `test` holds two of the
official splits, and the file names say which (`PublicTest_123.jpg`): such a prefix wins over the folder.
"""

import dataclasses
import functools
import re
from pathlib import PurePosixPath

from fer.ingest import archives, labels

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff", ".gif")
)
# Names of splits, in lower case -> which of ours it is. `split.SplitConfig.official` knows the same.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "public", "publictest"), "validation"),
    **dict.fromkeys(("test", "testing", "private", "privatetest"), "test"),
}
_AFFIX = (
    "dataset|data|set|subset|split|folder|images|image|imgs|img|faces|files|labels|label|annotations|annotation|list"
)
_AFFIXES = re.compile(f"^(?:{_AFFIX})|(?:{_AFFIX})$")  # `train_set`, `Test Images`, `train_labels.csv`
_SPLIT_PREFIX = re.compile(r"(Training|PublicTest|PrivateTest)_")


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that should be an image, with its annotations; `defect` says why it can't be used, whatever it holds."""

    path: str
    member: archives.Member | None  # None: a table names it, and it is not there
    raw_label: str | None
    raw_split: str | None
    subject: str | None = None
    defect: str | None = None


def suffix(name: str) -> str:
    """The suffix of a file's name in lower case, with its dot."""
    return PurePosixPath(name).suffix.lower()


@functools.lru_cache(maxsize=4_096)
def split_of(name: str) -> str | None:
    """The split that the name of a folder or table, or a cell, stands for: itself, or `train` of `train_set`."""
    core = name.strip()
    if core.lower() in SPLITS:
        return core
    core = labels.normalised(core)
    while core not in SPLITS:
        shorter = _AFFIXES.sub("", core, count=1)
        if shorter == core:
            return None
        core = shorter
    return core


def canonical_split(raw_split: str | None) -> str | None:
    """Which of our splits a name from `split_of` is."""
    return None if raw_split is None else SPLITS.get(raw_split.lower())


def split_of_folders(path: str) -> str | None:
    """The split that the deepest of the folders above a file stands for, if any does."""
    return next(filter(None, map(split_of, reversed(path.split("/")[:-1]))), None)


def split_of_stem(path: str) -> str | None:
    """The split that the name of a table stands for, whatever its folders are."""
    return split_of(PurePosixPath(path).stem)


def image_file(member: archives.Member) -> ImageFile:
    """The file with the label and split that its path says."""
    *folders, name = member.name.split("/")
    classes = [folder for folder in folders if split_of(folder) is None]
    prefix = _SPLIT_PREFIX.match(name)
    return ImageFile(
        member.name,
        member,
        raw_label=classes[-1] if classes else None,
        raw_split=prefix[1] if prefix else split_of_folders(member.name),
    )
