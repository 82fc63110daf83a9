"""BMP: Microsoft's BITMAPINFOHEADER and its later versions, and OS/2's BITMAPCOREHEADER."""

import struct

from fer.images.formats import header
from fer.images.formats.header import Header, UndecodableImage


def read(data: bytes) -> Header:
    """Read a BMP's header. Raises UndecodableImage."""
    start, header_bytes = struct.unpack_from("<II", data, 10)
    compression = 0
    if header_bytes == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)  # negative: the rows go downwards
    if compression not in (0, 3, 6) or bits not in (1, 4, 8, 16, 24, 32):
        raise UndecodableImage("a BMP of a kind that is not read here: compressed, or of unusual bits")
    header.require_size(width, height)
    if start + (width * bits + 31) // 32 * 4 * height > len(data):
        raise UndecodableImage("cut short")
    return Header("BMP", width, height, plain=bits <= 24 and compression == 0)
