"""Values on the wire: short and long strings, and field tables in RabbitMQ's dialect of the types.

Pure. Whatever cannot be read raises MalformedFrame; tables may nest `DEPTH` deep, so that hostile bytes cost bounded stack.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from relayfleet.amqp.errors import MalformedFrame

DEPTH = 16

_U32 = struct.Struct("!I")
_I64 = struct.Struct("!q")
_FIXED: dict[int, tuple[struct.Struct, Callable[[Any], Any]]] = {
    ord(code): (struct.Struct(layout), convert)
    for code, layout, convert in (
        ("t", "!B", bool),
        ("b", "!b", int),
        ("B", "!B", int),
        ("s", "!h", int),
        ("u", "!H", int),
        ("I", "!i", int),
        ("i", "!I", int),
        ("l", "!q", int),
        ("L", "!Q", int),
        ("f", "!f", float),
        ("d", "!d", float),
        ("T", "!Q", int),
    )
}


def short_string(text: str) -> bytes:
    """At most 255 bytes of UTF-8 behind one byte of length."""
    data = text.encode()
    if len(data) > 255:
        raise ValueError(f"{len(data)} bytes do not fit a short string: {text[:40]!r}…")
    return bytes((len(data),)) + data


def long_string(data: bytes) -> bytes:
    """Bytes behind four bytes of length."""
    return _U32.pack(len(data)) + data


def table(values: Mapping[str, Any]) -> bytes:
    """A field table from bool, int, float, str, bytes, None, dict and list."""
    return long_string(b"".join(short_string(name) + _value(value) for name, value in values.items()))


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"t\x01" if value else b"t\x00"
    if isinstance(value, int):
        return b"l" + _I64.pack(value)
    if isinstance(value, float):
        return b"d" + struct.pack("!d", value)
    if isinstance(value, str):
        return b"S" + long_string(value.encode())
    if isinstance(value, bytes):
        return b"x" + long_string(value)
    if value is None:
        return b"V"
    if isinstance(value, dict):
        return b"F" + table(value)
    if isinstance(value, list):
        return b"A" + long_string(b"".join(map(_value, value)))
    raise TypeError(f"no AMQP type for {type(value).__name__}")


class Reader:
    """Reads values from the front of `data`. Every method raises MalformedFrame when the bytes do not suffice."""

    __slots__ = ("_data", "_end", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self._end = len(data)
        self.position = position

    def fixed(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The fields of a struct layout."""
        try:
            values = layout.unpack_from(self._data, self.position)
        except struct.error as error:
            raise MalformedFrame(f"frame ends early: {error}") from error
        self.position += layout.size
        return values

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self.position + size
        if end > self._end:
            raise MalformedFrame(f"frame ends early: {size} bytes announced, {self._end - self.position} there")
        data = self._data[self.position : end]
        self.position = end
        return data

    def octet(self) -> int:
        """One byte as a number."""
        return self.take(1)[0]

    def short_string(self) -> str:
        """Text behind one byte of length; bytes that are no UTF-8 come out as replacement characters."""
        return self.take(self.octet()).decode(errors="replace")

    def long_string(self) -> bytes:
        """Bytes behind four bytes of length."""
        return self.take(self.fixed(_U32)[0])

    def table(self, depth: int = 0) -> dict[str, Any]:
        """A field table."""
        inner = Reader(self.long_string())
        values: dict[str, Any] = {}
        while inner.position < inner._end:
            name = inner.short_string()
            values[name] = inner.value(depth)
        return values

    def value(self, depth: int = 0) -> Any:
        """One typed value of a table or array."""
        if depth > DEPTH:
            raise MalformedFrame(f"field tables nested more than {DEPTH} deep")
        code = self.octet()
        if code in _FIXED:
            layout, convert = _FIXED[code]
            return convert(self.fixed(layout)[0])
        return self._variable(code, depth)

    def _variable(self, code: int, depth: int) -> Any:
        match chr(code):
            case "S":
                return self.long_string().decode(errors="replace")
            case "x":
                return self.long_string()
            case "F":
                return self.table(depth + 1)
            case "A":
                return self._array(depth + 1)
            case "D":
                scale, digits = self.fixed(_DECIMAL)
                return digits / 10**scale
            case "V":
                return None
        raise MalformedFrame(f"no field type {chr(code)!r}")

    def _array(self, depth: int) -> list[Any]:
        inner = Reader(self.long_string())
        values = []
        while inner.position < inner._end:
            values.append(inner.value(depth))
        return values


_DECIMAL = struct.Struct("!BI")
