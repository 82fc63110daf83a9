"""Files of an archive, by the names that a table of labels gives them.

A name is read as a path from the table's folder or from the root; as one that differs in one folder, as `labels/0` does
from `images/0`; or as the end of a path. It may lack its suffix or have another, and either side may add something:
`train_00001.jpg` is `train_00001_aligned.jpg` where that holds for most names. Each way counts only if it finds more
than twice as many files as those before it: a name that is read as a path and leads nowhere is rather a missing file
than another of the same name elsewhere.
"""

import bisect
import functools
import posixpath
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from fer.ingest.layouts import class_folders
from fer.ingest.naming import split_names

_SAMPLE = 1_000  # names that are looked at to choose a way to read them all
_MIN_ADDITION_SHARE = 0.5
_JOINTS = "_-. "
_MOST_ADDITIONS = 20  # files that are looked at for one name
_LEAST_SHARE_BESIDE = 0.9  # of names that are found in a folder of another name: fewer may be there by chance


class Name(NamedTuple):
    """A file's name as a table has it, and which of our splits its row says, if it does."""

    text: str
    split: split_names.Split | None = None


_Way = Callable[[Name], list[str]]


class FileFinder:
    """Finds files by what tables call them, in either Unicode form: macOS takes accents apart."""

    def __init__(self, names: Collection[str], splits: split_names.SplitNames):
        self._names = names
        self._splits = splits
        self._paths = self._keyed(str)

    @property
    def n_files(self) -> int:
        """How many files there are to be found."""
        return len(self._names)

    def _keyed(self, key: Callable[[str], str]) -> "Paths":
        return Paths(self._names, key, self._splits)

    @functools.cached_property
    def _caseless(self) -> "Paths":
        return self._keyed(str.casefold)

    @functools.cached_property
    def _stems(self) -> "Paths":
        return self._keyed(_stem)

    @functools.cached_property
    def _last_stems(self) -> tuple[list[str], list[str]]:
        """The stems of all files without their folders, sorted, and the same backwards."""
        stems = {posixpath.basename(_stem(name)) for name in self._names}
        return sorted(stems), sorted(stem[::-1] for stem in stems)

    def find(self, folder: str, names: Mapping[Name, int]) -> dict[Name, list[str]]:
        """The files that names mean to a table in `folder`, by the way that finds most: one, or two of several.

        `names`: name -> in how many rows. Names without a file are left out.
        """
        in_order = sorted(names, key=lambda name: (name.text, name.split or ""))
        sample = {name: names[name] for name in in_order[:: max(1, len(names) // _SAMPLE)]}
        total = sum(sample.values())
        best: _Way | None = None
        n_best = -1
        for n_way, (way, least_share) in enumerate(self._ways(folder, sample)):
            n_found = sum(n for name, n in sample.items() if way(name))
            if n_found > (n_best if n_way < 2 else 2 * n_best) and n_found >= least_share * total:
                best, n_best = way, n_found
            if n_way and 2 * n_best >= total:
                break
        return {} if best is None else {name: files for name in names if (files := best(name))}

    def n_found(self, folder: str, names: Collection[str]) -> int:
        """For how many of the names there is a file, as `find` does."""
        counts = Counter(Name(name) for name in names if name)
        return sum(counts[name] for name in self.find(folder, counts))

    def _ways(self, folder: str, names: Collection[Name]) -> Iterator[tuple[_Way, float]]:
        """Ways to read a name, and the share of names for which each must find a file."""
        yield from _by_key(self._paths, str, folder)
        yield from _by_key(self._caseless, str.casefold, folder)
        yield from _by_key(self._stems, _stem, folder)
        for of_file, key in self._additions([_stem(_joined("", name.text)) for name in names]):
            yield from _by_key(self._keyed(key), _stem, folder) if of_file else _by_key(self._stems, key, folder)

    def _additions(self, sample: Sequence[str]) -> Iterator[tuple[bool, Callable[[str], str]]]:
        """What the files, or else the names, add at one end of their stems, as keys without it."""
        wanted = {posixpath.basename(stem) for stem in sample} - {""}
        for backwards in (False, True):
            addition = _addition_of_files(wanted, self._last_stems[backwards], backwards)
            if addition is not None:
                yield True, functools.partial(_without, addition=addition, backwards=backwards)
        files = frozenset(self._last_stems[0])
        for backwards in (False, True):
            addition = _addition_of_names(wanted, files, backwards)
            if addition is not None:
                yield False, functools.partial(_without, addition=addition, backwards=backwards)


def _by_key(paths: "Paths", key: Callable[[str], str], folder: str) -> Iterator[tuple[_Way, float]]:
    yield lambda name: paths.at(key(_joined(folder, name.text))), 0
    yield lambda name: paths.at(key(_joined("", name.text))), 0
    yield lambda name: paths.beside(key(_joined(folder, name.text))), _LEAST_SHARE_BESIDE
    yield lambda name: paths.by_end(key(_joined("", name.text)), name.split), 0


class Paths:
    """Files by their paths, or by what `key` makes of these."""

    def __init__(self, names: Iterable[str], key: Callable[[str], str], splits: split_names.SplitNames):
        self._splits = splits
        self._split_of_folder: dict[str, split_names.Split | None] = {}
        self._names: dict[str, list[str]] = defaultdict(list)  # key in NFC -> as they are in the archive
        self._ends: dict[str | None, list[str]] = defaultdict(list)  # split -> reversed keys, sorted
        for name in sorted(names):
            path = _composed(key(name))
            self._names[path].append(name)
            self._ends[self._split_of(name)].append(_backwards(path))
        for ends in self._ends.values():
            ends.sort()

    @functools.cached_property
    def _beside(self) -> dict[tuple[int, str], list[str]]:
        """(which folder, the path without it) -> keys."""
        found: dict[tuple[int, str], list[str]] = defaultdict(list)
        for path in self._names:
            for place, shorter in _without_a_folder(path):
                found[place, shorter].append(path)
        return found

    def at(self, path: str) -> list[str]:
        """The file at a path: one name, two where only their Unicode form or what the key left out differs, or none."""
        same = self._names.get(_composed(path), [])
        return [path] if path in same else same[:2]

    def beside(self, path: str) -> list[str]:
        """The files whose path differs in one folder, which is not that of another split."""
        shorter = _without_a_folder(_composed(path))
        keys = {key for place, rest in shorter for key in self._beside.get((place, rest), ())}
        allowed = (None, self._split_of(path))
        return sorted(
            name for key in keys for name in self._names[key] if None in allowed[1:] or self._split_of(name) in allowed
        )[:2]

    def by_end(self, path: str, split: split_names.Split | None) -> list[str]:
        """The file whose path shares the longest end: one name, two where there are several, or none.

        Files in folders of another split than those of `path` don't count; where several are left, those of `split` do.
        """
        path = _composed(path.lstrip("/"))
        backwards = _backwards(path)
        longest = max((_shared(ends, backwards) for ends in self._ends.values()), key=len, default="")
        if not longest:
            return []
        of_path = self._split_of(path)
        splits = self._ends.keys() if of_path is None else {None, of_path} & self._ends.keys()
        matches = {split: _beginning(self._ends[split], longest) for split in splits}
        several = sum(map(len, matches.values())) > 1
        chosen = [split] if split is not None and several and matches.get(split) else list(matches)
        composed = {"/".join(reversed(end[:-1].split("/"))) for one in chosen for end in matches[one]}
        return sorted(
            name for key in composed for name in self._names[key] if len(chosen) > 1 or self._split_of(name) in chosen
        )[:2]

    def _split_of(self, path: str) -> split_names.Split | None:
        """Which of our splits a path's folders stand for."""
        folder = path.rpartition("/")[0]
        if folder not in self._split_of_folder:
            self._split_of_folder[folder] = self._splits.ours(self._splits.of_folders(path))
        return self._split_of_folder[folder]


def _joined(folder: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(folder, name.replace("\\", "/")))


def _composed(path: str) -> str:
    return unicodedata.normalize("NFC", path)


def _stem(path: str) -> str:
    """A path in lower case, without the suffix of an image."""
    stem, suffix = posixpath.splitext(path)
    return (stem if suffix.lower() in class_folders.IMAGE_SUFFIXES else path).casefold()


def _without_a_folder(path: str) -> Iterator[tuple[int, str]]:
    """The path without each of its folders, and which that is."""
    *folders, name = path.split("/")
    for place in range(len(folders)):
        yield place, "/".join([*folders[:place], *folders[place + 1 :], name])


def _backwards(path: str) -> str:
    """The path's parts from the last one on, with a slash after every part."""
    return "/".join(reversed(path.split("/"))) + "/"


def _shared(ends: Sequence[str], path: str) -> str:
    """The longest beginning, by whole parts, that `path` has in common with one of the sorted `ends`."""
    place = bisect.bisect_left(ends, path)
    common = (posixpath.commonprefix([path, *ends[n : n + 1]]) for n in (place - 1, place) if 0 <= n < len(ends))
    return max((start[: start.rfind("/") + 1] for start in common), key=len, default="")


def _beginning(ends: Sequence[str], start: str) -> Sequence[str]:
    """Up to two of the sorted `ends` that begin with `start`."""
    place = bisect.bisect_left(ends, start)
    return [end for end in ends[place : place + 2] if end.startswith(start)]


def _addition_of_files(names: Collection[str], stems: Sequence[str], backwards: bool) -> str | None:
    """What the files of most of the names add at their end, or before them; None if nothing.

    `stems`: those of the files, sorted, and turned if `backwards`.
    """
    additions = Counter[str]()
    for name in names:
        turned = name[::-1] if backwards else name
        for joint in _JOINTS:
            place = bisect.bisect_left(stems, turned + joint)
            near = stems[place : place + _MOST_ADDITIONS]
            additions.update(stem[len(turned) :] for stem in near if stem.startswith(turned + joint))
    return _commonest(additions, len(names), backwards)


def _addition_of_names(names: Collection[str], stems: Collection[str], backwards: bool) -> str | None:
    """What most of the names add to the `stems` of files at their end, or before them; None if nothing."""
    additions = Counter[str]()
    for name in names:
        for place in range(1, len(name)):
            short, rest = (name[place + 1 :], name[: place + 1]) if backwards else (name[:place], name[place:])
            if name[place] in _JOINTS and short in stems:
                additions[rest] += 1
    return _commonest(additions, len(names), False)


def _commonest(additions: Counter[str], n_names: int, backwards: bool) -> str | None:
    """The addition of at least two and most of the names, turned back if it is turned."""
    addition, count = additions.most_common(1)[0] if additions else ("", 0)
    if count < max(2, _MIN_ADDITION_SHARE * n_names):
        return None
    return addition[::-1] if backwards else addition


def _without(path: str, addition: str, backwards: bool) -> str:
    folder, slash, name = _stem(path).rpartition("/")
    return folder + slash + (name.removeprefix(addition) if backwards else name.removesuffix(addition))
