"""Codecs: rtpmap, payload types known without, events."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.sip.codec import DTMF_EVENTS, EVENTS, PCMA, PCMU, STATIC, Codec, parse_events, parse_rtpmap, write_events

NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._", min_size=1, max_size=20)
CODECS = st.builds(Codec, st.integers(0, 127), NAMES, st.integers(1, 999_999_999), st.integers(1, 999))


@given(CODECS)
@settings(deadline=None)
def test_an_rtpmap_comes_back_as_it_was(codec: Codec) -> None:
    assert parse_rtpmap(codec.rtpmap) == codec


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("101 telephone-event/8000", Codec(101, "telephone-event", 8_000)),
        ("18 G729/8000/1", Codec(18, "G729", 8_000)),
        (" 10  L16/44100/2  ", Codec(10, "L16", 44_100, 2)),
    ],
)
def test_an_rtpmap_is_read(text: str, codec: Codec) -> None:
    assert parse_rtpmap(text) == codec


@pytest.mark.parametrize(
    "text",
    ["", "8", "8 PCMA", "8 PCMA/", "8 PCMA/x", "128 X/8000", "8 PCMA/0", "8 /8000", "-1 X/1", "8 X/1/", "8 X/1/0"],
)
def test_what_is_no_rtpmap(text: str) -> None:
    with pytest.raises(ValueError, match="must be a payload type to 127, a name, a slash and a clock rate"):
        parse_rtpmap(text)


@given(st.frozensets(st.integers(0, 255)))
@settings(deadline=None)
def test_events_come_back_as_they_were(codes: frozenset[int]) -> None:
    text = write_events(codes)
    if codes:
        assert parse_events(text) == codes
    else:
        assert text == ""


@pytest.mark.parametrize(
    ("codes", "text"), [(range(16), "0-15"), ([0, 1, 2, 66, 70, 71], "0-2,66,70-71"), ([5], "5"), ([255], "255")]
)
def test_events_in_a_row_are_written_as_a_range(codes: list[int], text: str) -> None:
    assert write_events(frozenset(codes)) == text


def test_events_may_be_named() -> None:
    assert parse_events("events=0-15") == DTMF_EVENTS


@pytest.mark.parametrize("text", ["", "-", "0-", "256", "15-0", "0,,1", "a", "0 - 15", "0-15,"])
def test_what_is_no_list_of_events(text: str) -> None:
    with pytest.raises(ValueError, match="must be event codes 0 to 255"):
        parse_events(text)


RFC_3551 = """
0 PCMU/8000, 3 GSM/8000, 4 G723/8000, 5 DVI4/8000, 6 DVI4/16000, 7 LPC/8000, 8 PCMA/8000, 9 G722/8000, 10 L16/44100/2,
11 L16/44100, 12 QCELP/8000, 13 CN/8000, 14 MPA/90000, 15 G728/8000, 16 DVI4/11025, 17 DVI4/22050, 18 G729/8000,
25 CelB/90000, 26 JPEG/90000, 28 nv/90000, 31 H261/90000, 32 MPV/90000, 33 MP2T/90000, 34 H263/90000
"""


def test_payload_types_that_are_known_without_an_rtpmap() -> None:
    codecs = [parse_rtpmap(line.strip()) for line in RFC_3551.split(",")]
    assert {one.payload: one for one in codecs} == STATIC
    assert (PCMA.payload, PCMU.payload, EVENTS.payload) == (8, 0, 101)


def test_events_that_are_not_told_are_the_keys() -> None:
    assert Codec(101, "telephone-event", 8_000).events == DTMF_EVENTS
    assert EVENTS.events == DTMF_EVENTS
    assert EVENTS.is_events
    assert not PCMA.is_events


def test_codecs_match_whatever_their_payload_type_and_capitals() -> None:
    assert PCMA.matches(Codec(96, "pcma", 8_000))
    assert not PCMA.matches(PCMU)
    assert not PCMA.matches(Codec(8, "PCMA", 16_000))
    assert not STATIC[10].matches(STATIC[11])


def test_an_unknown_codec_matches_nothing() -> None:
    unknown = Codec(96, "", 0)
    assert not unknown.matches(unknown)
