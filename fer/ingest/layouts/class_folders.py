"""An image's label and split by its path: [any/folders/][split/]CLASS/name.jpg, also CLASS/split/name.jpg.

The class is the deepest folder that is not named like a split (see `split_names`). In FER2013's Kaggle set, `test`
holds two of the official splits, and the file names say which (`PublicTest_123.jpg`): such a prefix wins over the
folder.
"""

import dataclasses
from itertools import accumulate
from pathlib import PurePosixPath

from fer.ingest import archives
from fer.ingest.naming import split_names

READ_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff", ".gif")
)
# With those of formats that are not decoded: they are found, and quarantined.
IMAGE_SUFFIXES = READ_SUFFIXES | {".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k"}


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that should be an image, with its annotations; `defect` says why it can't be used, whatever it holds."""

    path: str
    member: archives.Member | None  # None: a table names it, and it is not there
    raw_label: str | None
    raw_split: str | None
    subject: str | None = None
    defect: str | None = None
    votes: tuple[int, ...] | None = None  # FERPlus's, as `ferplus.CATEGORIES`
    groups: tuple[tuple[str, str], ...] = ()  # column -> group, of those that are known

    @property
    def is_unlabelled(self) -> bool:
        """Whether it is there and nothing says its label."""
        return self.member is not None and not self.raw_label


def suffix(name: str) -> str:
    """The suffix of a file's name in lower case, with its dot."""
    return PurePosixPath(name).suffix.lower()


def image_file(member: archives.Member, splits: split_names.SplitNames) -> ImageFile:
    """The file with the label and split that its path says."""
    *folders, _ = accumulate(member.name.split("/"), "{}/{}".format)
    classes = [label for label in map(splits.label_of_folder, folders) if label is not None]
    return ImageFile(
        member.name,
        member,
        raw_label=classes[-1] if classes else None,
        raw_split=splits.of_image(member.name),
    )
