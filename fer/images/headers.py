"""What an encoded image says of itself, read before any of it is decoded: its format, its size and whether it is whole.

Decoders are forgiving: one fills what is missing of a JPEG with grey, another takes the first frame of an animation.
So each format's own structure is walked here, from the first byte to the one that ends the picture.

The files of a data set begin alike, with the same tables of a JPEG or the same size of a PNG. The last such beginning
is remembered with what it says, and of a file that begins so too only the rest is walked: 1.1 µs instead of 6.2 for a
JPEG of FER2013, 2.4 instead of 5.5 for the same as PNG, of which its checksum takes 1.8.
"""

import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

# Up to 67 million pixels, as the limit that fer/__init__.py sets OpenCV: a small file may claim far more.
MAX_SIDE_PX = 8_192
# A face comes in a dozen. Each scan of a progressive JPEG goes over all its pixels, and may be a few bytes long.
MAX_JPEG_SCANS = 100
MAX_CHUNKS = 100_000  # of a PNG or WebP; each costs time, however short it is, and 64 MiB by 4 KiB are 16 thousand

_OTHERS = (  # what people put into folders of images, by how it begins
    (re.compile(rb"%PDF"), "a PDF"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|svg|!DOCTYPE svg)", re.IGNORECASE), "an SVG or other XML"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!DOCTYPE html|html)", re.IGNORECASE), "a web page"),
    (re.compile(rb"....ftyp(?:heic|heix|hevc|heim|heis|mif1|msf1)", re.DOTALL), "a HEIC"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "an AVIF"),
    (re.compile(rb"....ftyp", re.DOTALL), "a film"),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "a JPEG 2000"),
    (re.compile(rb"\0\0\0\x0cJXL |\xff\x0a"), "a JPEG XL"),
    (re.compile(rb"\0\0[\x01\x02]\0"), "an icon"),
    (re.compile(rb"8BPS"), "a Photoshop file"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!"), "an archive"),
)


class Unfit(ValueError):
    """Bytes that are no whole picture of a known format; the message is the reason, the same for the same defect."""


class Header(NamedTuple):
    """What the decoders need to know. `plain`: grey or colour of 8 or 16 bits, without transparency.

    `start`: where the samples begin, of a PGM with a byte each; else 0. `progressive`: it is a JPEG whose scans refine
    the whole picture. `turned`: it is a JPEG that its EXIF may tell to turn. `skipped`: stretches of the file that hold
    text and profiles, which may decompress to far more than the picture.
    """

    format: str  # JPEG, PNG, GIF, BMP, WEBP, TIFF, PBM, PGM, PPM
    width: int
    height: int
    plain: bool = True
    start: int = 0
    progressive: bool = False
    turned: bool = False
    skipped: tuple[tuple[int, int], ...] = ()


def read(data: bytes) -> Header:
    """Read the header of `data` and walk to its end. A TIFF's is left to its decoder: width and height are 0.

    Raises Unfit: empty, of no known format, cut short, damaged, of several frames, beyond the limits above.
    """
    start, header = _last_jpeg
    if data.startswith(start) and data.endswith(_JPEG_END):  # asked first, as most files are such
        n_start = len(start)
        # In compressed data 0xFF is followed by 0: then the one that is not is the end's.
        if data.count(b"\xff", n_start) == data.count(b"\xff\0", n_start) + 1:
            return header
    if not data:
        raise Unfit("the file is empty")
    walk = _WALKS.get(data[:2])
    if walk is None:
        raise Unfit(_unknown(data))
    try:
        return walk(data)
    except (struct.error, IndexError):
        raise Unfit("cut short") from None


def end_of_jpeg(data: bytes) -> int:
    """Where the end of a JPEG that `read` accepts is marked."""
    return _walk_jpeg(data)[2]


def is_start_of_image(start: bytes) -> bool:
    """Whether the first START_BYTES of a file, or all there are, look like an image of a format known here."""
    return _START.match(start) is not None


START_BYTES = 32
_START = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM.{4}\0{4}|RIFF.{4}WEBP|II[*+]\0|MM\0[*+]"
    rb"|P[1-6]\s+(?:\d+\s+\d+\s|#)",
    re.DOTALL,
)


def require_size(width: int, height: int) -> None:
    """Raise Unfit for an image without pixels, or of more than the limits."""
    if width < 1 or height < 1:
        raise Unfit("without pixels: its width or height is zero")
    if width > MAX_SIDE_PX or height > MAX_SIDE_PX:
        raise Unfit(f"too large to be decoded: over {MAX_SIDE_PX:,} pixels a side")


def _unknown(data: bytes) -> str:
    kind = next((name for pattern, name in _OTHERS if pattern.match(data)), None)
    return f"not an image of a format known here: {kind}" if kind else "not an image of a format known here"


def _animation(n_frames: int) -> None:
    if n_frames > 1:
        raise Unfit("an animation, not one picture")


_SIZE = struct.Struct(">HBHHB")  # of a JPEG's frame: its length, precision, height, width, components
# In compressed data 0xFF is followed by 0 or, where it starts anew, by 0xD0-0xD7; anything else is a marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_END = b"\xff\xd9"

_last_jpeg = (b"none begins so", Header("JPEG", 0, 0))
_REMEMBERED_BYTES = 4_096  # the usual tables of a colour JPEG take 623


def _jpeg(data: bytes) -> Header:
    global _last_jpeg
    header, begin, _ = _walk_jpeg(data)
    if 0 < begin <= _REMEMBERED_BYTES:
        _last_jpeg = (data[:begin], header)
    return header


def _walk_jpeg(data: bytes) -> tuple[Header, int, int]:
    """ISO/IEC 10918-1, annex B. A preview within the EXIF ends like a JPEG too, but lies in a segment.

    The header; where the data of the only scan begin, 0 if there are several or it is progressive; where the end is
    marked.
    """
    if data[2:3] != b"\xff":
        raise Unfit("cut short" if len(data) < 3 else _unknown(data))
    size = None
    scans = None  # of a progressive one
    turned = False
    n_scans = begin = 0
    at = 2
    while True:
        if data[at] != 0xFF:  # libjpeg looks for the next marker too
            at = data.find(b"\xff", at)
            if at < 0:
                raise Unfit("cut short")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xD9:
            break
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # without a length
            at += 2
            continue
        end = at + 2 + (data[at + 2] << 8 | data[at + 3])
        if marker in _FRAMES:
            _, precision, height, width, n_components = size = _SIZE.unpack_from(data, at + 2)
            if marker not in _FRAMES_READ or precision != 8:
                raise Unfit("a JPEG of a kind that is not read here: lossless, hierarchical or of 12 bits")
            if n_components not in (1, 3, 4):
                raise Unfit("a JPEG of neither one, three nor four colours")
            require_size(width, height)
            scans = _Scans(data[at + 10]) if marker in _FRAMES_PROGRESSIVE else None
        elif marker == 0xE1:
            turned = True
        elif marker == 0xDA:
            n_scans += 1
            if scans is not None:
                scans.add(data, at)
            if n_scans > MAX_JPEG_SCANS:
                raise Unfit(f"a JPEG of more than {MAX_JPEG_SCANS} scans")
            begin = end if n_scans == 1 and scans is None else 0
            found = _MARKER.search(data, end)
            if found is None:
                raise Unfit("cut short")
            end = found.start()
        at = end
    if size is None or not n_scans:
        raise Unfit("a JPEG without a picture")
    if scans is not None and not scans.are_complete():
        raise Unfit("cut short")
    return Header("JPEG", size[3], size[2], size[4] != 4, progressive=scans is not None, turned=turned), begin, at


class _Scans:
    """Which bits of which coefficients the scans of a progressive JPEG hold (ISO/IEC 10918-1, B.2.3 and G.1.1)."""

    _ALL = (1 << 64) - 1

    def __init__(self, first: int):
        self._first = first  # its first component, which is the luminance, if any is
        self._begun: dict[int, int] = defaultdict(int)  # component -> its coefficients, a bit each
        self._done: dict[int, int] = defaultdict(int)  # those of which the lowest bit is there

    def add(self, data: bytes, at: int) -> None:
        """The scan whose marker is at `at`."""
        n_components = data[at + 4]
        end = at + 5 + 2 * n_components
        first, last, low_bit = data[end], data[end + 1], data[end + 2] & 15
        coefficients = (2 << last) - (1 << first) & self._ALL
        for component in data[at + 5 : end : 2]:
            self._begun[component] |= coefficients
            if not low_bit:
                self._done[component] |= coefficients

    def are_complete(self) -> bool:
        """Whether all of the first component is there, and of the others what was begun; zeros may be left out."""
        return self._done[self._first] == self._ALL and self._done == self._begun


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # tables and an extension share the range
_FRAMES_READ = frozenset((0xC0, 0xC1, 0xC2, 0xC9, 0xCA))  # baseline, extended, progressive; Huffman or arithmetic
_FRAMES_PROGRESSIVE = frozenset((0xC2, 0xCA))

_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct(">I4s")
_UINT32 = struct.Struct(">I")
_PNG_SIZE = struct.Struct(">IIBB")
_PNG_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))
_PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"

_last_png = (b"none begins so", Header("PNG", 0, 0))
_PNG_START_BYTES = 33  # the signature and the chunk IHDR


def _png(data: bytes) -> Header:
    global _last_png
    start, header = _last_png
    if data.startswith(start) and _has_one_chunk(data):
        return header
    header = _walk_png(data)
    if _has_one_chunk(data):
        _last_png = (data[:_PNG_START_BYTES], header)
    return header


def _has_one_chunk(data: bytes) -> bool:
    """Whether all of a PNG's picture is in one whole chunk, after which it ends."""
    length, kind = _CHUNK.unpack_from(data, _PNG_START_BYTES)
    end = _PNG_START_BYTES + 8 + length
    return (
        kind == b"IDAT"
        and data.startswith(_PNG_END, end + 4)
        and zlib.crc32(data[_PNG_START_BYTES + 4 : end]) == _UINT32.unpack_from(data, end)[0]
    )


def _walk_png(data: bytes) -> Header:
    """PNG, third edition (W3C), chapter 5; every chunk's CRC-32 is checked."""
    if not data.startswith(_PNG):
        raise Unfit("cut short" if _PNG.startswith(data) else "damaged: the signature of a PNG is changed")
    plain, has_data, n_frames = True, False, 1
    skipped: list[tuple[int, int]] = []
    at = len(_PNG)
    for _ in range(MAX_CHUNKS):
        length, kind = _CHUNK.unpack_from(data, at)
        end = at + 12 + length
        (crc,) = _UINT32.unpack_from(data, end - 4)
        if zlib.crc32(data[at + 4 : end - 4]) != crc:
            raise Unfit("damaged: a checksum of the PNG is wrong")
        if at == 8:
            if kind != b"IHDR" or length != 13:
                raise Unfit("damaged: a PNG without a header")
            width, height, depth, colour = _PNG_SIZE.unpack_from(data, 16)
            require_size(width, height)
            plain = colour not in (4, 6)
        elif kind == b"IDAT":
            has_data = True
        elif kind == b"tRNS":
            if depth == 16:  # Pillow compares it with the upper 8 bits
                raise Unfit("a PNG with a transparent colour of 16 bits")
            plain = False
        elif kind == b"acTL" and length == 8:
            n_frames = _UINT32.unpack_from(data, at + 8)[0]
        elif kind in _PNG_TEXTS:
            start = skipped.pop()[0] if skipped and skipped[-1][1] == at else at
            skipped.append((start, end))
        elif kind == b"IEND":
            break
        at = end
    else:
        raise Unfit(f"a PNG of more than {MAX_CHUNKS:,} chunks")
    _animation(n_frames)
    if not has_data:
        raise Unfit("damaged: a PNG without a picture")
    return Header("PNG", width, height, plain, skipped=tuple(skipped))


def _gif(data: bytes) -> Header:
    """GIF89a specification (CompuServe, 1990): blocks up to the trailer."""
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        raise Unfit("cut short" if len(data) < 6 else _unknown(data))
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _colours_bytes(flags)
    n_frames = 0
    while data[at] != 0x3B:
        if data[at] == 0x2C:
            n_frames += 1
            frame = struct.unpack_from("<HHHHB", data, at + 1)
            require_size(frame[2], frame[3])
            at += 11 + _colours_bytes(frame[4])  # and a byte for the size of the codes
        elif data[at] == 0x21:
            at += 2
        else:
            raise Unfit("damaged: a GIF's blocks don't follow each other")
        while data[at]:
            at += 1 + data[at]
        at += 1
    _animation(n_frames)
    if not n_frames:
        raise Unfit("a GIF without a picture")
    require_size(width, height)
    return Header("GIF", width, height, plain=False)


def _colours_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _bmp(data: bytes) -> Header:
    """Microsoft's BITMAPINFOHEADER and its later versions, and OS/2's BITMAPCOREHEADER."""
    start, header_bytes = struct.unpack_from("<II", data, 10)
    compression = 0
    if header_bytes == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)  # negative: the rows go downwards
    if compression not in (0, 3, 6) or bits not in (1, 4, 8, 16, 24, 32):
        raise Unfit("a BMP of a kind that is not read here: compressed, or of unusual bits")
    require_size(width, height)
    if start + (width * bits + 31) // 32 * 4 * height > len(data):
        raise Unfit("cut short")
    return Header("BMP", width, height, plain=bits <= 24 and compression == 0)


def _webp(data: bytes) -> Header:
    """RFC 9649."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise Unfit("cut short" if b"RIFF".startswith(data[:4]) and len(data) < 12 else _unknown(data))
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise Unfit("cut short")
    sizes: list[tuple[int, int]] = []
    n_frames = 0
    plain = True
    for n_before, (kind, at, length) in enumerate(_riff_chunks(data, end)):
        if n_before == MAX_CHUNKS:
            raise Unfit(f"a WebP of more than {MAX_CHUNKS:,} chunks")
        if kind == b"VP8X":
            width, height = (1 + int.from_bytes(data[at + n : at + n + 3], "little") for n in (4, 7))
            sizes.append((width, height))
            plain = plain and not data[at] & 0x10
        elif kind == b"VP8 ":
            width, height = struct.unpack_from("<HH", data, at + 6)
            sizes.append((width & 0x3FFF, height & 0x3FFF))
        elif kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", data, at + 1)
            sizes.append((1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)))
            plain = plain and not bits >> 28 & 1
        elif kind == b"ANMF":
            n_frames += 1
        elif kind == b"ALPH":
            plain = False
        if at + length > end:
            raise Unfit("cut short")
    _animation(n_frames)
    if not sizes:
        raise Unfit("a WebP without a picture")
    for width, height in sizes:
        require_size(width, height)
    return Header("WEBP", sizes[0][0], sizes[0][1], plain)


def _riff_chunks(data: bytes, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its content begins, length) of each chunk; they are padded to even lengths."""
    at = 12
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, at + 8, length
        at += 8 + length + length % 2


_BLANK = rb"(?:\s|#[^\n\r]*[\n\r])"
_PNM = re.compile(rb"P([1-6])" + _BLANK + rb"+(\d{1,9})" + _BLANK + rb"+(\d{1,9})(?=\s)")
_PNM_MAX = re.compile(_BLANK + rb"+(\d{1,9})\s")


def _pnm(data: bytes) -> Header:
    """Netpbm's PBM (1, 4), PGM (2, 5) and PPM (3, 6); 1-3 write the samples as text."""
    head = _PNM.match(data)
    if head is None:
        raise Unfit("damaged: no header of a PNM")
    kind, width, height = int(head[1]), int(head[2]), int(head[3])
    name = ("PBM", "PGM", "PPM")[(kind - 1) % 3]
    require_size(width, height)
    if name == "PBM":
        if kind == 4 and head.end() + 1 + (width + 7) // 8 * height > len(data):
            raise Unfit("cut short")
        return Header(name, width, height, plain=False)
    highest = _PNM_MAX.match(data, head.end())
    if highest is None:
        raise Unfit("damaged: no header of a PNM")
    if not 1 <= int(highest[1]) <= 65_535:
        raise Unfit("damaged: a PNM whose highest value is none")
    n_bytes = width * height * (3 if name == "PPM" else 1) * (2 if int(highest[1]) > 255 else 1)
    if kind > 3 and highest.end() + n_bytes > len(data):
        raise Unfit("cut short")
    plain = kind > 3 and int(highest[1]) == 255
    return Header(name, width, height, plain, highest.end() if plain and kind == 5 else 0)


def _tiff(data: bytes) -> Header:
    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise Unfit("cut short" if len(data) < 4 else _unknown(data))
    return Header("TIFF", 0, 0, plain=False)


_WALKS: dict[bytes, Callable[[bytes], Header]] = {
    b"\xff\xd8": _jpeg,
    b"\x89P": _png,
    b"GI": _gif,
    b"BM": _bmp,
    b"RI": _webp,
    b"II": _tiff,
    b"MM": _tiff,
    **{b"P%d" % kind: _pnm for kind in range(1, 7)},
}
