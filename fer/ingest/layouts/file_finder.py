"""Files of an archive, by the names that a table of labels gives them."""

import bisect
import functools
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

from fer.ingest import split_names


class FileFinder:
    """Finds files by what tables call them, in either Unicode form: macOS takes accents apart.

    A name that no file has is looked for without case: to Windows it is the same.
    """

    def __init__(self, names: Collection[str], splits: split_names.SplitNames):
        self._exact = _Names(names, splits, _composed)
        self._names, self._splits = names, splits

    def from_folder(self, folder: str, file: str) -> list[str]:
        """The file at the path `file` from `folder`: one name, two where only case or Unicode form differ, or none."""
        name = posixpath.normpath(posixpath.join(folder, file))
        return self._exact.at(name) or self._without_case.at(name)

    def by_end(self, file: str, split: split_names.Split | None = None) -> list[str]:
        """The file whose path shares the longest end with `file`: one name, two where there are several, or none.

        Files in folders of another split than those of `file` don't count; if these say none, neither do files in
        folders of another than `split`, where that has a folder.
        """
        return self._exact.by_end(file, split) or self._without_case.by_end(file, split)

    @functools.cached_property
    def _without_case(self) -> "_Names":
        return _Names(self._names, self._splits, lambda path: _composed(_composed(path).casefold()))


class _Names:
    """The names of files by one of their forms."""

    def __init__(self, names: Collection[str], splits: split_names.SplitNames, form: Callable[[str], str]):
        self._splits = splits
        self._form = form
        self._by_form: dict[str, list[str]] = defaultdict(list)  # form -> as they are in the archive
        self._ends: dict[str | None, list[str]] = defaultdict(list)  # split -> reversed paths, sorted
        for name in sorted(names):
            self._by_form[form(name)].append(name)
            self._ends[self._split_of(name)].append(_backwards(form(name)))
        for ends in self._ends.values():
            ends.sort()

    def at(self, name: str) -> list[str]:
        same = self._by_form.get(self._form(name), [])
        return [name] if name in same else same[:2]

    def by_end(self, file: str, split: split_names.Split | None) -> list[str]:
        path = posixpath.normpath(file).lstrip("/")
        backwards = _backwards(self._form(path))
        of_path = self._split_of(path)
        if of_path is None and split in self._ends:
            of_path = split
        longest = max((_shared(ends, backwards) for ends in self._ends.values()), key=len, default="")
        if not longest:
            return []
        splits = self._ends.keys() if of_path is None else {None, of_path} & self._ends.keys()
        matches = [end for split in splits for end in _beginning(self._ends[split], longest)]
        forms = {"/".join(reversed(end[:-1].split("/"))) for end in matches}
        return sorted(name for form in forms for name in self._by_form[form])[:2]

    def _split_of(self, path: str) -> split_names.Split | None:
        """Which of our splits a path's folders stand for."""
        return self._splits.ours(self._splits.of_folders(path))


def _composed(path: str) -> str:
    return unicodedata.normalize("NFC", path)


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
