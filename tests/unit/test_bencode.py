"""Bencoding: there and back for every value, an error of ours for every other input."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.bencode import MAX_DEPTH, BencodeError, decode, encode

text = st.binary().map(lambda data: data.decode("utf-8", "surrogateescape"))
values = st.recursive(
    text | st.integers(-(2**63), 2**63 - 1),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5),
    max_leaves=20,
)


@given(values)
def test_every_value_survives(value) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_our_error(data: bytes) -> None:
    with contextlib.suppress(BencodeError):
        decode(data)


@given(values, st.data())
def test_a_value_cut_short_is_an_error(value, data) -> None:
    whole = encode(value)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(BencodeError):
        decode(whole[:cut])


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ({"command": "ping"}, b"d7:command4:pinge"),
        ([], b"le"),
        (-3, b"i-3e"),
        (b"\xff\x00", b"2:\xff\x00"),
        ("é", b"2:\xc3\xa9"),
        ({"b": 1, "a": ["x", 2]}, b"d1:bi1e1:al1:xi2eee"),
    ],
)
def test_known_encodings(value, encoded: bytes) -> None:
    assert encode(value) == encoded


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"i1",
        b"ie",
        b"i1.5e",
        b"i\xc2\xb2e",
        b"4:abc",
        b"99999999999999999999999:a",
        b"di1e1:ae",
        b"d1:ae",
        b"1:ab",
        b"l",
        b"e",
        b"l" * (MAX_DEPTH + 1) + b"e" * (MAX_DEPTH + 1),
    ],
)
def test_bad_input_is_an_error(data: bytes) -> None:
    with pytest.raises(BencodeError):
        decode(data)


def test_deepest_nesting_that_is_taken() -> None:
    assert encode(decode(b"l" * MAX_DEPTH + b"e" * MAX_DEPTH)) == b"l" * MAX_DEPTH + b"e" * MAX_DEPTH


@pytest.mark.parametrize("value", [True, None, 1.5, {"a": {2}}])
def test_other_types_are_refused(value) -> None:
    with pytest.raises(TypeError, match="cannot bencode"):
        encode(value)
