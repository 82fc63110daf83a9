"""Label names: what data sets write, and the classes that they mean.

Matching ignores case, spaces and punctuation, so that `Suprise`, `SURPRISED` and `sur-prise` all mean `surprise`.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from fer import errors, plain_text

FER2013_NUMBERS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # the CSV's `emotion` column

_SYNONYMS = {
    "angry": ("anger", "angery", "mad"),
    "disgust": ("disgusted", "digust", "digusted", "discust"),
    "fear": ("afraid", "fearful", "fearfull", "frightened", "scared"),
    "happy": ("happiness", "hapiness", "happyness", "hapy", "joy", "joyful"),
    "neutral": ("neutrality", "netural", "nuetral", "neutal", "no emotion"),
    "sad": ("sadness", "saddness", "sadnes"),
    "surprise": ("surprised", "suprise", "suprised", "surprize", "surprized", "suprize"),
}


MISSING = "the label is missing"  # why an image is in quarantine
_WHOLE_NUMBER = re.compile(r"([+-]?)\s*([0-9]+)(?:\.0*)?", re.ASCII)
_MINUSES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212"), "-")  # hyphens, dashes and the minus of Unicode


def normalised(raw: str) -> str:
    """`raw` in lower case with letters and digits only: what labels are compared by. "" is no label at all.

    A whole number stays one: `3.0` is 3, as tables with gaps write it, and -1, often for "unknown", is not 1, with
    whichever minus. Other text without a letter keeps all its marks: `3?` is not 3, and an emoji is not another one. So
    does text that can't be printed: with a NUL at its end `angry` is no class.
    """
    if plain_text.UNPRINTABLE.search(raw):
        return raw
    # Once more after the case is folded: that may leave what has a shorter form.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", raw).casefold()).strip()
    if any(character.isalpha() for character in text):
        return "".join(character for character in text if character.isalnum())
    text = text.translate(_MINUSES)
    number = _WHOLE_NUMBER.fullmatch(text)
    return number[1].removeprefix("+") + number[2] if number else text


def is_number(raw: str) -> bool:
    """Whether a label is a whole number."""
    return _WHOLE_NUMBER.fullmatch(normalised(raw)) is not None


def spellings(
    classes: Iterable[str], extra_synonyms: Mapping[str, str] | None = None, *, fer2013_numbers: bool = False
) -> dict[str, str]:
    """Every accepted spelling, normalised -> its class.

    A class's own name wins over `extra_synonyms` (spelling -> class), and these over the built-in ones. With
    `fer2013_numbers`, 0-6 count too: only FER2013's CSV means them so, AffectNet and RAF-DB number otherwise.
    Raises LabelError for classes that can't be told apart, for a synonym that is empty or of what is no class, and for
    equal ones of two classes.
    """
    classes = tuple(classes)
    own: dict[str, str] = {}
    for name in classes:
        is_plain = any(map(str.isalnum, normalised(name))) and not plain_text.UNPRINTABLE.search(name)
        if not is_plain or normalised(name) in own:
            raise errors.LabelError(
                "Class names must differ in their letters and digits, and be printable.",
                received=", ".join(map(repr, classes)),
                todo="correct the recipe's classes",
            )
        own[normalised(name)] = name
    built_in: dict[str, str] = {}
    for number, name in enumerate(FER2013_NUMBERS):
        synonyms = [normalised(synonym) for synonym in (name, *_SYNONYMS[name])]
        # A recipe may call happy "happiness".
        class_name = next((own[synonym] for synonym in synonyms if synonym in own), None)
        if class_name is not None:
            built_in |= dict.fromkeys(synonyms + ([str(number)] if fer2013_numbers else []), class_name)
    extra: dict[str, str] = {}
    for spelling, name in (extra_synonyms or {}).items():
        if normalised(name) not in own:
            raise errors.LabelError(
                "A synonym must stand for one of the classes.",
                received=f"{spelling!r} for {name!r}, with the classes {', '.join(classes)}",
                todo="correct the recipe's synonyms",
            )
        class_name = own[normalised(name)]
        key = normalised(spelling)
        if not key or extra.setdefault(key, class_name) != class_name:
            raise errors.LabelError(
                "A synonym must not be blank, and must stand for one class, in whatever spelling.",
                received=f"{spelling!r} for {name!r}" + (f" and {extra[key]!r}" if key else ""),
                todo="correct the recipe's synonyms",
            )
    return {**built_in, **extra, **own}


class Decisions:
    """What the labels of a source mean, and which of them mean nothing.

    Arguments as of `spellings`; `ignored` are labels whose images are left out.
    """

    def __init__(
        self,
        classes: Iterable[str],
        synonyms: Mapping[str, str] | None = None,
        ignored: Iterable[str] = (),
        *,
        fer2013_numbers: bool = False,
    ):
        self._classes = tuple(classes)
        self._spellings = spellings(self._classes, synonyms, fer2013_numbers=fer2013_numbers)
        self._ignored = {normalised(label) for label in ignored} - {""}
        if fer2013_numbers:
            for number, name in enumerate(FER2013_NUMBERS):
                if str(number) not in self._spellings and not self._ignored.isdisjoint(
                    normalised(synonym) for synonym in (name, *_SYNONYMS[name])
                ):
                    self._ignored.add(str(number))
        self.fer2013_numbers = fer2013_numbers

    @property
    def known(self) -> set[str]:
        """The labels that are accepted or left out on purpose, normalised."""
        return self._spellings.keys() | self._ignored

    @property
    def meanings(self) -> dict[str, str]:
        """Every accepted spelling, normalised -> its class."""
        return self._spellings

    def is_ignored(self, raw: str | None) -> bool:
        """Whether images of this label are left out; never for a label that is missing."""
        return normalised(raw or "") in self._ignored

    def meaning(self, raw: str) -> str | None:
        """The class that `raw` means, or None."""
        return self._spellings.get(normalised(raw))
