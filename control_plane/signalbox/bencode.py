"""Bencoding, as rtpengine's ng protocol uses it (BEP 3; dictionary keys need not be sorted).

Strings are UTF-8 text here; bytes that are not UTF-8 survive the way there and back as surrogate escapes (PEP 383).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from signalbox.errors import SignalboxError

Value: TypeAlias = "str | int | list[Value] | dict[str, Value]"
Encodable: TypeAlias = "str | bytes | int | Sequence[Encodable] | Mapping[str, Encodable]"

MAX_DEPTH = 32
_MAX_DIGITS = 20
"""Enough for every 64-bit number with its sign."""


class BencodeError(SignalboxError):
    """Bytes that are no bencoded value."""


def encode(value: Encodable) -> bytes:
    """The bencoding of a value; dictionaries keep their order. Raises TypeError for other types, bool among them."""
    parts: list[bytes] = []
    _encode(value, parts)
    return b"".join(parts)


def _encode(value: Encodable, parts: list[bytes]) -> None:
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        parts += (b"%d:" % len(value), value)
    elif isinstance(value, int) and not isinstance(value, bool):
        parts.append(b"i%de" % value)
    elif isinstance(value, Mapping):
        parts.append(b"d")
        for key, item in value.items():
            _encode(key, parts)
            _encode(item, parts)
        parts.append(b"e")
    elif isinstance(value, Sequence):
        parts.append(b"l")
        for item in value:
            _encode(item, parts)
        parts.append(b"e")
    else:
        raise TypeError(f"cannot bencode {type(value).__name__}")


def decode(data: bytes) -> Value:
    """The value that ``data`` is, whole. Raises BencodeError."""
    value, end = _decode(data, 0, MAX_DEPTH)
    if end != len(data):
        raise BencodeError(f"{len(data) - end} bytes after the value")
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    kind = data[at : at + 1]
    if kind.isdigit():
        return _decode_string(data, at)
    if kind == b"i":
        end = _find(data, b"e", at)
        return _number(data[at + 1 : end]), end + 1
    if kind not in (b"l", b"d") or not depth:
        raise BencodeError(f"no value at byte {at}")
    at += 1
    items: list[Value] = []
    while data[at : at + 1] != b"e":
        item, at = _decode(data, at, depth - 1)
        items.append(item)
    if kind == b"l":
        return items, at + 1
    return _dictionary(items), at + 1


def _dictionary(items: list[Value]) -> dict[str, Value]:
    if len(items) % 2:
        raise BencodeError("a key without a value")
    result: dict[str, Value] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str):
            raise BencodeError("a key that is no string")
        result[key] = value
    return result


def _decode_string(data: bytes, at: int) -> tuple[str, int]:
    colon = _find(data, b":", at)
    length = _number(data[at:colon])
    end = colon + 1 + length
    if length < 0 or end > len(data):
        raise BencodeError(f"string at byte {at} is cut short")
    return data[colon + 1 : end].decode("utf-8", "surrogateescape"), end


def _find(data: bytes, mark: bytes, at: int) -> int:
    end = data.find(mark, at, at + _MAX_DIGITS + 2)
    if end < 0:
        raise BencodeError(f"number at byte {at} does not end")
    return end


def _number(digits: bytes) -> int:
    if not digits.removeprefix(b"-").isdigit():
        raise BencodeError(f"no number: {digits!r}")
    return int(digits)
