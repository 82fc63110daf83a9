"""Netpbm's PBM (P1, P4), PGM (P2, P5) and PPM (P3, P6); P1 to P3 write the samples as text."""

import re

from fer.images.formats import header
from fer.images.formats.header import Header, UndecodableImage

_BLANK = rb"(?:\s|#[^\n\r]*[\n\r])"
_PNM = re.compile(rb"P([1-6])" + _BLANK + rb"+(\d{1,9})" + _BLANK + rb"+(\d{1,9})(?=\s)")
_PNM_MAX = re.compile(_BLANK + rb"+(\d{1,9})\s")


def read(data: bytes) -> Header:
    """Read the header of a PBM, PGM or PPM. Raises UndecodableImage."""
    head = _PNM.match(data)
    if head is None:
        raise UndecodableImage("damaged: no header of a PNM")
    kind, width, height = int(head[1]), int(head[2]), int(head[3])
    name = ("PBM", "PGM", "PPM")[(kind - 1) % 3]
    header.require_size(width, height)
    if name == "PBM":
        if kind == 4 and head.end() + 1 + (width + 7) // 8 * height > len(data):
            raise UndecodableImage("cut short")
        return Header(name, width, height, plain=False)
    highest = _PNM_MAX.match(data, head.end())
    if highest is None:
        raise UndecodableImage("damaged: no header of a PNM")
    if not 1 <= int(highest[1]) <= 65_535:
        raise UndecodableImage("damaged: a PNM whose highest value is none")
    n_bytes = width * height * (3 if name == "PPM" else 1) * (2 if int(highest[1]) > 255 else 1)
    if kind > 3 and highest.end() + n_bytes > len(data):
        raise UndecodableImage("cut short")
    plain = kind > 3 and int(highest[1]) == 255
    return Header(name, width, height, plain, highest.end() if plain and kind == 5 else 0)
