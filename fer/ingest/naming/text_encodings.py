"""Which encoding text is in that is not UTF-8: names in zips, and tables, as Windows, Excel and old systems write them.

Each candidate is read, and is plausible if what comes out looks like words of the languages that it is for: common
ideograms, Hangul or Cyrillic with vowels, accented letters among plain ones. One that is alone plausible is sure.
Statistics of letters, as in charset-normalizer, are wrong for half of what is as short as names of classes.
"""

import codecs
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable

KNOWN = (  # what can be set
    "utf-8", "utf-16", "cp437", "cp850", "cp852", "cp866", "cp874", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254",
    "cp1255", "cp1256", "cp1257", "cp1258", "koi8-r", "mac-roman", "gbk", "gb18030", "big5", "shift_jis", "cp932",
    "euc_jp", "euc_kr", "cp949",
)  # fmt: skip
_LOOKED_AT = 64 * 2**10  # bytes of text that is not ASCII
_MOST_ODD = 0.1  # share of characters, or words, of a plausible text that may be unusual
_MANY_HANGUL = 24  # different characters; Chinese ones would not all be in the first half of GB 2312
# Characters that a text must have, as a shorter one may look right by chance.
_FEW_LETTERS = {"cp1251": 8, "cp866": 8, "koi8-r": 8, "gb2312": 4, "big5": 4, "cp932": 4, "euc_kr": 4}
_WORD = re.compile(r"[^\W\d_]+")
_BOX = re.compile("[\u2500-\u259f]")  # what code page 437 has where other encodings have letters
_WESTERN = ("àáâãäåæçèéêëìíîïñòóôõöøœùúûüÿß",)
_CENTRAL = ("ąćęłńóśźż", "áčďéěíňóřšťúůýžäôľĺŕ", "áéíóöőúüű", "čćđšž", "ăâîșțşţ")  # a language each
_TURKISH = ("çğıöşüâîû",)
_CYRILLIC = frozenset("абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґў")
_VOWELS = frozenset("аеёиоуыэюяіїє")
# What the classes of such a source are called: of several plausible texts the one that has such words is meant.
_LIKELY = re.compile(
    "生气|愤怒|厌恶|害怕|恐惧|高兴|快乐|开心|悲伤|难过|伤心|惊讶|惊喜|中性|平静|自然|轻蔑|训练|测试|验证|表情|照片|人脸|图片|"
    "生氣|憤怒|厭惡|恐懼|高興|快樂|開心|悲傷|難過|傷心|驚訝|驚喜|平靜|輕蔑|訓練|測試|驗證|圖片|人臉|"
    "怒り|嫌悪|恐怖|喜び|幸福|悲しみ|驚き|中立|無表情|軽蔑|学習|画像|"
    "분노|화남|혐오|역겨움|공포|두려움|행복|기쁨|슬픔|놀람|놀라움|중립|무표정|경멸|훈련|학습|얼굴|사진|표정"
)
_UTF_8_FLAG = 0x800
_UNICODE_PATH = 0x7075  # Info-ZIP's extra field with a name in UTF-8 (APPNOTE.TXT, 4.6.9)


def canonical(name: str) -> str:
    """One of KNOWN in Python's spelling. Raises ValueError for another."""
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        found = ""
    if found not in {codecs.lookup(known).name for known in KNOWN}:
        raise ValueError(f"must be one of {', '.join(KNOWN)}")
    return found


def guess(data: bytes) -> dict[str, str]:
    """The encodings in which `data`, some text that is not all ASCII, is plausible, the likeliest first -> the text.

    Encodings that give the same text count as one. A text in UTF-8 or of a byte order mark is nothing else.
    """
    if encoding := _utf_16(data):
        return {encoding: data.decode(encoding, "replace")}
    try:
        return {"utf-8": data.decode()}
    except UnicodeDecodeError as error:
        if error.end == len(data) and error.reason == "unexpected end of data":  # a part of a longer text
            return {"utf-8": data[: error.start].decode()}
    texts: dict[str, str] = {}
    for encoding, is_plausible in _CANDIDATES.items():
        text = _decoded(data, encoding)
        if text is not None and text not in texts.values() and is_plausible(text):
            texts[encoding] = text
    return _likeliest(texts)


def _likeliest(texts: dict[str, str]) -> dict[str, str]:
    """Of plausible texts those that are so much likelier than the others that these can be left out."""
    likely = {encoding: text for encoding, text in texts.items() if _LIKELY.search(text)}
    if likely:
        return likely
    small = {name: sum(map(str.islower, texts[name])) for name in ("cp1251", "cp866", "koi8-r") if name in texts}
    less_likely: set[str] = {name for name, n in small.items() if n < max(small.values())}  # all in capitals
    if "cp1252" in texts:
        less_likely |= {"cp1250", "cp1254"}
    if "euc_kr" in texts and len({character for character in texts["euc_kr"] if character > "\x7f"}) >= _MANY_HANGUL:
        less_likely.add("gb2312")
    return {encoding: text for encoding, text in texts.items() if encoding not in less_likely}


def sure(data: bytes) -> str | None:
    """The encoding of `data` if only one is plausible."""
    texts = guess(data)
    if len(texts) != 1:
        return None
    ((encoding, text),) = texts.items()
    n_letters = sum(character > "\x7f" for character in text)
    is_by_chance = n_letters < _FEW_LETTERS.get(encoding, 0) and not _LIKELY.search(text)
    return None if is_by_chance else encoding


def names_in_zip(entries: Iterable[zipfile.ZipInfo], given: str | None) -> list[str]:
    """The names of a zip's entries.

    Those that are not marked as UTF-8 are in what an extra field says, or in UTF-8 all the same, or in the encoding
    `given`, or in one that is sure, or in code page 437, as the format has it.
    """
    names: list[str | bytes] = []
    for entry in entries:
        if entry.flag_bits & _UTF_8_FLAG or entry.filename.isascii() or entry.filename != entry.orig_filename:
            names.append(entry.filename)
        else:
            raw = entry.filename.encode("cp437")
            names.append(_unicode_path(raw, entry.extra) or raw)
    parts = {part for name in names if isinstance(name, bytes) for part in name.split(b"/")}
    sample = b"\n".join(sorted(part for part in parts if not part.isascii()))
    sure_one = sure(sample) if sample else None
    encoding = sure_one if sure_one == "utf-8" else given or sure_one or "cp437"
    return [name.decode(encoding, "replace") if isinstance(name, bytes) else name for name in names]


def of_table(chunks: Iterable[bytes], given: str | None) -> str | None:
    """The encoding of a table: by its byte order mark, or UTF-8, or `given`, or one that is sure. Else None.

    Of text in ASCII, that is UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf_8, is_first = True, True
    sample = bytearray()
    for chunk in chunks:
        if is_first and (two_bytes := _utf_16(chunk)):
            return two_bytes
        is_first = False
        if is_utf_8:
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                is_utf_8 = False
        if not chunk.isascii() and len(sample) < _LOOKED_AT:
            sample += b"\n".join(line for line in re.split(rb"[\r\n]+", chunk) if not line.isascii()) + b"\n"
    return "utf-8-sig" if is_utf_8 else given or sure(bytes(sample[:_LOOKED_AT]))


def advice(text: bytes) -> str:
    """What a message says of text in an encoding that is not sure."""
    meant = [f"{encoding} ({read.splitlines()[0]!r})" for encoding, read in guess(text).items() if read]
    perhaps = f"it may be {' or '.join(meant)}, so that " if meant else ""
    return f"{perhaps}--set index.text_encoding=NAME is needed (tried: {', '.join(('utf-8', *_CANDIDATES))})"


def garbled(names: Iterable[str]) -> str | None:
    """What to say of names that are code page 437's symbols rather than words, if there are some."""
    odd = sorted({part for name in names if not name.isascii() for part in name.split("/") if _BOX.search(part)})
    if not odd:
        return None
    try:
        raw = "\n".join(odd).encode("cp437")
    except UnicodeEncodeError:
        return None
    return f"names such as {odd[0]!r} seem to be in an encoding of Windows or DOS: {advice(raw)}"


def _unicode_path(raw: bytes, extra: bytes) -> str | None:
    """The name in UTF-8 that an extra field of a zip's entry adds to the `raw` one."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and len(field) > 5 and field[0] == 1:
            (checksum,) = struct.unpack_from("<I", field, 1)
            if checksum == zlib.crc32(raw):
                return _decoded(field[5:], "utf-8")
    return None


def _utf_16(data: bytes) -> str | None:
    """UTF-16 by its mark, or by its zeros where text is of Latin letters."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(data) < 8:
        return None
    zeros = [data[start::2].count(0) / len(data[start::2]) for start in (0, 1)]
    if min(zeros) > 0.05 or max(zeros) < 0.5:
        return None
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data[:_LOOKED_AT].decode(encoding)
    except UnicodeDecodeError as error:
        is_cut = len(data) > _LOOKED_AT and error.end >= _LOOKED_AT
        return data[: error.start].decode(encoding) if is_cut else None


def _is_odd(n_odd: int, n_all: int) -> bool:
    return not n_all or n_odd > _MOST_ODD * n_all


def _ideograms(encoding: str, common: Callable[[bytes], bool]) -> Callable[[str], bool]:
    """Whether the text is of common characters of an encoding of two bytes each, and not within plain words."""

    def is_plausible(text: str) -> bool:
        odd = [character for character in text if character > "\x7f" and not common(character.encode(encoding))]
        runs = re.findall(r"[A-Za-z]?[^\x00-\x7f]+[A-Za-z]?", text)
        n_within = sum(run[0].isascii() or run[-1].isascii() for run in runs)
        return not _is_odd(len(odd), sum(character > "\x7f" for character in text)) and 2 * n_within < len(runs)

    return is_plausible


def _is_cyrillic(text: str) -> bool:
    """Whether words are Russian or the like: no other letters beside, capitals first, vowels in each."""
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    others = sum(character > "\x7f" and character.lower() not in _CYRILLIC for character in text)
    odd = [
        word
        for word in words
        if not _CYRILLIC.issuperset(word.lower())
        or not _has_usual_case(word)
        or (len(word) > 2 and _VOWELS.isdisjoint(word.lower()))
        or re.search(r"[бвгджзйклмнпрстфхцчшщ]{5}|[аеёиоуыэюя]{4}", word.lower())
    ]
    return not others and not _is_odd(len(odd), len(words))


def _accented(letters_of_languages: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether words are of plain letters and a few of these, all of one language."""

    def is_plausible(text: str) -> bool:
        words = [word for word in _WORD.findall(text) if not word.isascii()]
        odd = [
            word
            for word in words
            if not _has_usual_case(word) or 2 * sum(character > "\x7f" for character in word) > len(word) + 1
        ]
        accented = {character.lower() for character in text if character > "\x7f"}
        is_of_one = any(accented <= set(letters) for letters in letters_of_languages)
        return is_of_one and not _is_odd(len(odd), len(words))

    return is_plausible


def _has_usual_case(word: str) -> bool:
    """Whether capitals are at the start of a word, or all over it."""
    return word.isupper() or not any(map(str.isupper, word[1:]))


_CANDIDATES: dict[str, Callable[[str], bool]] = {
    "gb2312": _ideograms("gb2312", lambda c: 0xB0 <= c[0] <= 0xD7),
    "big5": _ideograms("big5", lambda c: 0xA4 <= c[0] <= 0xC6),
    "cp932": _ideograms("cp932", lambda c: c[0] in (0x82, 0x83) or 0x88 <= c[0] <= 0x97 or c == b"\x81\x5b"),
    "euc_kr": _ideograms("euc_kr", lambda c: 0xB0 <= c[0] <= 0xC8),
    "cp1251": _is_cyrillic,
    "cp866": _is_cyrillic,
    "koi8-r": _is_cyrillic,
    "cp437": _accented(_WESTERN),
    "cp850": _accented(_WESTERN),
    "cp1252": _accented(_WESTERN),
    "cp1254": _accented(_TURKISH),
    "cp1250": _accented(_CENTRAL),
    "cp852": _accented(_CENTRAL),
}
