"""Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages.

Read here as it stands, before Arrow makes objects of it: three bytes of it can stand for a kilobyte of them.
"""

import struct
from typing import Any

_DEPTH = 24  # Parquet's own structs are at most eight deep
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)
_VARINT_BYTES = 10

Struct = dict[int, Any]  # number of a field -> its value: int, float, bytes, list or Struct


class Malformed(ValueError):
    """Bytes that are no struct of this protocol."""


class TooMany(ValueError):
    """More fields and list items than are allowed."""


class Reader:
    """Reads structs from `data` at the offset `at`, of at most `n_values` fields and list items together.

    Raises Malformed, TooMany; IndexError where the data ends within a struct.
    """

    def __init__(self, data: bytes | memoryview, at: int, n_values: int):
        self._data = data
        self.at = at
        self._n_left = n_values

    def struct(self, depth: int = 0) -> Struct:
        """The struct that begins here."""
        if depth > _DEPTH:
            raise Malformed(f"structs more than {_DEPTH} deep")
        fields: Struct = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            self._count(1)
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BINARY:
            return self._take(self._unsigned())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth + 1)
        if kind in (_BYTE, _TRUE, _FALSE):  # within a list booleans are bytes too
            return self._byte()
        if kind == _DOUBLE:
            return struct.unpack("<d", self._take(8))[0]
        if kind == _MAP:
            raise Malformed("a map, of which Parquet has none")
        raise Malformed(f"a value of kind {kind}")

    def _list(self, depth: int) -> list[Any]:
        if depth > _DEPTH:
            raise Malformed(f"lists more than {_DEPTH} deep")
        head = self._byte()
        n_items = head >> 4 if head >> 4 != 15 else self._unsigned()
        self._count(n_items)
        return [self._value(head & 15, depth) for _ in range(n_items)]

    def _count(self, n_values: int) -> None:
        self._n_left -= n_values
        if self._n_left < 0:
            raise TooMany

    def _byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift == 7 * _VARINT_BYTES:
                raise Malformed("a number of too many bytes")

    def _integer(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)

    def _take(self, n_bytes: int) -> bytes:
        end = self.at + n_bytes
        if end > len(self._data):
            raise IndexError
        taken = bytes(self._data[self.at : end])
        self.at = end
        return taken
