"""When somebody was heard, by packets as rtpengine writes them."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.g711 import A_LAW, MU_LAW, Law
from signalbox.media.loudness import THRESHOLD_DBM0, Loudness, until
from support.loud import FRAME_US, HEAD, LOUD, SILENCE, START_US, capture, rtp, sound, tone
from support.packets import ipv4

if TYPE_CHECKING:
    from collections.abc import Callable


def ipv6(content: bytes) -> bytes:
    udp = struct.pack("!HHHH", 4_000, 30_000, 8 + len(content), 0)
    return struct.pack("!IHBB16s16s", 6 << 28, 8 + len(content), 17, 64, b"\1" * 16, b"\2" * 16) + udp + content


def heard(*packets: bytes) -> int | None:
    """The last frame that was; None: none was."""
    loudness = Loudness()
    loudness.feed(capture(*packets))
    return (loudness.sound_us - START_US) // FRAME_US if loudness.sound_us else None


@pytest.mark.parametrize("wrap", [ipv4, ipv6])
def test_the_last_of_what_is_loud_is_when_somebody_was_heard(wrap: Callable[[bytes], bytes]) -> None:
    assert heard(*(wrap(rtp(frame)) for frame in [SILENCE] * 3 + [LOUD] * 4 + [SILENCE] * 5)) == 6
    assert heard(*(wrap(rtp(frame)) for frame in [SILENCE] * 9)) is None


@pytest.mark.parametrize(("law", "kind"), [(A_LAW, 8), (MU_LAW, 0)])
def test_what_is_louder_than_the_threshold_is_heard_in_either_law(law: Law, kind: int) -> None:
    assert heard(*[ipv4(rtp(tone(THRESHOLD_DBM0 + 1.5, law), kind))] * 3) == 2
    assert heard(*[ipv4(rtp(tone(THRESHOLD_DBM0 - 1.5, law), kind))] * 3) is None


def test_a_click_is_not_heard() -> None:
    assert heard(*(ipv4(rtp(frame)) for frame in (SILENCE, LOUD, SILENCE, LOUD, SILENCE))) is None


@pytest.mark.parametrize(
    ("kind", "payload", "is_sound"),
    [
        (13, b"\x40", False),  # comfort noise
        (13, b"\x40" * 11, False),
        (101, b"\x05\x0a\x03\x20", False),  # a key
        (96, b"\xf8", False),  # Opus that is silent
        (9, b"\0" * 160, True),  # G.722
        (96, b"\x78" * 60, True),
        (18, b"\0" * 20, True),  # G.729
    ],
)
def test_how_loud_other_codecs_are_is_not_known(kind: int, payload: bytes, is_sound: bool) -> None:
    assert heard(*[ipv4(rtp(payload, kind))] * 4) == (3 if is_sound else None)


def test_what_is_no_rtp_is_not_heard() -> None:
    rtcp = ipv4(struct.pack("!BBHI", 0x80, 200, 6, 7) + LOUD)
    assert heard(*[rtcp] * 4) is None
    assert heard(*[ipv4(b"\x00" * 180)] * 4) is None
    assert heard(*[ipv4(b"")] * 4, *[b"\x45"] * 4) is None


def test_what_comes_before_and_after_the_sound_in_a_packet_is_none_of_it() -> None:
    contributors = rtp(SILENCE, flags=0x82, extra=b"\xff" * 8)
    extension = rtp(SILENCE, flags=0x90, extra=struct.pack("!HH", 0xBEDE, 2) + b"\xff" * 8)
    padded = rtp(SILENCE + b"\xff" * 7 + b"\x08", flags=0xA0)
    for quiet in (contributors, extension, padded):
        assert heard(*[ipv4(quiet)] * 3) is None
    loud = rtp(LOUD, flags=0x92, extra=b"\xff" * 8 + struct.pack("!HH", 0xBEDE, 2) + b"\xff" * 8)
    assert heard(*[ipv4(loud)] * 3) == 2


@given(st.lists(st.integers(min_value=0, max_value=2_400), max_size=12))
def test_it_does_not_matter_in_which_pieces_a_file_grows(cuts: list[int]) -> None:
    content = sound(*[SILENCE] * 2, *[LOUD] * 4, *[SILENCE] * 4)
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    loudness = Loudness()
    for begin, end in pairwise(places):
        loudness.feed(content[begin:end])
    assert (loudness.first_us, loudness.sound_us, loudness.last_us) == (
        START_US,
        START_US + 5 * FRAME_US,
        START_US + 9 * FRAME_US,
    )
    assert loudness.position == len(content)


def test_a_file_is_cut_after_a_whole_packet() -> None:
    packets = [ipv4(rtp(LOUD))] * 10
    content = capture(*packets)
    for frames in range(11):
        assert content[: until(content, START_US + frames * FRAME_US - 1)] == capture(*packets[:frames])
    assert until(HEAD[:9], START_US) == 9
