"""Cursors: text that only we can make."""

from __future__ import annotations

import base64
import hmac
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.domain.cursor import MAX_CONTINUED, MAX_TEXT, Cursor, CursorError, open_, seal
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.variables import Values, assigned

KEY = b"a key"
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)
CURSORS = st.builds(
    Cursor,
    call_id=TEXT,
    tenant=TEXT,
    number=TEXT,
    flow=TEXT,
    revision=st.integers(1, 10_000),
    node=TEXT,
    caller=st.builds(Caller, st.sampled_from(CallerKind), st.text("0123456789", max_size=20)),
    priority=st.booleans(),
    step=st.integers(0, 1_000),
    values=st.dictionaries(TEXT, TEXT, max_size=4).map(lambda given: tuple(given.items())),
)
LONGEST = Cursor(
    "c" * 100, "t" * 63, "4" * 15, "f" * 63, 999, "n" * 63, Caller(CallerKind.MALFORMED, "1" * 20), True, 99
)  # fmt: skip


@given(CURSORS)
def test_a_cursor_comes_back_as_it_was(cursor: Cursor) -> None:
    text = seal(cursor, KEY)
    if text:
        assert open_(text, KEY) == cursor
        assert text.isascii()
        assert not set(text) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(CURSORS, st.data())
def test_a_changed_cursor_is_refused(cursor: Cursor, data: st.DataObject) -> None:
    text = seal(cursor, KEY)
    if not text:
        return
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCabc019-_=+/ \n").filter(lambda sign: sign != text[at]))
    with pytest.raises(CursorError):
        open_(text[:at] + other + text[at + 1 :], KEY)


@pytest.mark.parametrize("text", ["", "x", "====", "ключ", "AAAA", "A" * 600, "\x00"])
def test_what_never_was_a_cursor_is_refused(text: str) -> None:
    with pytest.raises(CursorError):
        open_(text, KEY)


def test_a_cursor_of_another_cluster_is_refused() -> None:
    with pytest.raises(CursorError):
        open_(seal(LONGEST, b"another key"), KEY)


def test_the_longest_names_fit_beside_a_call_id_of_100_characters() -> None:
    assert 0 < len(seal(LONGEST, KEY)) <= MAX_TEXT


def test_a_cursor_of_a_call_that_has_set_nothing_is_as_it_always_was() -> None:
    body = b"1\nc\nacme\n4001234567\nmain\n1\nmenu\nmobile\n13900001234\n\n3"
    text = base64.urlsafe_b64encode(hmac.digest(KEY, body, "sha256")[:16] + body).rstrip(b"=").decode()
    cursor = Cursor("c", "acme", "4001234567", "main", 1, "menu", Caller(CallerKind.MOBILE, "13900001234"), step=3)
    assert (open_(text, KEY), seal(cursor, KEY)) == (cursor, text)


@pytest.mark.parametrize("body", ["2\nc\na\n4\nm\n1\nn\nmobile\n1\n\n3", "1\nc", "3\nc\na\n4\nm\n1\nn\nmobile\n1\n\n3"])
def test_a_cursor_of_another_form_is_refused(body: str) -> None:
    text = base64.urlsafe_b64encode(hmac.digest(KEY, body.encode(), "sha256")[:16] + body.encode()).rstrip(b"=")
    with pytest.raises(CursorError, match="of another form"):
        open_(text.decode(), KEY)


def test_all_that_a_call_can_set_fits_beside_the_longest_names() -> None:
    values: Values = ()
    for number in range(16):
        values = assigned(values, f"v{number}", "号" * 256)
    cursor = replace(LONGEST, values=values)
    text = seal(cursor, KEY, MAX_CONTINUED)
    assert MAX_TEXT < len(text) <= MAX_CONTINUED
    assert open_(text, KEY) == cursor
    assert seal(cursor, KEY) == ""


def test_a_call_whose_id_is_too_long_has_no_cursor() -> None:
    cursor = Cursor("号" * 128, "acme", "4001234567", "main", 1, "menu", Caller(CallerKind.ANONYMOUS))
    assert seal(cursor, KEY) == ""
