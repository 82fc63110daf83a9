"""What to set so that a source's labels are known: whole settings, ready to be pasted behind the same command.

What a label may mean is only ever proposed: `0_angry`, `Happy Faces` and `surprise - Copy` are guessed by their words,
short codes such as `AN` and `HAP` by the one class that begins so, and numbers not at all.
"""

import json
import re
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fer import errors, plain_text
from fer.ingest.naming import labels

_SHOWN = 8  # labels that an error lists
_MOST_LABELS = 60  # in a setting
_INDENT = "\n    "
_LONGEST = 60  # characters of a label that is repeated
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NEGATIONS = {"not", "non", "no", "un", "without", "anti"}
_CODE_CHARS = (2, 4)
_LEAST_CODED_CLASSES = 3
_SAMPLE = 1_000  # paths that are looked at for a pattern
_JOINTS = r"_.\- "
_PATTERNS = (
    rf"[{_JOINTS}]([A-Za-z]+)/[^/]*$",  # aia/aia_anger/1.png
    r"(?:^|/)([A-Za-z]+)[^/A-Za-z][^/]*$",  # happy_1.png
    rf"(?:^|/)[^/{_JOINTS}]+[{_JOINTS}]+([A-Za-z]+)[^/A-Za-z][^/]*$",  # S1_happy.png
    *(rf"(?:^|/)(?:[^/{_JOINTS}]+[{_JOINTS}]+){{{n}}}([A-Za-z]+)[^/A-Za-z][^/]*$" for n in range(2, 6)),
    rf"[{_JOINTS}]([A-Za-z]+)[0-9]*\.[^./]+$",  # any_number_of_words_happy.png
    r"(?:^|/)[A-Za-z]{2}[0-9]{2}([A-Za-z]{2})[A-Za-z]*\.[^./]+$",  # AF01ANS.JPG
)


class Tally:
    """What labels the sources of a run have: those that are known, those that are not, and images without one."""

    def __init__(self, classes: Sequence[str], synonyms: Mapping[str, str], ignored: Sequence[str]):
        self.classes = tuple(classes)
        self.synonyms = dict(synonyms)
        self.ignored = tuple(ignored)
        self.known: dict[tuple[str, bool], str] = {}  # (label, whether numbers are FER2013's) -> class
        self.unknown: Counter[str] = Counter()
        self.unlabelled: list[str] = []

    def decide(self, decisions: labels.Decisions, path: str, raw: str | None) -> str | None:
        """The class that `raw` (None: the file is in no folder) means; if none, `require_all_known` will raise."""
        label = None if raw is None else decisions.meaning(raw)
        if raw is None:
            self.unlabelled.append(path)
        elif label is None:
            self.unknown[raw] += 1
        else:
            self.known[labels.normalised(raw), decisions.fer2013_numbers] = label
        return label

    def require_all_known(self, hints: Collection[str] = ()) -> None:
        """Raise LabelError if `decide` met a label that means none of the classes. `hints` end what is to be done."""
        if not self.unknown and not self.unlabelled:
            return
        most = sorted(self.unknown.items(), key=lambda item: (-item[1], item[0]))
        examples = [f"{plain_text.quoted(raw)} ({_images(count)})" for raw, count in most[:_SHOWN]]
        if len(most) > _SHOWN:
            examples.append(f"{len(most) - _SHOWN:,} more")
        if self.unlabelled:
            example = plain_text.quoted(self.unlabelled[0])
            examples.append(f"{_images(len(self.unlabelled))} in no class folder, e.g. {example}")
        todo = (
            "choose a recipe with these classes, or say what the labels mean by index.synonyms or index.ignore_labels"
        )
        if lines := self.lines():
            todo = _INDENT.join(["add to the command the line that is right:", *lines])
            todo += "\nor choose a recipe with other classes, or leave such images out by index.ignore_labels"
        if numbers := self.fill_in():
            todo += (
                "; numbers mean other things in other data sets, so that none is guessed: write its class in each "
                f"place of CLASS:{_INDENT}{numbers}\nor leave such images out by index.ignore_labels"
            )
        if self.unlabelled:
            todo += "; --set index.ignore_unlabelled=true leaves images in no class folder out"
        raise errors.LabelError(
            f"Every image must be labelled with one of the classes {', '.join(self.classes)}, or a spelling of it.",
            received=", ".join(examples),
            todo="; ".join([todo, *hints]),
        )

    def lines(self) -> list[str]:
        """The settings with which the same sources are accepted, the likeliest first; none where none is sure to do."""
        if not self.unknown or len(self.unknown) > _MOST_LABELS or any(len(raw) > _LONGEST for raw in self.unknown):
            return []
        proposals = [self._as_spellings(), self._as_classes(), self._left_out()]
        return list(dict.fromkeys(_line(proposal) for proposal in proposals if proposal and self._does(proposal)))

    def fill_in(self) -> str:
        """A setting to be filled in for labels that are numbers; "" without any."""
        numbers = sorted((raw for raw in self.unknown if labels.is_number(raw)), key=lambda raw: (len(raw), raw))
        if not numbers or len(numbers) > _MOST_LABELS or any(len(raw) > _LONGEST for raw in numbers):
            return ""
        return _line({"synonyms": self.synonyms | dict.fromkeys(numbers, "CLASS")})

    def _as_spellings(self) -> dict[str, Any] | None:
        """All unknown labels as spellings of the recipe's classes, if each can be guessed."""
        guesses = guessed(self.unknown, labels.spellings(self.classes, self.synonyms))
        return {"synonyms": self.synonyms | guesses} if len(guesses) == len(self.unknown) else None

    def _as_classes(self) -> dict[str, Any] | None:
        """The classes that are there, unknown labels among them, some guessed to be spellings of others."""
        if any(map(labels.is_number, self.unknown)):
            return None
        meanings = labels.spellings(labels.FER2013_NUMBERS) | labels.spellings(self.classes, self.synonyms)
        usual = {raw: meanings[key] for raw in self.unknown if (key := labels.normalised(raw)) in meanings}
        guesses = guessed([raw for raw in self.unknown if raw not in usual], meanings)
        present = {*self.known.values(), *guesses.values(), *usual.values()}
        new: dict[str, str] = {}  # normalised -> its commonest spelling
        for raw, _ in sorted(self.unknown.items(), key=lambda item: (-item[1], item[0])):
            if raw not in guesses and raw not in usual:
                new.setdefault(labels.normalised(raw), raw.strip())
        names = [name for name in self.classes if name in present]
        names += sorted({*present, *new.values()} - set(names))
        return self.with_classes(names, guesses)

    def _left_out(self) -> dict[str, Any] | None:
        """The recipe's classes that are there, without the images of other labels."""
        present = set(self.known.values())
        settings = self.with_classes([name for name in self.classes if name in present], {})
        return settings | {"ignore_labels": [*self.ignored, *self.unknown]}

    def with_classes(self, classes: Sequence[str], synonyms: dict[str, str]) -> dict[str, Any]:
        """These classes, with the recipe's own synonyms for them and more."""
        kept = {raw: name for raw, name in self.synonyms.items() if _among(name, classes)}
        settings: dict[str, Any] = {} if list(classes) == list(self.classes) else {"classes": list(classes)}
        return settings | ({"synonyms": kept | synonyms} if kept | synonyms != self.synonyms else {})

    def _does(self, proposal: Mapping[str, Any]) -> bool:
        """Whether all labels are known with these settings."""
        classes = proposal.get("classes", self.classes)
        if len(classes) < 2:
            return False
        try:
            by_name, by_number = (
                labels.Decisions(
                    classes,
                    proposal.get("synonyms", self.synonyms),
                    proposal.get("ignore_labels", self.ignored),
                    fer2013_numbers=numbers,
                )
                for numbers in (False, True)
            )
        except errors.LabelError:
            return False
        known = all(labels.normalised(raw) in (by_number if numbers else by_name).known for raw, numbers in self.known)
        return known and all(labels.normalised(raw) in by_name.known for raw in self.unknown)


def classes_line(
    kept: Collection[str],
    left_out: Collection[str],
    classes: Sequence[str],
    synonyms: Mapping[str, str],
    ignored: Sequence[str],
) -> str:
    """The settings that keep these of a recipe's classes, and leave images of the labels `left_out` out.

    "" if fewer than two classes are kept, or too many labels are left out to be shown.
    """
    names = [name for name in classes if name in kept]
    if len(names) < 2 or len(left_out) > _MOST_LABELS or any(len(raw) > _LONGEST for raw in left_out):
        return ""
    settings = Tally(classes, synonyms, ignored).with_classes(names, {})
    more = [raw for raw in left_out if labels.normalised(raw) not in map(labels.normalised, ignored)]
    return _line(settings | ({"ignore_labels": [*ignored, *more]} if more else {}))


def pattern_line(paths: Sequence[str], meanings: Mapping[str, str]) -> str:
    """The setting of the pattern that finds a label in all paths, if one does; "" otherwise.

    `meanings`: label, normalised -> class.
    """
    sample = paths[:: max(1, len(paths) // _SAMPLE)]
    for pattern in _PATTERNS:
        found = [match[1] if (match := re.search(pattern, path)) else "" for path in sample]
        known = {meanings.get(labels.normalised(raw)) for raw in found}
        coded = set() if None not in known else {_by_code(raw, meanings) for raw in set(found)}
        if (None not in known and len(known) > 1) or (None not in coded and len(coded) >= _LEAST_CODED_CLASSES):
            return f"--set {shlex.quote(f'index.label_pattern={pattern}')}"
    return ""


def guessed(raws: Collection[str], meanings: Mapping[str, str]) -> dict[str, str]:
    """Label -> the class that its words mean; by short codes only if all are such. `meanings`: normalised -> class."""
    by_word = {raw: _by_word(raw, meanings) for raw in raws}
    by_code = {raw: _by_code(raw, meanings) for raw in raws}
    all_coded = None not in by_code.values() and len(set(by_code.values())) >= _LEAST_CODED_CLASSES
    guesses: Mapping[str, str | None] = by_code if all_coded and None in by_word.values() else by_word
    return {raw: name for raw, name in guesses.items() if name is not None}


def _by_word(raw: str, meanings: Mapping[str, str]) -> str | None:
    words = [word.casefold() for part in _CAMEL.split(raw) for word in _WORD.findall(part)]
    found = {meanings[word] for word in words if word in meanings}
    return found.pop() if len(found) == 1 and _NEGATIONS.isdisjoint(words) else None


def _by_code(raw: str, meanings: Mapping[str, str]) -> str | None:
    code = labels.normalised(raw)
    if not _CODE_CHARS[0] <= len(code) <= _CODE_CHARS[1] or not code.isalpha():
        return None
    found = {name for spelling, name in meanings.items() if spelling.startswith(code)}
    return found.pop() if len(found) == 1 else None


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"


def _among(name: str, classes: Collection[str]) -> bool:
    return labels.normalised(name) in map(labels.normalised, classes)


def _line(settings: Mapping[str, Any]) -> str:
    """Settings of the index as a command takes them, on one line."""
    texts = []
    for name, value in settings.items():
        text = json.dumps(value, ensure_ascii=False)
        texts.append(f"--set {shlex.quote(f'index.{name}={text if text.isprintable() else json.dumps(value)}')}")
    return " ".join(texts)
