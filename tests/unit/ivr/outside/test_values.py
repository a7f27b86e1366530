"""What an answer says, as text."""

from __future__ import annotations

import pytest
from signalbox.ivr.outside.values import values_of
from signalbox.ivr.ports import RequestFailedError


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"已发货"', "已发货"),
        ('"\\u5df2"', "已"),
        ("12", "12"),
        ("-0", "-0"),
        ("1.50", "1.50"),
        ("1e3", "1e3"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("9" * 5_000, "9" * 5_000),
        ("true", "true"),
        ("false", "false"),
        ('"a\\ud800b"', "ab"),
        ('"\\ud83d\\ude00"', "😀"),
    ],
)
def test_a_value_is_text_as_json_writes_it(written: str, text: str) -> None:
    assert values_of(f'{{"state": {written}}}'.encode(), {"state"}) == {"state": text}


@pytest.mark.parametrize("written", ["null", "[1]", '{"a": "b"}', '""'])
def test_what_is_no_text_is_left_out(written: str) -> None:
    assert values_of(f'{{"state": {written}, "other": "x"}}'.encode(), {"state", "other"}) == {"other": "x"}


def test_only_keys_that_are_named_are_taken() -> None:
    assert values_of(b'{"a": "1", "b": "2"}', {"b", "c"}) == {"b": "2"}


def test_a_byte_order_mark_is_passed_over() -> None:
    assert values_of(b'\xef\xbb\xbf{"a": "1"}', {"a"}) == {"a": "1"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"OK",
        b'{"a": "1"',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\xff"}',
        '{"a": "1"}'.encode("utf-16"),
        b"\x1f\x8b\x08\x00",
        b"[" * 16_000,
        b'{"a":' * 3_000,
    ],
)
def test_what_is_no_json_is_no_good_answer(answer: bytes) -> None:
    with pytest.raises(RequestFailedError, match=r"is no JSON$"):
        values_of(answer, {"a"})


@pytest.mark.parametrize("answer", [b"[]", b'"a"', b"1", b"null", b"true"])
def test_json_that_is_no_object_is_no_good_answer(answer: bytes) -> None:
    with pytest.raises(RequestFailedError, match="is no JSON object"):
        values_of(answer, {"a"})
