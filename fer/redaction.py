"""What looks like a key is never shown: not in an error, a log, an artifact or a flow's parameters.

Known are the forms of the keys that people of this field have at hand, and text that only chance can have made. Left as
they are: digests and UUIDs, which name things here, signed links, which are made to be shared, and whatever people
write as names of files.
"""

import re
from itertools import pairwise

MASK = "…"  # what is shown in a key's place

_NAMED = re.compile(
    r"""
      -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----[\s\S]*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|$)
    | (?<=://)[^\s/?\#@'"<>]{1,256}(?=@[\w.\[-])            # who a URL is opened by
    | (?<![A-Za-z0-9])(?:
        (?<!X-Amz-Credential=)(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}(?![A-Za-z0-9])
      | (?:KGAT_|github_pat_|glpat-|xox[abeprs]-|AIza|sk-ant-|sk-proj-)[A-Za-z0-9_-]{16,}
      | (?:gh[pousr]_|hf_|pnu_|pnb_|sk-)[A-Za-z0-9]{20,}
      | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*  # a JSON web token
      )
    | (?:(?i:password|passwd|passphrase|secret|token|api_?key|access_?key|kaggle_?key)["']?=["']?
      | (?i:["'][\w-]*(?:password|passphrase|secret|token|(?:api|access|secret|private|kaggle)[_-]?key)["']:\s*["']))
      (?P<value>[^\s"'&,;)}\]…][^\s"'&,;)}\]]*)
    """,
    re.VERBOSE,
)
_WORD = re.compile(r"(?<![A-Za-z0-9_+/.-])[A-Za-z0-9+/_-]{20,256}={0,2}(?![A-Za-z0-9_+/=-])")
_HEX = re.compile(r"[0-9a-fA-F]+(?:-[0-9a-fA-F]+)*")
_HEX_KEY = re.compile(r"(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{32}")  # Kaggle's; digests have other lengths here
_BASE64_KEY = re.compile(r"[A-Za-z0-9/+]{40}|[A-Za-z0-9/]*\+[A-Za-z0-9/+]*")  # the former AWS'
_KINDS = (str.islower, str.isupper, str.isdigit)


def redacted(text: str) -> str:
    """The text with `…` in the place of all that looks like a key or a password."""
    return _WORD.sub(_masked_word, _NAMED.sub(_masked_value, text))


def holds_key(text: str) -> bool:
    """Whether something in the text looks like a key or a password."""
    return redacted(text) != text


def _masked_value(match: re.Match[str]) -> str:
    value = match["value"] or match[0]
    return match[0].removesuffix(value) + MASK


def _masked_word(match: re.Match[str]) -> str:
    return MASK if _by_chance(match[0]) else match[0]


def _by_chance(word: str) -> bool:
    """Whether only chance can have made a word.

    People change between small letters, capitals and digits less often. The bounds were tried on the quarter of a
    million paths of a machine, of which none is taken for a key, and on random keys, of which one in a hundred is not
    (of AWS' and of base64 with 32 bytes one in five hundred).
    """
    if _HEX.fullmatch(word):
        return _HEX_KEY.fullmatch(word) is not None
    word = word.rstrip("=")
    if _BASE64_KEY.fullmatch(word) and word.count("/") < 5 and _changes(word)[0] >= 2 and _changes(word)[1] >= 0.3:
        return True
    return any(_segment_by_chance(segment) for segment in word.split("/"))


def _segment_by_chance(segment: str) -> bool:
    if _HEX.fullmatch(segment):
        return False
    longest = max(map(len, re.split(r"[-_+]", segment)))
    n_kinds, share = _changes(segment)
    if n_kinds == len(_KINDS):
        return len(segment) >= 20 and longest >= 10 and share >= (0.4 if len(segment) < 32 else 0.32)
    has_digits = any(map(str.isdigit, segment))
    return n_kinds == 2 and has_digits and len(segment) >= 24 and longest >= 16 and share >= 0.22


def _changes(word: str) -> tuple[int, float]:
    """How many kinds of letters and digits are in a word, and of which share of its pairs the two are of two kinds."""
    kinds = [next((number for number, is_kind in enumerate(_KINDS) if is_kind(letter)), None) for letter in word]
    pairs = [(one, other) for one, other in pairwise(kinds) if one is not None and other is not None]
    changed = sum(one != other for one, other in pairs)
    return len(set(kinds) - {None}), changed / len(pairs) if pairs else 0.0
