"""GIF89a specification (CompuServe, 1990): blocks up to the trailer."""

import struct

from fer.images.formats import header
from fer.images.formats.header import Header, UndecodableImage, unknown_format


def read(data: bytes) -> Header:
    """Walk a GIF to its trailer. Raises UndecodableImage."""
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        raise UndecodableImage("cut short" if len(data) < 6 else unknown_format(data))
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _colours_bytes(flags)
    n_frames = 0
    while data[at] != 0x3B:
        if data[at] == 0x2C:
            n_frames += 1
            frame = struct.unpack_from("<HHHHB", data, at + 1)
            header.require_size(frame[2], frame[3])
            at += 11 + _colours_bytes(frame[4])  # and a byte for the size of the codes
        elif data[at] == 0x21:
            at += 2
        else:
            raise UndecodableImage("damaged: a GIF's blocks don't follow each other")
        while data[at]:
            at += 1 + data[at]
        at += 1
    header.require_one_frame(n_frames)
    if not n_frames:
        raise UndecodableImage("a GIF without a picture")
    header.require_size(width, height)
    return Header("GIF", width, height, plain=False)


def _colours_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
