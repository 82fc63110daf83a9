"""Who is shown, by the names of files and folders: noticed, so that a pattern for it can be proposed.

A place in the names – a folder, or a part of the file's name – says a subject if it has several values, each with
several images, mostly of several classes, and no counter's look: `S005_001_3.png`, `KA.AN1.39.tiff`, `Actor_03/1.png`.
Where a value has one image a class, as `12` in `happy_12.png` and `sad_12.png`, it only counts if it is called like a
subject (`subj12`).
"""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fer import plain_text

_LEAST_SUBJECTS = 4
_LEAST_IMAGES = 3  # of a subject, in the mean
_MOST_OTHERS = 0.1  # share of images without the value
_MOST_SPELLINGS = 4  # of the letters before a number, such as F and M
_MOST_SPLITS = 3  # values of a part that may be a split's name
_SHOWN = 4
_BEGIN, _REST = "(?:^|/)", "[^/]*$"  # of a pattern for the file's name
# Letters before a number that stand for a person; with these it needs no further sign.
_CALLED_SUBJECT = (
    "subject|subj|sub|sbj|sj|s|person|pers|p|participant|actor|actress|patient|pat|speaker|user|identity|ident|id|model|"
    "individual|ind|child|kid|proband|vp|f|m|female|male|woman|man|sn"
)
_CALLED_OTHERWISE = (
    "img|image|im|pic|picture|photo|frame|fr|face|dsc|pict|fold|part|batch|split|set|session|chunk|shard|v|version|aug|"
    "crop|rot|flip|copy|clip|video|vid|page|class|label|emotion|train|test|val|training|screenshot|n|no|nr|c|t|x|y"
)
_PERSON = re.compile(rf"({_CALLED_SUBJECT})[ _-]?([0-9]{{1,5}})", re.IGNORECASE)
_NUMBERED = re.compile(r"([A-Za-z]{1,12})([0-9]{1,5})")
_OTHERWISE = re.compile(rf"(?:{_CALLED_OTHERWISE})", re.IGNORECASE)
_GLUED = re.compile(r"[A-Z]{0,2}([FM][0-9]{2,3})[A-Z]{2,}")  # KDEF: session, sex and number, expression, angle
_AUGMENTED = re.compile(r"aug|flip|rot|crop|mirror|noise|zoom|scale|shift|bright|copy|jitter", re.IGNORECASE)
_SEPARATOR = re.compile(r"[._ -]+")
_DATE = re.compile(r"(?:19|20)[0-9]{2}(?:[01][0-9][0-3][0-9])?")


class Proposal(NamedTuple):
    """A pattern for `index.subject_pattern`, the subjects that it finds and in how many images."""

    pattern: str
    subjects: tuple[str, ...]  # the most frequent first
    n_images: int

    def sentence(self, of_source: str) -> str:
        """What the report says about it; `of_source` is said of the images."""
        examples = ", ".join(map(plain_text.quoted, self.subjects[:_SHOWN]))
        setting = shlex.quote(f"index.subject_pattern={self.pattern}")
        return (
            f"the names of {self.n_images:,} images {of_source}look as if they said who is shown ({examples}, …: "
            f"{len(self.subjects):,} in all). If they do, people lie in several splits unless --set {setting} keeps "
            "them together; if they do not, --set index.subject_pattern= says so"
        )


def propose(labels: Mapping[str, str | None]) -> Proposal | None:
    """The pattern that finds a subject in the paths of images (path -> label), if they look as if they held one."""
    paths = list(labels)
    n_images = len(paths)
    if n_images < _LEAST_SUBJECTS * _LEAST_IMAGES:
        return None
    for pattern, is_called_so in _patterns(paths, list(labels.values())):
        search = re.compile(pattern).search
        subjects = {path: match[1] for path in paths if (match := search(path))}
        if n_images - len(subjects) <= _MOST_OTHERS * n_images and _are_subjects(subjects, labels, is_called_so):
            counts = Counter(subjects.values())
            return Proposal(pattern, tuple(value for value, _ in counts.most_common()), len(subjects))
    return None


def _are_subjects(subjects: Mapping[str, str], labels: Mapping[str, str | None], is_called_so: bool) -> bool:
    """Whether values (path -> value) are spread over images and labels as those of people are."""
    by_value: dict[str, list[str]] = defaultdict(list)
    for path, value in subjects.items():
        by_value[value].append(path)
    if not _LEAST_SUBJECTS <= len(by_value) <= len(subjects) / _LEAST_IMAGES:
        return False
    n_several = sum(len(paths) for paths in by_value.values() if len({labels[path] for path in paths}) > 1)
    if is_called_so:
        return n_several > 0 or len(by_value) > len(set(labels.values()))
    names: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    for value, paths in by_value.items():
        for path in paths:
            names[value, labels[path]].add(path.rpartition("/")[2])
    n_repeated = sum(len(same) > 1 for same in names.values())
    return 5 * n_several >= 4 * len(subjects) and 3 * n_repeated >= len(names)


def _patterns(paths: Sequence[str], labels: Sequence[str | None]) -> Iterator[tuple[str, bool]]:
    """Patterns that most paths match, and whether they are called like a subject, the clearest first."""
    stems = [path.rpartition("/")[2].rpartition(".")[0] or path.rpartition("/")[2] for path in paths]
    if _most(Counter(_GLUED.match(stem) is not None for stem in stems), bool):
        yield _BEGIN + _GLUED.pattern, True
    for level in range(min(path.count("/") for path in paths)):
        if found := _numbered(Counter(path.split("/", level + 1)[level] for path in paths)):
            yield f"^{'[^/]*/' * level}{found[0]}/", found[1]
    if _most(Counter(stems[:: max(1, len(stems) // 100)]), lambda stem: _AUGMENTED.search(stem) is not None):
        return
    parts = [_SEPARATOR.split(stem) for stem in stems]
    before = ""  # the pattern of the parts before
    words_before: list[str] = []  # these parts; "" for one that is not always the same
    for place in range(min(map(len, parts))):
        values = [part[place] for part in parts]
        counts = Counter(values)
        of_label = _follow(values, labels)
        if len(counts) <= len(values) / _LEAST_IMAGES:
            is_last = sum(len(part) == place + 1 for part in parts) > _MOST_OTHERS * len(parts)
            if (found := _numbered(counts)) and (found[1] or not (is_last or of_label)):
                yield f"{_BEGIN}{before}{found[0]}{'' if is_last else '[._ -]'}{_REST}", found[1]
            elif not (found or is_last or of_label) and (shape := _shape(counts)) and _may_follow(place, words_before):
                yield f"{_BEGIN}{before}({shape})[._ -]{_REST}", _is_called_subject(words_before)
        if len(counts) > _MOST_SPLITS and not of_label:
            return
        words_before.append(values[0] if len(counts) == 1 else "")
        before += "[^/._ -]*[._ -]+"


def _may_follow(place: int, words: Sequence[str]) -> bool:
    """Whether a number or name may be a subject after these words: no counter of frames, and no part of a date."""
    if place == 0:
        return True
    return words[-1] != "" and not _OTHERWISE.fullmatch(words[-1]) and not any(map(_DATE.fullmatch, words))


def _is_called_subject(words: Sequence[str]) -> bool:
    return bool(words) and _PERSON.fullmatch(f"{words[-1]}0") is not None


def _numbered(counts: Counter[str]) -> tuple[str, bool] | None:
    """The pattern of values that are letters with a number, and whether these are called like a subject."""
    for pattern, separator, is_called_so in ((_PERSON, "[ _-]?", True), (_NUMBERED, "", False)):
        matches = {value: match for value in counts if (match := pattern.fullmatch(value))}
        letters = sorted({match[1] for match in matches.values()})
        if not _most(counts, matches.__contains__) or len(letters) > _MOST_SPELLINGS:
            continue
        if is_called_so or not any(map(_OTHERWISE.fullmatch, letters)):
            return f"({'|'.join(f'{letter}{separator}[0-9]+' for letter in letters)})", is_called_so
    return None


def _shape(counts: Counter[str]) -> str | None:
    """The pattern of values that are numbers, initials, or names."""
    if _most(counts, lambda value: re.fullmatch(r"[0-9]{1,6}", value) is not None and not _DATE.fullmatch(value)):
        return "[0-9]+"
    if _most(counts, lambda value: re.fullmatch(r"[A-Z]{2,3}", value) is not None):
        return "[A-Z]+"
    if len(counts) >= 2 * _LEAST_SUBJECTS and _most(
        counts, lambda value: re.fullmatch(r"[A-Z][a-z]{2,}", value) is not None
    ):
        return "[A-Z][a-z]+"
    return None


def _most(counts: Counter[Any], is_so: Callable[[Any], bool]) -> bool:
    """Whether values are so, all but a few of them."""
    return sum(n for value, n in counts.items() if is_so(value)) >= (1 - _MOST_OTHERS) * counts.total()


def _follow(values: Sequence[str], labels: Sequence[str | None]) -> bool:
    """Whether most images' value goes with one label only: it names the label."""
    labels_of: dict[str, set[str | None]] = defaultdict(set)
    for value, label in zip(values, labels, strict=True):
        labels_of[value].add(label)
    return len(labels_of) <= 2 * len(set(labels)) and _most(Counter(values), lambda value: len(labels_of[value]) == 1)
