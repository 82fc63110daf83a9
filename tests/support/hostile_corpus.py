"""Malformed and unusual inputs, generated deterministically, with the expected outcome of each.

IMAGES      files in class folders, distinguished by name alone
ROWS        rows of a FER2013 CSV
TABLES      whole CSVs, of pixels or of labels beside images
ARCHIVES    zips
"""

import dataclasses
import functools
import io
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from fer import errors


@dataclasses.dataclass(frozen=True)
class Accepted:
    """`n` images are accepted. For one image: `pixels` are its expected grey levels, to within `tolerance`."""

    n: int = 1
    pixels: Callable[[], np.ndarray] | None = None
    tolerance: int = 0
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class Quarantined:
    """`n` images are in quarantine, for a reason that matches `reason`; `accepted` others are accepted.

    `ignored`: the kind under which one more row or file is counted as ignored.
    """

    reason: str
    n: int = 1
    accepted: int = 1
    ignored: str | None = None


@dataclasses.dataclass(frozen=True)
class Ignored:
    """`n` files are counted as ignored under this kind; `accepted` images are accepted."""

    kind: str
    n: int = 1
    accepted: int = 1


@dataclasses.dataclass(frozen=True)
class Refused:
    """The run ends with this error, whose message matches."""

    error: type[errors.FerError]
    message: str


@dataclasses.dataclass(frozen=True)
class Declared:
    """The run ends, in one way or in an error that names the input: of damage nobody knows what it hits."""


Outcome = Accepted | Quarantined | Ignored | Refused | Declared


@dataclasses.dataclass(frozen=True)
class Case:
    """An input and its outcome. `suffix` is that of the file name, whatever the file holds."""

    name: str
    make: Callable[[], bytes]
    outcome: Outcome
    suffix: str = ".png"

    @functools.cached_property
    def data(self) -> bytes:
        """The input, made once."""
        return self.make()


# --- pictures ---------------------------------------------------------------------------------------------------------

HEIGHT, WIDTH = 40, 32


@functools.cache
def grey() -> np.ndarray:
    """A smooth picture (40, 32) uint8 that is not its own mirror image."""
    coarse = np.random.default_rng(3).integers(20, 236, (6, 5)).astype(np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


@functools.cache
def colour() -> np.ndarray:
    """A smooth picture (40, 32, 3) uint8, RGB."""
    coarse = np.random.default_rng(4).integers(20, 236, (6, 5, 3)).astype(np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


def luma(rgb: np.ndarray) -> np.ndarray:
    """Grey levels of RGB pixels by ITU-R BT.601."""
    return np.rint(rgb.astype(float) @ (0.299, 0.587, 0.114)).astype(np.uint8)


def grey_of_colour() -> np.ndarray:
    return luma(colour())


def black_and_white() -> np.ndarray:
    return np.where(grey() > 127, 255, 0).astype(np.uint8)


@functools.cache
def mask() -> np.ndarray:
    """Opacity (40, 32): the left half is opaque, the right half transparent."""
    return np.where(np.arange(WIDTH) < WIDTH // 2, 255, 0).astype(np.uint8)[None].repeat(HEIGHT, 0)


def masked() -> np.ndarray:
    return np.where(mask() > 0, grey(), 0).astype(np.uint8)


def masked_colour() -> np.ndarray:
    return np.where(mask() > 0, grey_of_colour(), 0).astype(np.uint8)


def encode(pixels: np.ndarray, form: str, mode: str | None = None, **options: object) -> bytes:
    """The pixels as a file of this format, written by Pillow."""
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, form, **options)
    return buffer.getvalue()


def frames(form: str, **options: object) -> bytes:
    """Three different frames or pages."""
    images = [Image.fromarray(np.roll(grey(), 5 * n, axis=1)) for n in range(3)]
    buffer = io.BytesIO()
    images[0].save(buffer, form, save_all=True, append_images=images[1:], **options)
    return buffer.getvalue()


# --- JPEG -------------------------------------------------------------------------------------------------------------


def jpeg(pixels: np.ndarray | None = None, **options: object) -> bytes:
    return encode(grey() if pixels is None else pixels, "JPEG", quality=95, **options)


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with a segment inserted right after its start marker."""
    return data[:2] + segment(marker, content) + data[2:]


def exif(orientation: int) -> bytes:
    """EXIF data with one entry, the orientation, as in a JPEG segment."""
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">HHI", orientation, 0, 0)


def oriented(orientation: int, pixels: np.ndarray) -> np.ndarray:
    """The pixels as a viewer shows them if stored with this EXIF orientation (TIFF 6.0, tag 274)."""
    return {
        1: lambda image: image,
        2: np.fliplr,
        3: lambda image: np.rot90(image, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda image: np.rot90(image, -1),
        7: lambda image: np.rot90(image, 2).T,
        8: np.rot90,
    }[orientation](pixels)


def _exif_with_preview() -> bytes:
    """EXIF with a second directory that holds a preview: a complete JPEG with its own end marker."""
    preview = jpeg(np.full((8, 8), 200, np.uint8))
    first = b"MM\0*\0\0\0\x08\0\0\0\0\0\x0e"
    second = struct.pack(">HHHIIHHII", 2, 0x201, 4, 1, 44, 0x202, 4, 1, len(preview)) + b"\0\0\0\0"
    return b"Exif\0\0" + first + second + preview


def _jpeg_frame(at: int, form: str, value: int, marker: int | None = None) -> bytes:
    """A JPEG with a value of its frame header replaced, at an offset from the marker."""
    data = bytearray(jpeg())
    start = data.index(b"\xff\xc0")
    struct.pack_into(form, data, start + at, value)
    if marker is not None:
        data[start + 1] = marker
    return bytes(data)


def _cut_and_closed(data: bytes) -> bytes:
    return data[: len(data) * 3 // 5] + b"\xff\xd9"


def _many_scans(n: int) -> bytes:
    """A progressive JPEG whose last scan is repeated `n` times."""
    data = jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * n + b"\xff\xd9"


def _without_last_scan() -> bytes:
    data = jpeg(progressive=True)
    return data[: data.rindex(b"\xff\xda")] + b"\xff\xd9"


def cmyk() -> np.ndarray:
    """Ink levels (32, 32, 4) in squares of 8 x 8 pixels; 255 is full ink."""
    inks = np.random.default_rng(5).integers(0, 256, (4, 4, 4)).astype(np.uint8)
    return inks.repeat(8, 0).repeat(8, 1)


def _cmyk_jpeg(transform: int | None = 0) -> bytes:
    """A CMYK JPEG, inverted as Adobe writes it; with the Adobe marker's `transform`, or without the marker."""
    buffer = io.BytesIO()
    Image.frombytes("CMYK", (32, 32), cmyk().tobytes()).save(buffer, "JPEG", quality=100)
    data = buffer.getvalue()
    at = data.index(b"Adobe")
    return (
        data[: at - 4] + data[at + 12 :]
        if transform is None
        else data[: at + 11] + bytes([transform]) + data[at + 12 :]
    )


def grey_of_cmyk() -> np.ndarray:
    inks = cmyk().astype(float)
    return luma((255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255)


def _ycck_jpeg() -> bytes:
    """The same inks as a YCCK JPEG: luminance and colour differences of the inverted inks."""
    ycc = np.asarray(Image.fromarray(cmyk()[..., :3]).convert("YCbCr"))
    buffer = io.BytesIO()
    stored = np.dstack([ycc, cmyk()[..., 3]])
    Image.frombytes("CMYK", (32, 32), stored.tobytes()).save(buffer, "JPEG", quality=100)
    data = buffer.getvalue()
    at = data.index(b"Adobe")
    return data[: at + 11] + b"\x02" + data[at + 12 :]


def grey_of_ycck() -> np.ndarray:
    """Grey levels of the YCCK JPEG as Pillow decodes it; its colour differences are of the inverted inks."""
    return luma(np.asarray(Image.open(io.BytesIO(_ycck_jpeg())).convert("RGB")))


# --- PNG --------------------------------------------------------------------------------------------------------------

_PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    samples: np.ndarray, kind: int, depth: int = 8, *, before: bytes = b"", size: tuple[int, int] | None = None
) -> bytes:
    """A PNG of `samples` (H, bytes per row); `before`: chunks before the pixels; `size`: declared (width, height)."""
    height, width = samples.shape[0], samples.shape[1] * 8 // (depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind])
    header = struct.pack(">IIBBBBB", *(size or (width, height)), depth, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    return _PNG + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def to_16bit(pixels: np.ndarray) -> np.ndarray:
    """8-bit samples as 16-bit big-endian ones, as bytes (H, 2 W)."""
    return (pixels.astype(np.uint16) * 257).astype(">u2").view(np.uint8).reshape(len(pixels), -1)


def _grey_png(before: bytes = b"", **options: tuple[int, int]) -> bytes:
    return png(grey(), 0, before=before, **options)


def _palette(*, transparent: bool) -> bytes:
    """A palette of the inverted greys; with `transparent`, the upper half of its indexes is transparent."""
    colours = np.arange(255, -1, -1, dtype=np.uint8).repeat(3).tobytes()
    chunks = chunk(b"PLTE", colours)
    return chunks + chunk(b"tRNS", bytes([255] * 128 + [0] * 128)) if transparent else chunks


def _negative_above(limit: int) -> np.ndarray:
    return np.where(grey() < limit, 255 - grey(), 0).astype(np.uint8)


def _damaged_png() -> bytes:
    data = bytearray(_grey_png())
    data[len(data) // 2] ^= 0x10
    return bytes(data)


def _bad_checksum_of_text() -> bytes:
    text = bytearray(chunk(b"tEXt", b"Comment\0a"))
    text[-1] ^= 1
    return _grey_png(bytes(text))


def _without_enough_rows() -> bytes:
    return png(grey()[:20], 0, size=(WIDTH, HEIGHT))


def _compressed_text(kind: bytes) -> bytes:
    """A PNG with a chunk of a few KB that decompresses to 64 MB."""
    return _grey_png(chunk(kind, b"name\0\0" + zlib.compress(bytes(64 * 2**20), 9)))


def _in_text_mode() -> bytes:
    return _grey_png().replace(b"\r\n", b"\n")


def _interlaced() -> bytes:
    """A PNG interlaced by Adam7."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(
        b"\0" + row.tobytes() for top, left, down, right in passes for row in grey()[top::down, left::right]
    )
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 1)
    return _PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# --- the others -------------------------------------------------------------------------------------------------------


def _gif_of_size(screen: tuple[int, int], frame: tuple[int, int] | None = None) -> bytes:
    data = bytearray(encode(grey(), "GIF"))
    struct.pack_into("<HH", data, 6, *screen)
    if frame:
        struct.pack_into("<HH", data, data.index(b",\0\0\0\0") + 5, *frame)
    return bytes(data)


def bmp(pixels: np.ndarray, bits: int, *, compression: int = 0, masks: bytes = b"", down: bool = False) -> bytes:
    """A BMP of `pixels` (H, bytes per row), stored bottom-up unless `down`."""
    height, width = pixels.shape[0], pixels.shape[1] * 8 // bits
    palette = np.arange(256, dtype=np.uint8).repeat(4).tobytes() if bits == 8 else b""
    n_header = 108 if masks else 40
    rows = b"".join(row.tobytes() + bytes(-len(row) % 4) for row in (pixels if down else pixels[::-1]))
    header = struct.pack("<IiiHHIIiiII", n_header, width, -height if down else height, 1, bits, compression,
                         0, 0, 0, 0, 0) + masks.ljust(n_header - 40, b"\0")  # fmt: skip
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + palette + rows


def _bgra() -> np.ndarray:
    return np.dstack([colour()[..., ::-1], mask()]).reshape(HEIGHT, -1)


_BGRA_MASKS = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def _bmp_of_size(width: int, height: int) -> bytes:
    data = bytearray(bmp(grey(), 8))
    struct.pack_into("<ii", data, 18, width, height)
    return bytes(data)


def _tiff_with(tag: int, value: int, pixels: np.ndarray | None = None) -> bytes:
    """A TIFF whose entry `tag`, a short or a long, has this value."""
    data = bytearray(encode(grey() if pixels is None else pixels, "TIFF"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for at in range(directory + 2, directory + 2 + 12 * count, 12):
        entry_tag, kind = struct.unpack_from("<HH", data, at)
        if entry_tag == tag:
            struct.pack_into("<I" if kind == 4 else "<H", data, at + 8, value)
            return bytes(data)
    raise KeyError(tag)


def _tiff_in_circles() -> bytes:
    """A TIFF whose directory names itself as the next one."""
    data = bytearray(encode(grey(), "TIFF"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * count, directory)
    return bytes(data)


def _tiff_of_directories(n: int) -> bytes:
    """A TIFF of `n` directories, all with the same pixels."""
    data = encode(grey(), "TIFF")
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    directory = data[at : at + 2 + 12 * count]
    starts = [len(data) + place * (len(directory) + 4) for place in range(n)]
    chain = b"".join(directory + struct.pack("<I", following) for following in [*starts[1:], 0])
    return data[:4] + struct.pack("<I", starts[0]) + data[8:] + chain


def _animated_webp() -> bytes:
    return frames("WEBP", duration=100)


def pgm(highest: int, samples: bytes, size: tuple[int, int] = (WIDTH, HEIGHT), kind: int = 5) -> bytes:
    return b"P%d\n%d %d\n%d\n" % (kind, *size, highest) + samples


def _ten_bits() -> bytes:
    return pgm(1023, (grey().astype(float) / 255 * 1023).round().astype(">u2").tobytes())


def _as_text(pixels: np.ndarray) -> bytes:
    return b" ".join(b"%d" % value for value in pixels.ravel()) + b"\n"


def _within_exif() -> bytes:
    return with_segment(jpeg(), 0xE1, _exif_with_preview())


_UNKNOWN = "not an image of a format known here"
_CUT = "cut short"
_DAMAGED = "damaged"
_TOO_LARGE = "too large to be decoded"
_ANIMATION = "an animation"


def _image(name: str, make: Callable[[], bytes], outcome: Outcome | str, suffix: str = ".png") -> Case:
    return Case(name, make, Quarantined(outcome) if isinstance(outcome, str) else outcome, suffix)


def _shows(pixels: Callable[[], np.ndarray], tolerance: int = 0) -> Accepted:
    return Accepted(1, pixels, tolerance, "happy")


_GREY = _shows(grey)
_ABOUT_GREY = _shows(grey, 12)

_NO_IMAGES = (
    _image("empty", lambda: b"", "the file is empty"),
    _image("one-byte", lambda: b"\x89", _UNKNOWN),
    _image("two-bytes-of-a-jpeg", lambda: b"\xff\xd8", _CUT, ".jpg"),
    _image("words", lambda: b"not found\n", _UNKNOWN, ".jpg"),
    _image("web-page", lambda: b"<!DOCTYPE html><html><body>403</body></html>", "a web page", ".jpg"),
    _image("svg", lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "an SVG"),
    _image("xml", lambda: b'\xef\xbb\xbf<?xml version="1.0"?><svg/>', "an SVG"),
    _image("pdf", lambda: b"%PDF-1.7\n", "a PDF", ".jpg"),
    _image("heic", lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC", ".jpg"),
    _image("avif", lambda: encode(colour(), "AVIF"), "an AVIF"),
    _image("film", lambda: b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "a film", ".gif"),
    _image("jpeg-2000", lambda: encode(grey(), "JPEG2000"), "a JPEG 2000", ".jpg"),
    _image("icon", lambda: encode(grey(), "ICO"), "an icon"),
    _image("photoshop", lambda: b"8BPS\0\1" + bytes(40), "a Photoshop file", ".tif"),
    _image("zip-as-jpg", lambda: zipped({"x": b"x"}), "an archive", ".jpg"),
    _image("gzip", lambda: b"\x1f\x8b\x08" + bytes(20), "an archive", ".jpg"),
    _image("zeros", lambda: bytes(4096), _UNKNOWN),
    _image("noise", lambda: np.random.default_rng(6).bytes(4096), _UNKNOWN, ".webp"),
    _image("git-lfs-pointer", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", _UNKNOWN, ".jpg"),
    _image("pam", lambda: b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\nx", _UNKNOWN, ".pgm"),
)

_JPEGS = (
    _image("jpeg", jpeg, _ABOUT_GREY, ".jpg"),
    _image("jpeg-named-png", jpeg, _ABOUT_GREY, ".png"),
    _image("jpeg-colour", lambda: jpeg(colour()), _shows(grey_of_colour, 16), ".jpg"),
    _image("jpeg-rgb", lambda: jpeg(colour(), keep_rgb=True), _shows(grey_of_colour, 12), ".jpg"),
    _image("jpeg-progressive", lambda: jpeg(progressive=True), _ABOUT_GREY, ".jpg"),
    _image("jpeg-restarts", lambda: jpeg(restart_marker_blocks=2), _ABOUT_GREY, ".jpg"),
    _image("jpeg-cmyk-adobe", _cmyk_jpeg, _shows(grey_of_cmyk, 12), ".jpg"),
    _image("jpeg-cmyk-unmarked", lambda: _cmyk_jpeg(None), _shows(grey_of_cmyk, 12), ".jpg"),
    _image("jpeg-ycck", _ycck_jpeg, _shows(grey_of_ycck, 12), ".jpg"),
    *(
        _image(
            f"jpeg-orientation-{n}",
            functools.partial(lambda n: with_segment(jpeg(), 0xE1, exif(n)), n),
            _shows(functools.partial(lambda n: oriented(n, grey()), n), 12),
            ".jpg",
        )
        for n in range(1, 9)
    ),
    _image("jpeg-orientation-99", lambda: with_segment(jpeg(), 0xE1, exif(99)), _ABOUT_GREY, ".jpg"),
    _image(
        "jpeg-exif-broken", lambda: with_segment(jpeg(), 0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff"), _ABOUT_GREY, ".jpg"
    ),
    _image("jpeg-with-preview", _within_exif, _ABOUT_GREY, ".jpg"),
    _image("jpeg-cut-after-preview", lambda: _within_exif()[: len(jpeg()) * -2 // 3], _CUT, ".jpg"),
    _image("jpeg-comment-like-an-end", lambda: with_segment(jpeg(), 0xFE, b"\xff\xd9" * 9), _ABOUT_GREY, ".jpg"),
    _image("jpeg-fill-bytes", lambda: jpeg()[:2] + b"\xff\xff\xff" + jpeg()[2:], _ABOUT_GREY, ".jpg"),
    _image("jpeg-and-more", lambda: jpeg() + b"\0" * 99, _ABOUT_GREY, ".jpg"),
    _image("jpeg-and-another", lambda: jpeg() + jpeg(np.zeros((9, 9), np.uint8)), _ABOUT_GREY, ".jpg"),
    _image("jpeg-cut-in-header", lambda: jpeg()[:100], _CUT, ".jpg"),
    _image("jpeg-cut-in-half", lambda: jpeg()[: len(jpeg()) // 2], _CUT, ".jpg"),
    _image("jpeg-without-end", lambda: jpeg()[:-2], _CUT, ".jpg"),
    _image("jpeg-without-last-byte", lambda: jpeg()[:-1], _CUT, ".jpg"),
    _image("jpeg-progressive-cut", lambda: jpeg(progressive=True)[:-60], _CUT, ".jpg"),
    _image("jpeg-cut-and-closed", lambda: _cut_and_closed(jpeg()), _CUT, ".jpg"),
    _image("jpeg-colour-cut-and-closed", lambda: _cut_and_closed(jpeg(colour())), _CUT, ".jpg"),
    _image("jpeg-turned-cut-and-closed", lambda: _cut_and_closed(with_segment(jpeg(), 0xE1, exif(6))), _CUT, ".jpg"),
    _image("jpeg-cut-and-closed-before-another", lambda: _cut_and_closed(jpeg()) + jpeg(), _CUT, ".jpg"),
    _image("jpeg-progressive-cut-and-closed", lambda: _cut_and_closed(jpeg(progressive=True)), _CUT, ".jpg"),
    _image("jpeg-progressive-without-its-last-scan", _without_last_scan, _CUT, ".jpg"),
    _image(
        "jpeg-progressive-last-scan-cut",
        lambda: jpeg(progressive=True)[: len(jpeg(progressive=True)) - 60] + b"\xff\xd9",
        _CUT,
        ".jpg",
    ),
    _image("jpeg-progressive-colour", lambda: jpeg(colour(), progressive=True), _shows(grey_of_colour, 16), ".jpg"),
    _image("jpeg-progressive-and-more", lambda: jpeg(progressive=True) + b"\xff\xd9" * 9, _ABOUT_GREY, ".jpg"),
    _image("jpeg-ends-at-once", lambda: b"\xff\xd8\xff\xd9", "without a picture", ".jpg"),
    _image("jpeg-tables-only", lambda: jpeg()[: jpeg().index(b"\xff\xc0")] + b"\xff\xd9", "without a picture", ".jpg"),
    _image("jpeg-12-bits", lambda: _jpeg_frame(4, ">B", 12), "of a kind that is not read", ".jpg"),
    _image("jpeg-lossless", lambda: _jpeg_frame(4, ">B", 8, 0xC3), "of a kind that is not read", ".jpg"),
    _image("jpeg-giant", lambda: _jpeg_frame(5, ">I", 0xFFFFFFFF), _TOO_LARGE, ".jpg"),
    _image("jpeg-height-zero", lambda: _jpeg_frame(5, ">H", 0), "without pixels", ".jpg"),
    _image("jpeg-width-zero", lambda: _jpeg_frame(7, ">H", 0), "without pixels", ".jpg"),
    _image("jpeg-five-colours", lambda: _jpeg_frame(9, ">B", 5), "neither one, three nor four", ".jpg"),
    _image("jpeg-bomb-of-scans", lambda: _many_scans(101), "more than 100 scans", ".jpg"),
)

_PNGS = (
    _image("png", _grey_png, _GREY),
    _image("png-named-jpg", _grey_png, _GREY, ".JPG"),
    _image("png-colour", lambda: png(colour().reshape(HEIGHT, -1), 2), _shows(grey_of_colour, 1)),
    _image("png-16-bits", lambda: png(to_16bit(grey()), 0, 16), _GREY),
    _image("png-colour-16-bits", lambda: png(to_16bit(colour().reshape(HEIGHT, -1)), 2, 16), _shows(grey_of_colour, 1)),
    _image("png-1-bit", lambda: png(np.packbits(grey() > 127, axis=1), 0, 1), _shows(black_and_white)),
    _image("png-2-bits", lambda: png(np.full((HEIGHT, WIDTH // 4), 0b10101010, np.uint8), 0, 2),
           _shows(lambda: np.full((HEIGHT, WIDTH), 170, np.uint8))),
    _image("png-palette", lambda: png(grey(), 3, before=_palette(transparent=False)), _shows(lambda: 255 - grey())),
    _image("png-palette-transparent", lambda: png(grey(), 3, before=_palette(transparent=True)),
           _shows(lambda: _negative_above(128))),
    _image("png-palette-missing", lambda: png(grey(), 3), _DAMAGED),
    _image("png-grey-alpha", lambda: png(np.dstack([grey(), mask()]).reshape(HEIGHT, -1), 4), _shows(masked)),
    _image("png-colour-alpha", lambda: png(np.dstack([colour(), mask()]).reshape(HEIGHT, -1), 6),
           _shows(masked_colour, 1)),
    _image("png-colour-alpha-16-bits", lambda: png(to_16bit(np.dstack([colour(), mask()]).reshape(HEIGHT, -1)), 6, 16),
           _shows(masked_colour, 1)),
    _image("png-half-transparent", lambda: png(np.full((HEIGHT, 2 * WIDTH), 128, np.uint8), 4),
           _shows(lambda: np.full((HEIGHT, WIDTH), 64, np.uint8))),
    _image("png-transparent-grey", lambda: _grey_png(chunk(b"tRNS", struct.pack(">H", int(grey()[0, 0])))),
           _shows(lambda: np.where(grey() == grey()[0, 0], 0, grey()).astype(np.uint8))),
    _image("png-transparent-colour",
           lambda: png(colour().reshape(HEIGHT, -1), 2, before=chunk(b"tRNS", struct.pack(">3H", *colour()[0, 0]))),
           _shows(lambda: np.where((colour() == colour()[0, 0]).all(2), 0, grey_of_colour()).astype(np.uint8), 1)),
    _image("png-transparent-grey-16-bits", lambda: png(to_16bit(grey()), 0, 16, before=chunk(b"tRNS", b"\x40\x40")),
           "a transparent colour of 16 bits"),
    _image("png-interlaced", _interlaced, _GREY),
    _image("png-orientation-6", lambda: _grey_png(chunk(b"eXIf", exif(6)[6:])), _shows(lambda: oriented(6, grey()))),
    _image("png-transparent-orientation-8",
           lambda: png(np.dstack([grey(), mask()]).reshape(HEIGHT, -1), 4, before=chunk(b"eXIf", exif(8)[6:])),
           _shows(lambda: oriented(8, masked()))),
    _image("png-of-one-frame", lambda: _grey_png(chunk(b"acTL", struct.pack(">II", 1, 0))), _GREY),
    _image("png-animated", lambda: frames("PNG"), _ANIMATION),
    _image("png-bomb-in-text", lambda: _compressed_text(b"zTXt"), _GREY),
    _image("png-bomb-in-profile", lambda: _compressed_text(b"iCCP"), _GREY),
    _image("png-many-texts", lambda: _grey_png(chunk(b"tEXt", b"") * 50_000), _GREY),
    _image("png-bomb-of-texts", lambda: _grey_png(chunk(b"tEXt", b"") * 100_000), "more than 100,000 chunks"),
    _image("png-and-more", lambda: _grey_png() + b"more", _GREY),
    _image("png-cut", lambda: _grey_png()[: len(_grey_png()) // 2], _CUT),
    _image("png-without-end", lambda: _grey_png()[:-12], _CUT),
    _image("png-signature-only", lambda: _PNG, _CUT),
    _image("png-damaged", _damaged_png, "a checksum of the PNG"),
    _image("png-text-damaged", _bad_checksum_of_text, "a checksum of the PNG"),
    _image("png-too-few-rows", _without_enough_rows, _DAMAGED),
    _image("png-without-picture", lambda: _grey_png().replace(chunk(b"IEND", b""), b"")[:33] + chunk(b"IEND", b""),
           "without a picture"),
    _image("png-header-missing", lambda: _PNG + chunk(b"IDAT", b"") + chunk(b"IEND", b""), "without a header"),
    _image("png-depth-unknown", lambda: png(grey(), 0, 7, size=(WIDTH, HEIGHT)), _DAMAGED),
    _image("png-giant", lambda: _grey_png(size=(20_000, 20_000)), _TOO_LARGE),
    _image("png-one-row-of-billions", lambda: _grey_png(size=(2**31 - 1, 1)), _TOO_LARGE),
    _image("png-one-column-of-billions", lambda: _grey_png(size=(1, 2**31 - 1)), _TOO_LARGE),
    _image("png-width-zero", lambda: _grey_png(size=(0, HEIGHT)), "without pixels"),
    _image("png-sent-as-text", _in_text_mode, "the signature of a PNG"),
    _image("png-chunk-of-gigabytes", lambda: _PNG + struct.pack(">I", 2**31) + b"IHDR" + bytes(99), _CUT),
)  # fmt: skip

_OTHER_FORMATS = (
    _image("gif", lambda: encode(grey(), "GIF"), _GREY, ".gif"),
    _image("gif-named-png", lambda: encode(grey(), "GIF"), _GREY),
    _image("gif-transparent", lambda: encode(np.dstack([colour(), mask()]), "GIF"), _shows(masked_colour, 40), ".gif"),
    _image("gif-animated", lambda: frames("GIF"), _ANIMATION, ".gif"),
    _image("gif-cut", lambda: encode(grey(), "GIF")[:-30], _CUT, ".gif"),
    _image("gif-without-trailer", lambda: encode(grey(), "GIF")[:-1], _CUT, ".gif"),
    _image("gif-giant-screen", lambda: _gif_of_size((65_535, 65_535)), _TOO_LARGE, ".gif"),
    _image("gif-giant-frame", lambda: _gif_of_size((WIDTH, HEIGHT), (65_535, 65_535)), _TOO_LARGE, ".gif"),
    _image("gif-frame-too-short", lambda: _gif_of_size((WIDTH, 2 * HEIGHT), (WIDTH, 2 * HEIGHT)), _DAMAGED, ".gif"),
    _image("gif-without-frame", lambda: b"GIF89a\x20\0\x28\0\0\0\0;", "without a picture", ".gif"),
    _image("bmp-8-bits", lambda: bmp(grey(), 8), _GREY, ".bmp"),
    _image("bmp-24-bits", lambda: bmp(colour()[..., ::-1].reshape(HEIGHT, -1), 24), _shows(grey_of_colour, 1), ".bmp"),
    _image("bmp-downwards", lambda: bmp(grey(), 8, down=True), _GREY, ".bmp"),
    _image("bmp-32-bits", lambda: bmp(_bgra(), 32), _shows(grey_of_colour, 1), ".bmp"),
    _image("bmp-alpha", lambda: bmp(_bgra(), 32, compression=3, masks=_BGRA_MASKS), _shows(masked_colour, 1), ".bmp"),
    _image("bmp-run-lengths", lambda: bmp(grey(), 8, compression=1), "compressed", ".bmp"),
    _image("bmp-cut", lambda: bmp(grey(), 8)[:-1], _CUT, ".bmp"),
    _image("bmp-giant", lambda: _bmp_of_size(2**31 - 1, 2**31 - 1), _TOO_LARGE, ".bmp"),
    _image("bmp-negative-width", lambda: _bmp_of_size(-WIDTH, HEIGHT), "without pixels", ".bmp"),
    _image("webp", lambda: encode(grey(), "WEBP", quality=95), _ABOUT_GREY, ".webp"),
    _image("webp-lossless", lambda: encode(colour(), "WEBP", lossless=True), _shows(grey_of_colour, 1), ".webp"),
    _image("webp-alpha", lambda: encode(np.dstack([colour(), mask()]), "WEBP", lossless=True),
           _shows(masked_colour, 1), ".webp"),
    _image("webp-alpha-lossy", lambda: encode(np.dstack([colour(), mask()]), "WEBP", quality=95),
           _shows(masked_colour, 20), ".webp"),
    _image("webp-orientation-6", lambda: encode(grey(), "WEBP", lossless=True, exif=exif(6)[6:]),
           _shows(lambda: oriented(6, grey())), ".webp"),
    _image("webp-animated", _animated_webp, _ANIMATION, ".webp"),
    _image("webp-cut", lambda: encode(grey(), "WEBP")[:-9], _CUT, ".webp"),
    _image("tiff", lambda: encode(grey(), "TIFF"), _GREY, ".tif"),
    _image("tiff-16-bits", lambda: encode(grey().astype(np.uint16) * 257, "TIFF"), _GREY, ".tif"),
    _image("tiff-white-is-zero", lambda: _tiff_with(262, 0), _shows(lambda: 255 - grey()), ".tif"),
    _image("tiff-16-bits-white-is-zero", lambda: _tiff_with(262, 0, grey().astype(np.uint16) * 257),
           _shows(lambda: 255 - grey()), ".tif"),
    _image("tiff-lzw", lambda: encode(colour(), "TIFF", compression="tiff_lzw"), _shows(grey_of_colour, 1), ".tiff"),
    _image("tiff-fax", lambda: encode(black_and_white(), "TIFF", "1", compression="group4"),
           _shows(black_and_white), ".tiff"),
    _image("tiff-cmyk", lambda: encode(colour(), "TIFF", "CMYK"), _shows(grey_of_colour, 2), ".tif"),
    _image("tiff-alpha", lambda: encode(np.dstack([colour(), mask()]), "TIFF"), _shows(masked_colour, 1), ".tif"),
    _image("tiff-orientation-6", lambda: encode(grey(), "TIFF", tiffinfo={274: 6}),
           _shows(lambda: oriented(6, grey())), ".tif"),
    _image("tiff-floats", lambda: encode((grey() / 255).astype(np.float32), "TIFF"), "floats", ".tif"),
    _image("tiff-nan", lambda: encode(np.full((9, 9), np.nan, np.float32), "TIFF"), "floats", ".tif"),
    _image("tiff-32-bits", lambda: encode(grey().astype(np.int32), "TIFF"), "32 bits", ".tif"),
    _image("tiff-of-pages", lambda: frames("TIFF"), "several pages", ".tif"),
    _image("tiff-bomb-of-pages", lambda: _tiff_of_directories(5_000), "several pages", ".tif"),
    _image("tiff-in-circles", _tiff_in_circles, Accepted(1, grey), ".tif"),
    _image("tiff-cut", lambda: encode(grey(), "TIFF")[:-9], "cut short|damaged", ".tif"),
    _image("tiff-strip-outside", lambda: _tiff_with(273, 10**6), _CUT, ".tif"),
    _image("tiff-giant", lambda: _tiff_with(256, 60_000), _TOO_LARGE, ".tif"),
    _image("tiff-width-zero", lambda: _tiff_with(256, 0), "without pixels|damaged", ".tif"),
    _image("pgm", lambda: pgm(255, grey().tobytes()), _GREY, ".pgm"),
    _image("pgm-10-bits", _ten_bits, _shows(grey, 1), ".pgm"),
    _image("pgm-16-bits", lambda: pgm(65_535, to_16bit(grey()).tobytes()), _GREY, ".pgm"),
    _image("pgm-to-100", lambda: pgm(100, (grey() / 255 * 100).astype(np.uint8).tobytes()), _shows(grey, 3), ".pgm"),
    _image("pgm-text", lambda: pgm(255, _as_text(grey()), kind=2), _GREY, ".pgm"),
    _image("pgm-comments", lambda: b"P5 # a\n#b\n32\n#c\n40 255\n" + grey().tobytes(), _GREY, ".pgm"),
    _image("ppm", lambda: pgm(255, colour().tobytes(), kind=6), _shows(grey_of_colour, 1), ".ppm"),
    _image("pbm", lambda: b"P4\n32 40\n" + np.packbits(grey() <= 127, axis=1).tobytes(),
           _shows(black_and_white), ".pgm"),
    _image("pgm-cut", lambda: pgm(255, grey().tobytes()[:-1]), _CUT, ".pgm"),
    _image("pgm-text-cut", lambda: pgm(255, _as_text(grey()[:9]), kind=2), _DAMAGED, ".pgm"),
    _image("pgm-highest-zero", lambda: pgm(0, grey().tobytes()), _DAMAGED, ".pgm"),
    _image("pgm-giant", lambda: pgm(255, b"", (10**6, 10**6)), _TOO_LARGE, ".pgm"),
    _image("pgm-negative", lambda: pgm(255, b"-1 " * 1280, kind=2), _DAMAGED, ".pgm"),
)  # fmt: skip

IMAGES = (*_NO_IMAGES, *_JPEGS, *_PNGS, *_OTHER_FORMATS)

# --- archives ---------------------------------------------------------------------------------------------------------

_DIRECTORY, _END = b"PK\x01\x02", b"PK\x05\x06"


def entry(name: str, mode: int = stat.S_IFREG | 0o644, system: int = 3) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = system
    info.external_attr = mode << 16
    return info


def zipped(
    files: dict[str, bytes],
    *others: tuple[zipfile.ZipInfo, bytes],
    method: int = zipfile.ZIP_STORED,
    comment: bytes = b"",
) -> bytes:
    """A zip of these files (name -> bytes) and the other entries after them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Duplicate name"
        for info, data in [*((entry(name), data) for name, data in files.items()), *others]:
            archive.writestr(info, data, method)
        archive.comment = comment
    return buffer.getvalue()


@functools.cache
def pictures() -> dict[str, bytes]:
    """Two images in class folders."""
    return {"angry/1.png": _grey_png(), "happy/2.png": png(255 - grey(), 0)}


def _with(*others: tuple[zipfile.ZipInfo | str, bytes], **options: bytes | int) -> bytes:
    """A zip of the two images and other entries."""
    entries = [(entry(name) if isinstance(name, str) else name, data) for name, data in others]
    return zipped(pictures(), *entries, **options)


def _patched(data: bytes, mark: bytes, at: int, form: str, *values: int, last: bool = True) -> bytes:
    """`data` with values packed at an offset from the last (or first) `mark`."""
    patched = bytearray(data)
    struct.pack_into(form, patched, (data.rindex(mark) if last else data.index(mark)) + at, *values)
    return bytes(patched)


def _entry_of(at: int, form: str, *values: int) -> bytes:
    """A zip of the two images with the second's entry in the directory changed."""
    return _patched(_with(), _DIRECTORY, at, form, *values)


def _zeros(n_mb: int, n_files: int) -> bytes:
    return _with(*((f"angry/{n}.bmp", bytes(n_mb * 2**20)) for n in range(n_files)), method=zipfile.ZIP_DEFLATED)


def _sharing_bytes() -> bytes:
    """A zip whose directory's second entry begins where the first does."""
    data = bytearray(zipped({"angry/1.png": _grey_png(), "angry/2.png": _grey_png()}))
    struct.pack_into("<I", data, data.rindex(_DIRECTORY) + 42, 0)
    return bytes(data)


def _large_form(count: int, directory_bytes: int, at: int) -> bytes:
    """A zip of the two images with a ZIP64 end record that describes the directory so."""
    data = _with()
    end = data.rindex(_END)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, directory_bytes, at)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    return data[:end] + record + locator + data[end:]


def _true_large_form() -> bytes:
    data = _with()
    count, directory_bytes, at = struct.unpack_from("<HII", data, data.rindex(_END) + 10)
    return _large_form(count, directory_bytes, at)


def _size_in_large_form() -> bytes:
    """A zip with an entry whose ZIP64 field declares 2^62 bytes."""
    extra = struct.pack("<HHQ", 1, 8, 2**62)
    large = entry("angry/3.png")
    large.extra = extra
    data = bytearray(_with((large, b"x")))
    struct.pack_into("<I", data, data.rindex(_DIRECTORY) + 24, 0xFFFFFFFF)
    return bytes(data)


def _name_of_other_bytes() -> bytes:
    return _with(("angry/\u00e9.png", _grey_png())).replace("\u00e9".encode(), b"\xc3\x28")


def _name_of_code_page() -> bytes:
    return _with(("angry/xy.png", _grey_png())).replace(b"xy.png", b"\x82y.png")


def _damaged_content() -> bytes:
    data = bytearray(_with())
    data[data.index(b"IDAT") + 20] ^= 0xFF
    return bytes(data)


def _other_name_within() -> bytes:
    """A zip whose directory and local header name one file differently."""
    return _with().replace(b"angry/1.png", b"happy/1.png", 1)


def _name_within_of_other_bytes() -> bytes:
    """A zip with a local header that declares a UTF-8 name which is not UTF-8."""
    data = bytearray(_with(("angry/\u00e9.png", _grey_png())))
    at = data.index("\u00e9".encode())
    data[at : at + 2] = b"\xff\xfe"
    return bytes(data)


def _archive(name: str, make: Callable[[], bytes], outcome: Outcome) -> Case:
    return Case(name, make, outcome, ".zip")


def _refusal(message: str, error: type[errors.FerError] = errors.SourceError) -> Refused:
    return Refused(error, message)


_WHOLE = _refusal("must be a whole zip")
_NAMES = _refusal("plain relative paths")
_BOMB = _refusal("times (its own|their compressed) size")
_LINKS = _refusal("no links")

ARCHIVES = (
    _archive("zip", _with, Accepted(2)),
    _archive("zip-deflated", lambda: _with(method=zipfile.ZIP_DEFLATED), Accepted(2)),
    _archive("zip-bzip2", lambda: _with(method=zipfile.ZIP_BZIP2), _refusal("by method 12")),
    _archive("zip-lzma", lambda: _with(method=zipfile.ZIP_LZMA), _refusal("by method 14")),
    _archive("zip-unknown-method", lambda: _entry_of(10, "<H", 97), _refusal("by method 97")),
    _archive("zip-slip", lambda: _with(("../../escaped.png", _grey_png())), _NAMES),
    _archive("zip-slip-inside", lambda: _with(("angry/../../escaped.png", _grey_png())), _NAMES),
    _archive("zip-absolute", lambda: _with(("/tmp/escaped.png", _grey_png())), _NAMES),
    _archive("zip-drive", lambda: _with(("C:/escaped.png", _grey_png())), _NAMES),
    _archive("zip-backslashes", lambda: _with(("..\\..\\escaped.png", _grey_png())), _NAMES),
    _archive("zip-dot", lambda: _with(("angry/./3.png", _grey_png())), _NAMES),
    _archive("zip-two-slashes", lambda: _with(("angry//3.png", _grey_png())), _NAMES),
    _archive("zip-nameless", lambda: _with(("x", b"")).replace(b"x", b"/"), _NAMES),
    _archive("zip-nul-in-name", lambda: _with(("angry/3.pngx.exe", _grey_png())).replace(b"3.pngx", b"3.png\0"),
             _NAMES),
    _archive("zip-newline-in-name", lambda: _with(("angry/3\n4.png", _grey_png())), _NAMES),
    _archive("zip-escape-in-name", lambda: _with(("angry/\x1b[2J.png", _grey_png())), _NAMES),
    _archive("zip-reversed-name", lambda: _with(("angry/\u202egnp.exe.png", _grey_png())), _NAMES),
    _archive("zip-overlong-name", lambda: _with(("angry/" + "n" * 60_000 + ".png", _grey_png())),
             _refusal("at most 1,024 characters")),
    _archive("zip-name-not-utf-8", _name_of_other_bytes, _refusal("names in UTF-8")),
    _archive("zip-name-of-code-page", _name_of_code_page, Accepted(3)),
    _archive("zip-name-in-utf-8", lambda: _with(("angry/\u0444\u043e\u0442\u043e.png", _grey_png())), Accepted(3)),
    _archive("zip-same-name", lambda: _with(("angry/1.png", _grey_png())), _refusal("each name once")),
    _archive("zip-names-differ-in-case", lambda: _with(("angry/A.png", _grey_png()), ("angry/a.png", _grey_png())),
             Accepted(4)),
    _archive("zip-names-differ-in-form",
             lambda: _with(("angry/\u00e9.png", _grey_png()), ("angry/e\u0301.png", _grey_png())), Accepted(4)),
    _archive("zip-other-name-within", _other_name_within, _WHOLE),
    _archive("zip-link", lambda: _with((entry("angry/3.png", stat.S_IFLNK | 0o777), b"/etc/passwd")), _LINKS),
    _archive("zip-link-of-macos", lambda: _with((entry("angry/3.png", stat.S_IFLNK, 19), b"../../x")), _LINKS),
    _archive("zip-linked-folder", lambda: _with((entry("sad", stat.S_IFLNK | 0o777), b"/etc")), _LINKS),
    _archive("zip-device", lambda: _with((entry("angry/3.png", stat.S_IFCHR | 0o666), b"")), _LINKS),
    _archive("zip-pipe", lambda: _with((entry("angry/3.png", stat.S_IFIFO | 0o666), b"")), _LINKS),
    _archive("zip-encrypted", lambda: _entry_of(8, "<H", 1), _refusal("without a password")),
    _archive("zip-encrypted-aes", lambda: _entry_of(10, "<H", 99), _refusal("without a password")),
    _archive("zip-encrypted-strongly", lambda: _entry_of(8, "<H", 0x40), _refusal("without a password")),
    _archive("zip-of-a-patch", lambda: _entry_of(8, "<H", 0x20), _refusal("not what is to be patched")),
    _archive("zip-name-within-not-utf-8", _name_within_of_other_bytes, _WHOLE),
    _archive("zip-bomb", lambda: _zeros(80, 1), _BOMB),
    _archive("zip-bomb-of-many", lambda: _zeros(8, 10), _BOMB),
    _archive("zip-bomb-that-shares", _sharing_bytes, _refusal("must not overlap")),
    _archive("zip-bomb-by-its-own-word", lambda: _entry_of(24, "<I", 0xF0000000), _refusal("at most")),
    _archive("zip-bomb-of-petabytes", _size_in_large_form, _refusal("at most|whole zip")),
    _archive("zip-size-understated", lambda: _entry_of(24, "<I", 40), _WHOLE),
    _archive("zip-size-overstated", lambda: _entry_of(24, "<I", 5000), _WHOLE),
    _archive("zip-reaches-into-next", lambda: _patched(_with(), _DIRECTORY, 20, "<II", 1500, 1500, last=False),
             _refusal("must not overlap")),
    _archive("zip-checksum-wrong", lambda: _entry_of(16, "<I", 0), _WHOLE),
    _archive("zip-content-damaged", _damaged_content, _WHOLE),
    _archive("zip-offset-outside", lambda: _entry_of(42, "<I", 0x7FFFFFFF), _refusal("whole zip|overlap")),
    _archive("zip-cut-in-half", lambda: _with()[: len(_with()) // 2], _WHOLE),
    _archive("zip-without-end", lambda: _with()[:-22], _WHOLE),
    _archive("zip-without-last-byte", lambda: _with()[:-1], _WHOLE),
    _archive("zip-first-half-missing", lambda: _with()[len(_with()) // 2 :], _refusal("must be a zip")),
    _archive("zip-directory-only", lambda: _with()[_with().index(_DIRECTORY) :], _refusal("must be a zip")),
    _archive("zip-count-wrong", lambda: _patched(_with(), _END, 8, "<HH", 9, 9), _WHOLE),
    _archive("zip-directory-too-long", lambda: _patched(_with(), _END, 12, "<I", 0x7FFFFFFF),
             _refusal("directory|whole")),
    _archive("zip-part-of-several", lambda: _patched(_with(), _END, 4, "<HH", 1, 1), _refusal("must be one file")),
    _archive("zip-large-form", _true_large_form, Accepted(2)),
    _archive("zip-large-form-lies", lambda: _large_form(2, 2**40, 2**40), _refusal("directory|whole zip")),
    _archive("zip-large-form-of-billions", lambda: _large_form(2**40, 108, 0), _refusal("at most 2,000,000 files")),
    _archive("zip-comment", lambda: _with(comment=b"made by hand"), Accepted(2)),
    _archive("zip-comment-like-an-end", lambda: _with(comment=_END + bytes(40)), _refusal("must hold files")),
    _archive("zip-self-extracting", lambda: b"MZ" + bytes(500) + _with(), _refusal("must be a zip")),
    _archive("zip-empty", lambda: zipped({}), _refusal("must hold files")),
    _archive("zip-of-folders", lambda: zipped({"angry/": b"", "happy/": b""}), _refusal("must hold files")),
    _archive("zip-folder-with-content", lambda: _with(("angry/x", b"x")).replace(b"angry/x", b"angryx/"),
             _refusal("folders without a content")),
    _archive("no-bytes", lambda: b"", _refusal("an empty file")),
    _archive("tar", lambda: b"angry/1.png".ljust(257, b"\0") + b"ustar\0" + bytes(300), _refusal("must be a zip")),
    _archive("gzip-file", lambda: b"\x1f\x8b\x08\0" + bytes(40), _refusal("must be a zip")),
    _archive("rar", lambda: b"Rar!\x1a\x07\x01\0" + bytes(40), _refusal("must be a zip")),
    _archive("zip-within", lambda: _with(("more/images.zip", _with())), Ignored("nested archive (.zip)", accepted=2)),
    _archive("tar-within", lambda: _with(("more.tar.gz", b"x")), Ignored("nested archive (.tar.gz)", accepted=2)),
    _archive("zip-of-a-zip", lambda: zipped({"images.zip": _with()}), _refusal("nested archive")),
    _archive("zip-of-words", lambda: zipped({"README.md": b"x"}), _refusal("none an image")),
    _archive("zip-with-words", lambda: _with(("README.md", b"x")), Ignored(".md", accepted=2)),
    _archive("zip-with-junk", lambda: _with(("__MACOSX/angry/._1.png", b"x"), ("angry/Thumbs.db", b"x"),
                                            ("angry/Icon\r", b"")), Accepted(2)),
    _archive("zip-with-empty-image", lambda: _with(("angry/3.png", b"")), Quarantined("empty", accepted=2)),
    _archive("zip-of-broken-images", lambda: zipped({"angry/1.png": b"", "happy/2.png": b"x"}),
             _refusal("can be decoded")),
    _archive("zip-image-without-suffix", lambda: _with(("angry/3", _grey_png()), ("sad/4.dat", jpeg())), Accepted(4)),
    _archive("zip-image-without-suffix-cut", lambda: _with(("angry/3", _grey_png()[:60])),
             Quarantined("cut short", accepted=2)),
    _archive("zip-huge-image", lambda: _with(("angry/3.png", bytes(65 << 20))),
             Quarantined("too large to be read", accepted=2)),
    _archive("zip-label-of-marks", lambda: _with(("?/3.png", _grey_png())), _refusal(r"'\?'", errors.LabelError)),
    _archive("zip-labels-overlong", lambda: _with(*((f"{n}{'x' * 900}/3.png", _grey_png()) for n in range(9))),
             _refusal(r"'0x+\.\.\.'", errors.LabelError)),
    _archive("zip-unknown-label", lambda: _with(("bored/3.png", _grey_png())), _refusal("'bored'", errors.LabelError)),
    _archive("zip-image-outside", lambda: _with(("3.png", _grey_png())),
             _refusal("no class folder", errors.LabelError)),
)  # fmt: skip

# --- tables -----------------------------------------------------------------------------------------------------------

HEADER = "emotion,pixels,Usage"


def pixels(n: int = 36) -> str:
    return " ".join(str(value % 256) for value in range(7, 7 + 5 * n, 5))


def _row(name: str, line: str | bytes, outcome: Outcome | str) -> Case:
    data = line if isinstance(line, bytes) else line.encode()
    return Case(name, lambda: data, Quarantined(outcome) if isinstance(outcome, str) else outcome, ".csv")


_NUMBERS = "not all numbers within 0-255"
_SQUARE = "no square"
_ANOTHER = "another number of pixels"

ROWS = (
    _row("row", f"3,{pixels()},Training", Accepted(label="happy")),
    _row("row-quoted", f'"3","{pixels()}","Training"', Accepted(label="happy")),
    _row("row-label-spaced", f" 3 ,{pixels()},Training", Accepted(label="happy")),
    _row("row-label-as-float", f"3.0,{pixels()},Training", Accepted(label="happy")),
    _row("row-label-as-word", f"Suprised,{pixels()},Training", Accepted(label="surprise")),
    _row("row-many-blanks", f"3,  {pixels().replace(' ', '   ')}  ,Training", Accepted(label="happy")),
    _row("row-leading-zeros", f"3,{' '.join(['007'] * 36)},Training", Accepted(label="happy")),
    _row("row-of-one-pixel", "3,7,Training", _ANOTHER),
    _row("row-of-a-larger-square", f"3,{pixels(49)},Training", _ANOTHER),
    _row("row-of-a-smaller-square", f"3,{pixels(25)},Training", _ANOTHER),
    _row("row-no-split", f"3,{pixels()},", Accepted(label="happy")),
    _row("row-split-in-latin-1", f"3,{pixels()},".encode() + b"entra\xeenement", Accepted(label="happy")),
    _row("row-too-few-pixels", f"3,{pixels(35)},Training", _SQUARE),
    _row("row-too-many-pixels", f"3,{pixels(37)},Training", _SQUARE),
    _row("row-cut", f"3,{pixels(20)}", "number of columns"),
    _row("row-too-many-cells", f"3,{pixels()},Training,more,and more", "number of columns"),
    _row("row-of-one-cell", "3", "number of columns"),
    _row("row-pixels-by-comma", f"3,{pixels().replace(' ', ',')},Training", "number of columns"),
    _row("row-negative", f"3,-1 {pixels(35)},Training", _NUMBERS),
    _row("row-above-255", f"3,256 {pixels(35)},Training", _NUMBERS),
    _row("row-above-64-bits", f"3,{2**64} {pixels(35)},Training", _NUMBERS),
    _row("row-of-a-thousand-digits", f"3,{'9' * 1000} {pixels(35)},Training", _NUMBERS),
    _row("row-fraction", f"3,1.5 {pixels(35)},Training", _NUMBERS),
    _row("row-exponent", f"3,1e2 {pixels(35)},Training", _NUMBERS),
    _row("row-nan", f"3,nan {pixels(35)},Training", _NUMBERS),
    _row("row-infinite", f"3,inf {pixels(35)},Training", _NUMBERS),
    _row("row-hexadecimal", f"3,0x1f {pixels(35)},Training", _NUMBERS),
    _row("row-underscore", f"3,1_0 {pixels(35)},Training", _NUMBERS),
    _row("row-plus", f"3,+5 {pixels(35)},Training", _NUMBERS),
    _row("row-lone-minus", f"3,- {pixels(35)},Training", _NUMBERS),
    _row("row-letters", f"3,black {pixels(35)},Training", _NUMBERS),
    _row("row-arabic-digits", f"3,\u0663 {pixels(35)},Training", _NUMBERS),
    _row("row-wide-digits", f"3,\uff15 {pixels(35)},Training", _NUMBERS),
    _row("row-superscript", f"3,\u00b2 {pixels(35)},Training", _NUMBERS),
    _row("row-brackets", f'3,"[{pixels()}]",Training', Accepted(label="happy")),
    _row("row-nul", f"3,0\0 {pixels(35)},Training", _NUMBERS),
    _row("row-tabs", f"3,{pixels().replace(' ', chr(9))},Training", Accepted(label="happy")),
    _row("row-newlines", f'3,"{pixels().replace(" ", chr(10))}",Training', Accepted(label="happy")),
    _row("row-latin-1", f"3,{pixels(35)} ".encode() + b"\xb2,Training", _NUMBERS),
    _row("row-without-pixels", "3,,Training", _NUMBERS),
    _row("row-of-blanks-for-pixels", "3,   ,Training", _NUMBERS),
    _row("row-without-label", f",{pixels()},Training", "label is missing"),
    _row("row-blank-label", f"  ,{pixels()},Training", "label is missing"),
    _row("row-without-anything", ",,", "label is missing"),
)


def table(*lines: str, header: str = HEADER, ending: str = "\n", encoding: str = "utf-8") -> bytes:
    return zipped({"fer2013.csv": "".join(line + ending for line in (header, *lines)).encode(encoding)})


_LINE = f"3,{pixels()},Training"
_TWO = (_LINE, f"0,{pixels()},PublicTest")


def labelled(*lines: str, header: str = "file,label", **files: bytes) -> bytes:
    """A zip of the images a.png and b.png and a table of labels."""
    text = "".join(line + "\n" for line in (header, *lines)).encode()
    return zipped({"a.png": _grey_png(), "b.png": png(255 - grey(), 0), "labels.csv": text} | files)


def _table(name: str, make: Callable[[], bytes], outcome: Outcome) -> Case:
    return Case(name, make, outcome, ".zip")


_NO_IMAGE = _refusal("none an image")
_REPEATED = "second row of a label table for the same file"

TABLES = (
    _table("csv", lambda: table(*_TWO), Accepted(2)),
    _table("csv-windows", lambda: table(*_TWO, ending="\r\n"), Accepted(2)),
    _table("csv-old-mac", lambda: table(*_TWO, ending="\r"), Accepted(2)),
    _table("csv-byte-order-mark", lambda: table(*_TWO, encoding="utf-8-sig"), Accepted(2)),
    _table("csv-utf-16", lambda: table(*_TWO, encoding="utf-16"), Accepted(2)),
    _table("csv-semicolons", lambda: table(*(row.replace(",", ";") for row in _TWO), header=HEADER.replace(",", ";")),
           Accepted(2)),
    _table("csv-tabs", lambda: table(*(row.replace(",", "\t") for row in _TWO), header=HEADER.replace(",", "\t")),
           Accepted(2)),
    _table("csv-spaced-names", lambda: table(*_TWO, header="emotion, pixels, Usage"), Accepted(2)),
    _table("csv-loud-names", lambda: table(*_TWO, header="EMOTION,PIXELS,USAGE"), Accepted(2)),
    _table("csv-icml", lambda: table(*(f"{e},{u},{p}" for e, p, u in (row.split(",") for row in _TWO)),
                                     header="emotion, Usage, pixels"), Accepted(2)),
    _table("csv-without-split", lambda: table(f"3,{pixels()}", f"0,{pixels()}", header="emotion,pixels"), Accepted(2)),
    _table("csv-more-columns", lambda: table(*(f"9,{row}" for row in _TWO), header=f"id,{HEADER}"), Accepted(2)),
    _table("csv-blank-lines", lambda: table("", *_TWO, "", ""), Accepted(2)),
    _table("csv-without-last-newline", lambda: zipped({"fer2013.csv": "\n".join([HEADER, *_TWO]).encode()}),
           Accepted(2)),
    _table("csv-row-cut-at-end", lambda: zipped({"fer2013.csv": "\n".join([HEADER, _LINE, _LINE[:60]]).encode()}),
           Quarantined("number of columns")),
    _table("csv-header-only", table, _refusal("must hold images")),
    _table("csv-empty", lambda: zipped({"fer2013.csv": b""}), _NO_IMAGE),
    _table("csv-without-header", lambda: table(*_TWO, header=_LINE), Accepted(3)),
    _table("csv-without-labels", lambda: table(pixels(), header="pixels"), _NO_IMAGE),
    _table("csv-without-pixels", lambda: table("3,Training", header="emotion,Usage"), _NO_IMAGE),
    _table("csv-column-twice", lambda: table(f"3,{pixels()},{pixels(9)}", header="emotion,pixels,pixels"),
           Accepted(1)),  # the first counts
    _table("csv-of-bytes", lambda: zipped({"fer2013.csv": bytes(range(256)) * 40}), _NO_IMAGE),
    _table("csv-huge-field", lambda: table(_LINE, f"3,{'1 ' * (3 << 20)},Training"), _refusal("one image per row")),
    _table("csv-huge-header", lambda: table(*_TWO, header=HEADER + ",x" * 200_000),
           _NO_IMAGE),
    _table("csv-quote-never-closed", lambda: table(_LINE, f'3,"{pixels()},Training', _LINE),
           _refusal("quotes must be closed")),
    _table("csv-quote-amid-rows", lambda: table(*([_LINE] * 40), f'3,"{pixels()},Training', *([_LINE] * 58)),
           _refusal("quotes must be closed")),
    _table("csv-quote-closed-too-early", lambda: table(_LINE, f'3,"7"{pixels()},Training', _LINE),
           _refusal("quotes must be closed")),
    _table("csv-of-several-squares", lambda: table(f"3,{pixels(4)},Training", *_TWO),
           Quarantined(_ANOTHER, accepted=2)),
    _table("csv-number-minus-1-of-unicode", lambda: table(_LINE, f"\u22121,{pixels()},Training"),
           _refusal("'\u22121'", errors.LabelError)),
    _table("csv-number-with-a-mark", lambda: table(_LINE, f"3?,{pixels()},Training"),
           _refusal(r"'3\?'", errors.LabelError)),
    _table("csv-label-of-controls", lambda: table(_LINE, f"\x1b]0;x\x07,{pixels()},Training"),
           _refusal(r"'\\x1b\]0;x\\x07'", errors.LabelError)),
    _table("csv-label-overlong", lambda: table(_LINE, f"{'h' * 10**6},{pixels()},Training"),
           _refusal("at most 4,096 characters")),
    _table("csv-number-7", lambda: table(_LINE, f"7,{pixels()},Training"), _refusal("'7'", errors.LabelError)),
    _table("csv-number-minus-1", lambda: table(_LINE, f"-1,{pixels()},Training"), _refusal("'-1'", errors.LabelError)),
    _table("csv-number-3.5", lambda: table(_LINE, f"3.5,{pixels()},Training"), _refusal("'3.5'", errors.LabelError)),
    _table("csv-label-unknown", lambda: table(_LINE, f"bored,{pixels()},Training"),
           _refusal("'bored'", errors.LabelError)),
    _table("csv-label-in-latin-1", lambda: table(_LINE, f"g\u00eane,{pixels()},Training", encoding="latin-1"),
           _refusal("Every image must be labelled", errors.LabelError)),
    _table("csv-all-broken", lambda: table("3,1 2 3,Training", "3,x,Training"), _refusal("can be decoded")),
    _table("csv-and-its-part",
           lambda: zipped({"fer2013.csv": f"{HEADER}\n{_LINE}\n".encode(),
                           "part.csv": f"emotion,pixels\n3,{pixels()}\n".encode()}),
           Ignored(".csv")),
    _table("labels", lambda: labelled("a.png,happy", "b.png,sad"), Accepted(2)),
    _table("labels-backslashes",
           lambda: labelled("x\\c.png,happy", "a.png,sad", "b.png,sad", **{"x/c.png": _grey_png()}), Accepted(3)),
    _table("labels-of-missing-file", lambda: labelled("a.png,happy", "b.png,sad", "c.png,sad"),
           Quarantined("not there", accepted=2)),
    _table("labels-leading-out", lambda: labelled("a.png,happy", "b.png,sad", "../../../etc/passwd,sad"),
           Quarantined("not there", accepted=2)),
    _table("labels-absolute", lambda: labelled("a.png,happy", "b.png,sad", "/etc/passwd,sad"),
           Quarantined("not there", accepted=2)),
    _table("labels-without-row", lambda: labelled("a.png,happy"), Quarantined("no label in")),
    _table("labels-empty", lambda: labelled("a.png,happy", "b.png,"), Quarantined("label is missing")),
    _table("labels-contradicting", lambda: labelled("a.png,happy", "b.png,sad", "b.png,fear"),
           Quarantined("two labels", ignored=_REPEATED)),
    _table("labels-repeated", lambda: labelled("a.png,happy", "b.png,sad", "b.png,sad"),
           Ignored(_REPEATED, accepted=2)),
    _table("labels-nameless-row", lambda: labelled("a.png,happy", "b.png,sad", ",sad"),
           Quarantined("names no file", accepted=2)),
    _table("labels-of-controls", lambda: labelled("a.png,happy", "b.png,sad", "\x1b[2J.png,sad"),
           Quarantined("can't be printed", accepted=2)),
    _table("labels-blank-row", lambda: labelled("a.png,happy", "", "b.png,sad"), Accepted(2)),
    _table("labels-row-of-commas", lambda: labelled("a.png,happy", ",", "b.png,sad"),
           Quarantined("names no file", accepted=2)),
    _table("labels-two-splits",
           lambda: labelled("a.png,happy,train", "b.png,sad,test", "b.png,sad,train", header="file,label,split"),
           Quarantined("two splits", ignored=_REPEATED)),
    _table("labels-one-split-twice",
           lambda: labelled("a.png,happy,train", "b.png,sad,train", "b.png,sad,Training", header="file,label,split"),
           Ignored(_REPEATED, accepted=2)),
    _table("labels-quote-never-closed", lambda: labelled('a.png,"happy', "b.png,sad"),
           _refusal("quotes must be closed")),
    _table("labels-of-another-split", lambda: labelled("a.png,happy", "b.png,sad", "train/c.png,happy",
                                                       **{"test/c.png": _grey_png()}),
           Quarantined("not there|no label in", n=2, accepted=2)),
    _table("labels-too-many-cells", lambda: labelled("a.png,happy", "b.png,sad", "b.png,sad,x,y"),
           Quarantined("more cells than columns", accepted=2)),
    _table("labels-unknown", lambda: labelled("a.png,happy", "b.png,bored"), _refusal("'bored'", errors.LabelError)),
    _table("labels-ambiguous", lambda: labelled("c.png,happy", "c.png,sad", "c.png,sad",
                                                **{"x/c.png": _grey_png(), "y/c.png": _grey_png()}),
           _refusal("one file fits")),
    _table("splits-beside-class-folders-ambiguous",
           lambda: zipped({"angry/1.png": _grey_png(), "happy/1.png": jpeg(), "s.csv": b"file,split\n1.png,train\n"}),
           _refusal("one file fits")),
    _table("labels-without-column", lambda: labelled("a.png,1", header="file,width"),
           _refusal("'labels.csv' has the columns", errors.LabelError)),
    _table("labels-overlong", lambda: labelled(f"a.png,{'h' * 5000}"), _refusal("at most 4,096 characters")),
    _table("labels-of-broken-image", lambda: labelled("a.png,happy", "b.png,sad", **{"b.png": b"no"}),
           Quarantined(_UNKNOWN)),
    _table("parquet-damaged", lambda: zipped({"a.png": _grey_png(), "labels.parquet": b"PAR1" + bytes(50) + b"PAR1"}),
           _refusal("whole")),
)  # fmt: skip

ALL = (*IMAGES, *ARCHIVES, *ROWS, *TABLES)
