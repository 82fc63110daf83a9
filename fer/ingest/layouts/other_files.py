"""Files of a source that are no images and hold no labels that are used: what kinds there are."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from fer import errors, plain_text
from fer.ingest import archives
from fer.ingest.layouts import class_folders, ferplus, label_grids

LABEL_TABLE = "label table"
VOTES = "FERPlus votes"
NESTED = "nested archive"
_MAX_SUFFIX_CHARS = 16  # of one that is counted by itself
_NESTED = re.compile(r"(\.tar)?\.(zip|tar|t?gz|tgz|bz2|xz|zst|7z|rar)")


def kind(member: archives.Member, columns: Sequence[str] = ()) -> str:
    """The kind that a file which is not used is counted by; `columns` are those of a table."""
    if ferplus.is_votes(columns):
        return VOTES
    if label_grids.is_label_table(columns, {}):
        return LABEL_TABLE
    nested = _NESTED.search(PurePosixPath(member.name).name.lower())
    if nested and nested.end() == len(PurePosixPath(member.name).name):
        return f"{NESTED} ({nested[0]})"
    suffix = class_folders.suffix(member.name) or "no suffix"
    return suffix if len(suffix) <= _MAX_SUFFIX_CHARS else f"{suffix[:_MAX_SUFFIX_CHARS]}..."


def no_images(members: Sequence[archives.Member], hint: str, *, has_votes: bool) -> errors.SourceError:
    """The error for a source without images; `hint` is what its files that look like labels need."""
    kinds = Counter(map(kind, members))
    shown = ", ".join(f"{kind}: {count:,}" for kind, count in kinds.most_common(5))
    todo = f"give a source of {', '.join(sorted(suffix[1:] for suffix in class_folders.READ_SUFFIXES))} files"
    if has_votes:
        todo = "set index.votes to soft or majority, and give FER2013's fer2013.csv as well"
    elif any(kind.startswith(NESTED) for kind in kinds):
        names = [plain_text.quoted(member.name) for member in members if kind(member).startswith(NESTED)]
        todo = f"unpack the archive inside the source ({', '.join(names[:3])}), and give the folder of what was in it"
    elif hint:
        todo += f"; {hint}"
    return errors.SourceError(
        "The source must hold images in class folders or with a table of labels, or a CSV with the columns emotion and "
        "pixels.",
        received=f"{len(members):,} files, none an image ({shown})",
        todo=todo,
    )
