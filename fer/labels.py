"""Label names: what data sets write, and the class that each means.

Matching ignores case, spaces and punctuation, so that `Suprise`, `SURPRISED` and `sur-prise` all mean `surprise`.
"""

import unicodedata
from collections.abc import Iterable, Mapping

from fer import errors

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


def normalised(raw: str) -> str:
    """`raw` in lower case with letters and digits only: what labels are compared by."""
    return "".join(each for each in unicodedata.normalize("NFKC", raw).casefold() if each.isalnum())


def spellings(
    classes: Iterable[str], extra_synonyms: Mapping[str, str] | None = None, *, fer2013_numbers: bool = False
) -> dict[str, str]:
    """Every accepted spelling, normalised -> its class.

    A class's own name wins over `extra_synonyms` (spelling -> class), and these over the built-in ones. With
    `fer2013_numbers`, 0-6 count too: only FER2013's CSV means them so, AffectNet and RAF-DB number otherwise.
    Raises LabelError for classes that can't be told apart and for a synonym of what is no class.
    """
    classes = tuple(classes)
    own: dict[str, str] = {}
    for name in classes:
        if not normalised(name) or normalised(name) in own:
            raise errors.LabelError(
                "Class names must differ in their letters and digits.",
                received=", ".join(map(repr, classes)),
                todo="correct the recipe's classes",
            )
        own[normalised(name)] = name
    found: dict[str, str] = {}
    for number, name in enumerate(FER2013_NUMBERS):
        built_in = [normalised(each) for each in (name, *_SYNONYMS[name])]
        meant = next((own[each] for each in built_in if each in own), None)  # a recipe may call happy "happiness"
        if meant is not None:
            found |= dict.fromkeys(built_in + ([str(number)] if fer2013_numbers else []), meant)
    for spelling, name in (extra_synonyms or {}).items():
        if normalised(name) not in own:
            raise errors.LabelError(
                "A synonym must stand for one of the classes.",
                received=f"{spelling!r} for {name!r}, with the classes {', '.join(classes)}",
                todo="correct the recipe's synonyms",
            )
        found[normalised(spelling)] = own[normalised(name)]
    return {**found, **own}
