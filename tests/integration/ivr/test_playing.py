"""What callers hear of files, and when a file has ended."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import TYPE_CHECKING

import pytest
from signalbox.g711 import A_LAW, MU_LAW, Law
from signalbox.ivr.media.errors import MediaRefusedError
from signalbox.ivr.media.playback import End
from signalbox_local.rtp_party import FRAME, RtpParty, tone
from support.ivr_media import PROMPT_TONE
from support.wait import until

if TYPE_CHECKING:
    from support.ivr_media import Desk

WAIT_S = 20.0


@pytest.mark.parametrize(("law", "payload_type"), [(A_LAW, 8), (MU_LAW, 0)])
async def test_a_caller_hears_a_file_sample_for_sample(desk: Desk, law: Law, payload_type: int) -> None:
    # µ-law has two codes for 0, of which a file decoded and encoded again has one.
    said = bytes(one if one != 0x7F else 0xFF for one in os.urandom(40 * FRAME))
    async with RtpParty.open(law, payload_type) as caller:
        session = await desk.anchor(caller)
        playback = await session.play(desk.file(said, law))
        assert playback.seconds == 0.8
        assert await playback.done() is End.FINISHED
        await until(lambda: len(caller.heard()) >= len(said), WAIT_S)
        assert law.decode(caller.heard()).tolist() == law.decode(said).tolist()
        assert {one.payload_type for one in caller.packets} == {payload_type}
        assert {one.source for one in caller.packets} == {caller.target}
        await session.close()


async def test_a_file_of_the_other_law_is_transcoded(desk: Desk, caller: RtpParty) -> None:
    session = await desk.anchor(caller)
    await session.play(desk.file(tone(PROMPT_TONE, law=MU_LAW), MU_LAW))
    await until(lambda: caller.hears(PROMPT_TONE), WAIT_S)
    await session.close()


async def test_a_file_is_repeated_as_often_as_asked_and_its_end_is_known(desk: Desk, caller: RtpParty) -> None:
    session = await desk.anchor(caller)
    said = tone(PROMPT_TONE, 0.2)
    playback = await session.play(desk.file(said), repeat=3)
    assert playback.seconds == pytest.approx(0.6)
    assert await playback.done() is End.FINISHED
    await until(lambda: len(caller.heard()) >= 3 * len(said), WAIT_S)
    await asyncio.sleep(0.2)
    assert caller.heard() == 3 * said
    assert session.node.players == 0
    await session.close()


async def test_what_is_played_without_end_is_stopped(desk: Desk, caller: RtpParty) -> None:
    session = await desk.anchor(caller)
    playback = await session.play(desk.prompt(0.2), repeat=None)
    await until(lambda: len(caller.heard()) > 4 * 0.2 * 8000, WAIT_S)
    assert session.node.players == 1
    assert not playback.over
    await playback.stop()
    assert await playback.done() is End.STOPPED
    assert session.node.players == 0
    await silence(caller)
    await playback.stop()
    await session.close()


async def test_another_file_takes_the_place_of_one_that_is_played(desk: Desk, caller: RtpParty) -> None:
    session = await desk.anchor(caller)
    first = await session.play(desk.prompt(), repeat=None)
    await until(lambda: caller.hears(PROMPT_TONE), WAIT_S)
    second = await session.play(desk.file(tone(1500, 1.0)))
    assert await first.done() is End.REPLACED
    await until(lambda: caller.hears(1500), WAIT_S)
    # The first one's end does not stop the second.
    await first.stop()
    assert await second.done() is End.FINISHED
    assert session.node.players == 0
    await session.close()


async def test_a_file_that_is_not_there_is_refused_and_the_call_goes_on(desk: Desk, caller: RtpParty) -> None:
    session = await desk.anchor(caller)
    with pytest.raises(MediaRefusedError, match="Failed to start media playback"):
        await session.play("/nowhere.alaw.wav")
    assert session.node.players == 0
    await session.play(desk.prompt())
    await until(lambda: caller.hears(PROMPT_TONE), WAIT_S)
    await session.close()


async def test_a_file_that_is_deleted_is_played_to_its_end(desk: Desk, caller: RtpParty) -> None:
    session = await desk.anchor(caller)
    path = desk.prompt(1.0)
    playback = await session.play(path)
    os.unlink(path)
    await playback.done()
    await until(lambda: len(caller.heard()) >= 8000, WAIT_S)
    await session.close()


async def silence(party: RtpParty) -> None:
    """Wait until nothing more comes."""
    for _ in itertools.repeat(None, 100):
        before = len(party.packets)
        await asyncio.sleep(0.15)
        if len(party.packets) == before:
            return
    raise TimeoutError("it is never silent")
