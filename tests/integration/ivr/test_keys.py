"""Keys that callers and lines press, as events and as tones, while something is played and while not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from signalbox.g711 import A_LAW, RATE
from signalbox.ivr.media.keys import Collected, Ended
from signalbox.ivr.media.playback import End
from signalbox.ivr.media.session import Party
from signalbox_local.rtp_party import EVENTS, tone
from support.ivr_media import CALLER_TONE, LINE_TONE, PROMPT_TONE
from support.wait import until

if TYPE_CHECKING:
    from signalbox.ivr.media.keys import Keys
    from signalbox_local.rtp_party import RtpParty
    from support.ivr_media import Desk

WAIT_S = 20.0


async def press(party: RtpParty, digits: str) -> None:
    for digit in digits:
        await party.press(digit)
        await asyncio.sleep(0.06)


async def test_the_first_key_stops_what_is_played(desk: Desk, caller: RtpParty) -> None:
    session = await desk.anchor(caller)
    playback = await session.play(desk.prompt(), repeat=None)
    collecting = asyncio.create_task(
        session.keys[Party.CALLER].collect(
            4, first_timeout_s=WAIT_S, next_timeout_s=WAIT_S, terminator="#", playback=playback
        )
    )
    await until(lambda: caller.hears(PROMPT_TONE), WAIT_S)
    await press(caller, "2")
    assert await playback.done() is End.STOPPED
    await press(caller, "0*#")
    assert await collecting == Collected("20*", Ended.TERMINATED)
    await session.close()


async def test_keys_pressed_while_nobody_waits_are_not_lost(desk: Desk, caller: RtpParty) -> None:
    session = await desk.anchor(caller)
    await press(caller, "19")
    collected = await session.keys[Party.CALLER].collect(2, first_timeout_s=WAIT_S, next_timeout_s=WAIT_S)
    assert collected == Collected("19", Ended.FULL)
    await session.close()


async def test_a_key_tells_how_long_it_was_held(desk: Desk, caller: RtpParty) -> None:
    session = await desk.anchor(caller)
    await caller.press("5", frames=8)
    key = await session.keys[Party.CALLER].next(WAIT_S)
    assert key is not None
    assert (key.digit, key.duration_ms) == ("5", 160)
    await session.close()


async def test_tones_count_for_a_caller_without_telephone_events(desk: Desk, caller: RtpParty) -> None:
    """While it hears something, and while not."""
    session = await desk.anchor(caller, events=False)
    assert session.caller.events is None
    await press_as_tones(caller, (770, 1336))
    assert await next_digit(session.keys[Party.CALLER]) == "5"
    await session.play(desk.prompt(), repeat=None)
    await until(lambda: caller.hears(PROMPT_TONE), WAIT_S)
    await press_as_tones(caller, (697, 1209))
    assert await next_digit(session.keys[Party.CALLER]) == "1"
    await session.close()


async def next_digit(keys: Keys) -> str:
    key = await keys.next(WAIT_S)
    assert key is not None
    return key.digit


async def press_as_tones(caller: RtpParty, hertz: tuple[int, int]) -> None:
    """Both tones of a key (ITU-T Q.23) for 0.3 s, instead of what the caller says."""
    assert caller.target is not None
    times = np.arange(round(0.3 * RATE)) / RATE
    both = sum(6_000 * np.sin(2 * np.pi * one * times) for one in hertz)
    caller.talk_to(caller.target, A_LAW.encode(np.asarray(both, np.float64).astype(np.int16)))
    await asyncio.sleep(0.3)
    caller.talk_to(caller.target, tone(CALLER_TONE))


async def test_keys_of_both_are_heard_while_they_talk(desk: Desk, caller: RtpParty, line: RtpParty) -> None:
    session = await desk.anchor(caller)
    await desk.line(session, line)
    await session.connect()
    await until(lambda: line.hears(CALLER_TONE), WAIT_S)
    await press(caller, "7")
    await press(line, "8")
    assert await next_digit(session.keys[Party.CALLER]) == "7"
    assert await next_digit(session.keys[Party.LINE]) == "8"
    # They pass on to the other side, too.
    await until(lambda: len(line.heard(EVENTS)) > 0 and len(caller.heard(EVENTS)) > 0, WAIT_S)
    await session.close()


@pytest.mark.parametrize("muted", [True, False])
async def test_a_muted_caller_is_heard_by_us_alone(desk: Desk, caller: RtpParty, line: RtpParty, muted: bool) -> None:
    """While a recording is paused for the digits of a card, nobody hears them."""
    session = await desk.anchor(caller)
    await desk.line(session, line)
    await session.connect()
    await until(lambda: line.hears(CALLER_TONE), WAIT_S)
    await session.mute(Party.CALLER)
    await until(lambda: line.hears(0), WAIT_S)
    assert caller.hears(LINE_TONE)
    if not muted:
        await session.unmute(Party.CALLER)
        await until(lambda: line.hears(CALLER_TONE), WAIT_S)
    await press(caller, "4")
    assert await next_digit(session.keys[Party.CALLER]) == "4"
    count = len(line.packets)
    await until(lambda: len(line.packets) > count + 10, WAIT_S)
    assert (line.heard(EVENTS) == b"") == muted
    assert line.hears(0) == muted
    await session.close()
