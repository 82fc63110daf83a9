"""WebP: RFC 9649."""

import struct
from collections.abc import Iterator

from fer.images.formats import header
from fer.images.formats.header import Header, UndecodableImage, unknown_format


def read(data: bytes) -> Header:
    """Walk the chunks of a WebP. Raises UndecodableImage."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise UndecodableImage("cut short" if b"RIFF".startswith(data[:4]) and len(data) < 12 else unknown_format(data))
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise UndecodableImage("cut short")
    sizes: list[tuple[int, int]] = []
    n_frames = 0
    plain = True
    for n_before, (kind, at, length) in enumerate(_riff_chunks(data, end)):
        if n_before == header.MAX_CHUNKS:
            raise UndecodableImage(f"a WebP of more than {header.MAX_CHUNKS:,} chunks")
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
            raise UndecodableImage("cut short")
    header.require_one_frame(n_frames)
    if not sizes:
        raise UndecodableImage("a WebP without a picture")
    for width, height in sizes:
        header.require_size(width, height)
    return Header("WEBP", sizes[0][0], sizes[0][1], plain)


def _riff_chunks(data: bytes, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its content begins, length) of each chunk; they are padded to even lengths."""
    at = 12
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, at + 8, length
        at += 8 + length + length % 2
