"""Legs: lines that only a step of a call flow can name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.domain import cursor, sealing
from signalbox.domain.leg import MAX_LEG, Leg, LegError, open_, seal
from signalbox.domain.numbering import Caller, CallerKind

KEY = b"a key"
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)
LEGS = st.builds(
    Leg,
    call_id=TEXT,
    tenant=TEXT,
    number=TEXT,
    line=TEXT,
    step=st.integers(0, 1_000),
    expires=st.integers(0, 1 << 40),
    max_duration_s=st.integers(0, 86_400),
)
LEG = Leg("edge-1-1-2-3", "acme", "4001234567", "desk", 2, 1_000)
LONGEST = Leg("c" * 128, "t" * 63, "4" * 15, "l" * 63, 99_999, 1 << 40, 86_400)


@given(LEGS)
def test_a_leg_comes_back_as_it_was(leg: Leg) -> None:
    assert open_(seal(leg, KEY), KEY) == leg


def test_the_longest_leg_fits() -> None:
    assert 0 < len(seal(LONGEST, KEY)) <= MAX_LEG


@given(LEGS, st.data())
def test_a_changed_leg_is_refused(leg: Leg, data: st.DataObject) -> None:
    text = seal(leg, KEY)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("AQgw-_").filter(lambda character: character != text[at]))
    with pytest.raises(LegError):
        open_(text[:at] + other + text[at + 1 :], KEY)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (seal(LEG, b"another key"), "not signed with this key"),
        ("", "not signed with this key"),
        ("?", "not base64url"),
        ("A" * (MAX_LEG + 1), f"longer than {MAX_LEG} characters"),
        (sealing.seal(("leg 2", *"abcdefg"), KEY, MAX_LEG), "of another form"),
        (sealing.seal(("leg 1", "a"), KEY, MAX_LEG), "of another form"),
    ],
)
def test_what_is_no_leg_of_ours_is_refused(text: str, reason: str) -> None:
    with pytest.raises(LegError, match=reason):
        open_(text, KEY)


def test_a_cursor_is_no_leg_and_a_leg_no_cursor() -> None:
    point = cursor.Cursor("c", "t", "n", "f", 1, "node", Caller(CallerKind.ANONYMOUS))
    with pytest.raises(LegError, match="of another form"):
        open_(cursor.seal(point, KEY), KEY)
    with pytest.raises(cursor.CursorError, match="of another form"):
        cursor.open_(seal(LEG, KEY), KEY)
    with pytest.raises(cursor.CursorError):
        cursor.open_(seal(replace(LEG, line="\n".join("abcdefgh")), KEY), KEY)
