"""What the path of an image says of it: [any/folders/][split/]CLASS/name.jpg, also CLASS/split/name.jpg.

The class is the deepest folder that is not named like a split. In FER2013's Kaggle set, `test` holds two of the
official splits, and the file names say which (`PublicTest_123.jpg`): such a prefix wins over the folder.
"""

import dataclasses
import re
from pathlib import PurePosixPath

from fer import archives

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff", ".gif")
)
SPLIT_FOLDERS = frozenset(
    {"train", "training"}
    | {"val", "valid", "validation", "public", "publictest"}
    | {"test", "testing", "private", "privatetest"}
)
_SPLIT_PREFIX = re.compile(r"(Training|PublicTest|PrivateTest)_")


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that should be an image, and what is said of it; `defect` says why it can't be used, whatever it holds."""

    path: str
    member: archives.Member | None  # None: it is said to be there, and is not
    raw_label: str | None
    raw_split: str | None
    subject: str | None = None
    defect: str | None = None


def suffix(name: str) -> str:
    """The suffix of a file's name in lower case, with its dot."""
    return PurePosixPath(name).suffix.lower()


def image_file(member: archives.Member) -> ImageFile:
    """What the path says."""
    *folders, name = member.name.split("/")
    splits = [each for each in folders if each.lower() in SPLIT_FOLDERS]
    classes = [each for each in folders if each.lower() not in SPLIT_FOLDERS]
    prefix = _SPLIT_PREFIX.match(name)
    return ImageFile(
        member.name,
        member,
        raw_label=classes[-1] if classes else None,
        raw_split=prefix[1] if prefix else splits[-1] if splits else None,
    )
