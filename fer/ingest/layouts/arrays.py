"""NumPy's files, without trust: a header is read by itself, and nothing is unpickled."""

import io
import math
import tokenize
from typing import NamedTuple

import numpy as np

_MOST_HEADER_BYTES = 10_000
MAGIC = b"\x93NUMPY"


class Header(NamedTuple):
    """What an array's file says of itself; its data begins at byte `data_at`."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool
    data_at: int

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)


def header(start: bytes) -> Header | None:
    """The header of an array's file that begins so; None where it is none, or holds objects.

    `start`: the first 16 KiB or all.
    """
    file = io.BytesIO(start)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(file, max_header_size=_MOST_HEADER_BYTES)
    except (ValueError, SyntaxError, tokenize.TokenError, TypeError, EOFError, RecursionError, MemoryError):
        return None
    return None if dtype.hasobject else Header(shape, dtype, fortran_order, file.tell())
