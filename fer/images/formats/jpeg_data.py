"""How many bits a JPEG's scans need at least, by its own tables (ISO/IEC 10918-1, F and G): fewer are cut short.

Closed again after the cut such a file looks whole, and takes a second of decoding at 67 million pixels.
"""

import struct
from typing import NamedTuple

_FRAMES_SEQUENTIAL, _FRAME_PROGRESSIVE = (0xC0, 0xC1), 0xC2  # of Huffman codes
_TABLES, _SCAN, _END = 0xC4, 0xDA, 0xD9


class _Component(NamedTuple):
    """Blocks of a component in a scan of its own, and in one with others."""

    alone: int
    interleaved: int


def has_enough(data: bytes) -> bool:
    """Whether each scan of a JPEG that `jpeg.read` has walked may be whole. Always so for arithmetic codes."""
    shortest: dict[int, int] = {}
    components: dict[int, _Component] = {}
    progressive = False
    at = 2
    while True:
        at = data.find(b"\xff", at)
        marker = data[at + 1] if 0 <= at < len(data) - 1 else _END
        if marker == _END:
            return True
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + (data[at + 2] << 8 | data[at + 3])
        if marker == _TABLES:
            shortest |= _shortest_codes(data[at + 4 : end])
        elif marker in (*_FRAMES_SEQUENTIAL, _FRAME_PROGRESSIVE):
            progressive = marker == _FRAME_PROGRESSIVE
            components = _components(data[at + 4 : end])
        elif marker == _SCAN:
            data_end = _end_of_scan(data, end)
            if _bits(data[at + 4 : end], components, shortest, progressive) > 8 * (data_end - end):
                return False
            end = data_end
        at = end


def _shortest_codes(tables: bytes) -> dict[int, int]:
    """Of each table the bits that a block takes at least: its class and number -> bits."""
    shortest = {}
    at = 0
    while at + 17 <= len(tables):
        counts = tables[at + 1 : at + 17]
        symbols = tables[at + 17 : at + 17 + sum(counts)]
        lengths = [bits for bits, count in enumerate(counts, start=1) for _ in range(count)]
        shortest[tables[at]] = lengths[0] if lengths else 0
        if tables[at] >= 0x10 and lengths:
            # A block that does not end early has four codes at least: none stands for more than 16 coefficients.
            end = symbols.find(0)
            shortest[tables[at]] = min(4 * lengths[0], lengths[end] if 0 <= end < len(lengths) else 4 * lengths[0])
        at += 17 + sum(counts)
    return shortest


def _components(frame: bytes) -> dict[int, _Component]:
    height, width, count = struct.unpack_from(">HHB", frame, 1)
    sampling = {frame[at]: (frame[at + 1] >> 4, frame[at + 1] & 15) for at in range(6, 6 + 3 * count, 3)}
    widest = max(across for across, _ in sampling.values()) or 1
    highest = max(down for _, down in sampling.values()) or 1
    n_units = _rounded_up(width, 8 * widest) * _rounded_up(height, 8 * highest)
    return {
        number: _Component(
            _rounded_up(width * across, 8 * widest) * _rounded_up(height * down, 8 * highest), n_units * across * down
        )
        for number, (across, down) in sampling.items()
    }


def _rounded_up(number: int, divisor: int) -> int:
    return -(-number // divisor)


def _bits(scan: bytes, components: dict[int, _Component], shortest: dict[int, int], progressive: bool) -> int:
    """The fewest bits that a scan with this header has."""
    count = scan[0]
    first, last_and_step = scan[1 + 2 * count], scan[3 + 2 * count]
    total = 0
    for at in range(1, 1 + 2 * count, 2):
        component = components.get(scan[at])
        if component is None:
            return 0
        n_blocks = component.alone if count == 1 else component.interleaved
        mean, others = shortest.get(scan[at + 1] >> 4, 0), shortest.get(0x10 | scan[at + 1] & 15, 0)
        if not progressive:
            total += n_blocks * (mean + others)
        elif first == 0:
            total += n_blocks * (1 if last_and_step >> 4 else mean)
    return total


def _end_of_scan(data: bytes, at: int) -> int:
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        if data[at + 1] == 0 or 0xD0 <= data[at + 1] <= 0xD7:
            at += 2
        elif data[at + 1] == 0xFF:
            at += 1
        else:
            return at
