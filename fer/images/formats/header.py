"""What the decoders need to know of an encoded image before they decode it, and the limits of what is decoded."""

import re
from typing import NamedTuple

from fer.images import limits

FREE_PIXELS = 2**22  # an image this large costs nothing that matters, however few bytes it has
MAX_CHUNKS = 100_000  # of a PNG or WebP; each costs time, however short it is, and 64 MiB by 4 KiB are 16 thousand

_OTHER_KINDS = (  # what people put into folders of images, by how it begins
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
    (re.compile(rb"version https://git-lfs|/annex/objects/"), "a pointer of Git LFS or git-annex to the file"),
    (re.compile(rb"[\t\n\r\x20-\x7e]{16,}|[\t\n\r\x20-\x7e]+\Z"), "a text"),
)
_PICTURES = frozenset(("a HEIC", "an AVIF", "a JPEG 2000", "a JPEG XL", "a Photoshop file"))


UNKNOWN_FORMAT = "not an image of a format known here"  # how such reasons begin


class UndecodableImage(ValueError):
    """Bytes that are no whole picture of a known format; the message is the reason, the same for the same defect."""


class Header(NamedTuple):
    """Format, size in pixels, and which way of decoding fits.

    `plain`: grey or colour of 8 or 16 bits, without transparency. `start`: offset of the samples of a PGM with one byte
    per sample; 0 for everything else. `progressive`: a JPEG whose scans refine the whole picture. `has_exif`: a JPEG
    with EXIF, which may hold an orientation. `skipped`: (start, end) offsets of the text and profiles of a PNG, which
    may decompress to far more than the picture.
    """

    format: str  # JPEG, PNG, GIF, BMP, WEBP, TIFF, PBM, PGM, PPM
    width: int
    height: int
    plain: bool = True
    start: int = 0
    progressive: bool = False
    has_exif: bool = False
    skipped: tuple[tuple[int, int], ...] = ()


def require_size(width: int, height: int) -> None:
    """Raise UndecodableImage for an image without pixels, or with a side beyond the limit."""
    if width < 1 or height < 1:
        raise UndecodableImage("without pixels: its width or height is zero")
    limit = limits.current().side_px
    if width > limit or height > limit:
        raise UndecodableImage(f"too large to be decoded: over {limit:,} pixels a side")


def require_density(width: int, height: int, n_bytes: int) -> None:
    """Raise UndecodableImage for a large image of fewer bytes than a picture of its size has."""
    if width * height > FREE_PIXELS:
        limit = limits.current().pixels_per_byte
        if width * height > n_bytes * limit:
            raise UndecodableImage(f"too large for its bytes: over {limit:,} pixels for each")


def require_one_frame(n_frames: int) -> None:
    """Raise UndecodableImage for an animation."""
    if n_frames > 1:
        raise UndecodableImage("an animation, not one picture")


def unknown_format(data: bytes) -> str:
    """Why bytes of none of the formats read here are refused; names what people put into folders of images."""
    kind = _other_kind(data)
    return f"{UNKNOWN_FORMAT}: {kind}" if kind else UNKNOWN_FORMAT


def is_other_picture(start: bytes) -> bool:
    """Whether a file begins like a picture of a format that is not read here."""
    return _other_kind(start) in _PICTURES


def _other_kind(data: bytes) -> str | None:
    return next((name for pattern, name in _OTHER_KINDS if pattern.match(data)), None)
