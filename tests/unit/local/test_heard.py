"""What a party hears, by its content and in its time."""

from __future__ import annotations

import asyncio

import pytest
from signalbox.g711 import MU_LAW, RATE
from signalbox_local.g711 import SILENCE
from signalbox_local.heard import Voice
from signalbox_local.rtp_party import FRAME, pitch, tone
from support.heard import noise
from support.wait import until

HELLO, OTHER = noise(1, 0.2), noise(2, 0.2)


async def test_what_is_said_once_is_heard_once_and_whole() -> None:
    async with Voice.open() as one, Voice.open() as other:
        one.talk_to(other.address, HELLO)
        await until(lambda: other.hears_sound(HELLO), 15)
        await one.say(OTHER)
        await until(lambda: other.missing(OTHER) == [], 15)
        assert (other.share(OTHER), other.times_heard(OTHER)) == (1.0, 1)
        assert other.heard_at(HELLO) < other.heard_at(OTHER)
        assert one.missing(HELLO) == list(range(len(HELLO) // FRAME))
        with pytest.raises(ValueError, match="nothing of it"):
            one.heard_at(HELLO)


async def test_what_was_heard_can_be_listened_to_with_its_pauses() -> None:
    async with Voice.open() as one, Voice.open() as other:
        one.talk_to(other.address, b"")
        await one.say(HELLO)
        one.hush()
        await asyncio.sleep(0.5)
        await one.say(OTHER)
        one.hush()
        await until(lambda: other.missing(OTHER) == [], 15)
        codes = other.all_heard()
        assert (codes[:FRAME], codes[-FRAME:]) == (HELLO[:FRAME], OTHER[-FRAME:])
        assert bytes([SILENCE]) * round(0.3 * RATE) in codes


async def test_who_has_heard_nothing_has_heard_nothing() -> None:
    async with Voice.open(MU_LAW, 0) as voice:
        assert (voice.all_heard(), voice.silent_for(), voice.hears_sound(HELLO)) == (b"", float("inf"), False)


async def test_a_key_is_no_sound() -> None:
    async with Voice.open() as one, Voice.open() as other:
        one.talk_to(other.address, tone(440))
        await until(lambda: other.hears(440), 15)
        heard = len(other.all_heard())
        one.hush()
        await one.press("5")
        await until(lambda: any(packet.payload_type == 101 for packet in other.packets), 15)
        assert pitch(other.all_heard()) == pytest.approx(440, abs=20)
        assert len(other.all_heard()) >= heard
