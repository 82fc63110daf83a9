"""What an encoded image says of itself, read before any of it is decoded: its format, its size and whether it is whole.

Decoders are forgiving: one fills what is missing of a JPEG with grey, another takes the first frame of an animation.
So each format's own structure is walked by its module in `formats`, from the first byte to the one that ends the
picture.
"""

import re
import struct
from collections.abc import Callable

from fer.images.formats import bmp, gif, jpeg, png, pnm, tiff, webp
from fer.images.formats.header import Header, UndecodableImage, is_other_picture, require_density, unknown_format

_READERS: dict[bytes, Callable[[bytes], Header]] = {
    b"\xff\xd8": jpeg.read,
    b"\x89P": png.read,
    b"GI": gif.read,
    b"BM": bmp.read,
    b"RI": webp.read,
    b"II": tiff.read,
    b"MM": tiff.read,
    **{b"P%d" % kind: pnm.read for kind in range(1, 7)},
}


def read(data: bytes) -> Header:
    """Read the header of `data` and walk to its end. A TIFF's is left to its decoder: width and height are 0.

    Raises UndecodableImage: empty, of no known format, cut short, damaged, of several frames, beyond the limits of
    `formats.header`.
    """
    known = jpeg.remembered(data)  # asked first, as most files are such
    if known is None:
        known = _read(data)
    require_density(known.width, known.height, len(data))
    return known


def _read(data: bytes) -> Header:
    if not data:
        raise UndecodableImage("the file is empty")
    reader = _READERS.get(data[:2])
    if reader is None:
        raise UndecodableImage(unknown_format(data))
    try:
        return reader(data)
    except (struct.error, IndexError):
        raise UndecodableImage("cut short") from None


def is_start_of_image(start: bytes) -> bool:
    """Whether the first START_BYTES of a file, or all there are, look like an image, decoded here or not."""
    return _START.match(start) is not None or is_other_picture(start)


START_BYTES = 32
_START = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM.{4}\0{4}|RIFF.{4}WEBP|II[*+]\0|MM\0[*+]"
    rb"|P[1-6]\s+(?:\d+\s+\d+\s|#)",
    re.DOTALL,
)
