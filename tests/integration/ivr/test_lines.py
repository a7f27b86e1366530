"""A caller and lines that come and go: who hears whom, and that the caller need not be told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from signalbox.g711 import A_LAW, MU_LAW
from signalbox.ivr.media import anchoring
from signalbox.ivr.media.errors import UnusableDescriptionError
from signalbox.ivr.media.playback import End
from signalbox.ivr.media.session import Party, State
from signalbox_local.rtp_party import RtpParty, pitch, tone
from support.ivr_media import CALLER_TONE, LINE_TONE, PROMPT_TONE, sent_to
from support.wait import until

if TYPE_CHECKING:
    from support.ivr_media import Desk

WAIT_S = 20.0


async def hear_each_other(caller: RtpParty, line: RtpParty, hertz: float = LINE_TONE) -> None:
    await until(lambda: caller.hears(hertz) and line.hears(CALLER_TONE), WAIT_S)


async def test_caller_and_line_hear_each_other_from_connect_on(desk: Desk, caller: RtpParty, line: RtpParty) -> None:
    session = await desk.anchor(caller)
    await desk.line(session, line)
    assert session.state is State.APART
    # What one of them hears shows that time enough has passed for the other.
    await session.play(desk.prompt(), to=Party.LINE)
    await until(lambda: line.hears(PROMPT_TONE), WAIT_S)
    assert caller.packets == []
    await session.connect()
    await hear_each_other(caller, line)
    await session.close()


async def test_the_line_is_told_something_before_they_hear_each_other(
    desk: Desk, caller: RtpParty, line: RtpParty
) -> None:
    """A whisper; the caller goes on hearing its music, which ends when they are connected."""
    session = await desk.anchor(caller)
    music = await session.play(desk.file(tone(1500)), repeat=None)
    await desk.line(session, line)
    whisper = await session.play(desk.prompt(0.4), to=Party.LINE)
    await until(lambda: line.hears(PROMPT_TONE), WAIT_S)
    assert caller.hears(1500)
    assert await whisper.done() is End.FINISHED
    await session.connect()
    assert await music.done() is End.STOPPED
    await hear_each_other(caller, line)
    assert pitch(line.heard()[: int(0.3 * 8000)]) == pytest.approx(PROMPT_TONE, abs=20)
    await session.close()


async def test_separated_they_hear_what_is_played_and_then_each_other_again(
    desk: Desk, caller: RtpParty, line: RtpParty
) -> None:
    session = await desk.anchor(caller)
    await desk.line(session, line)
    await session.connect()
    await hear_each_other(caller, line)
    await session.separate()
    await session.play(desk.prompt(), repeat=None)
    await session.play(desk.file(tone(1500)), repeat=None, to=Party.LINE)
    await until(lambda: caller.hears(PROMPT_TONE) and line.hears(1500), WAIT_S)
    await session.connect()
    await hear_each_other(caller, line)
    assert session.node.players == 0
    await session.close()


async def test_one_line_after_the_other_and_a_survey_without_a_word_to_the_caller(
    desk: Desk, caller: RtpParty, line: RtpParty
) -> None:
    session = await desk.anchor(caller)
    at = caller.target
    # The first line rings and does not answer.
    async with RtpParty.open() as silent:
        await session.offer_line()
        ring_back = await session.play(desk.prompt(), repeat=None)
        await until(lambda: caller.hears(PROMPT_TONE), WAIT_S)
        assert not ring_back.over
        # The second one answers, and hangs up.
        await desk.line(session, line)
        await session.connect()
        await hear_each_other(caller, line)
        assert silent.packets == []
    await session.drop_line()
    assert session.state is State.ALONE
    await session.play(desk.prompt(), repeat=None)
    await until(lambda: caller.hears(PROMPT_TONE), WAIT_S)
    count = len(line.packets)
    # The third one.
    async with RtpParty.open() as third:
        await desk.line(session, third, 1800)
        await session.connect()
        await hear_each_other(caller, third, 1800)
    assert len(line.packets) == count
    assert caller.target == at
    assert {one.source for one in caller.packets} == {at}
    await session.close()


async def test_of_several_early_answers_the_last_one_is_the_line(desk: Desk, caller: RtpParty, line: RtpParty) -> None:
    session = await desk.anchor(caller)
    async with RtpParty.open() as early:
        await desk.line(session, early, 1800)
        await session.connect()
        await hear_each_other(caller, early, 1800)
        offer_target = early.target
        assert offer_target is not None
        await session.answer_line(line.description())
        line.talk_to(offer_target, tone(LINE_TONE))
        await hear_each_other(caller, line)
    await session.close()


async def test_the_laws_of_caller_and_line_may_differ(desk: Desk, line: RtpParty) -> None:
    async with RtpParty.open(MU_LAW, 0) as caller:
        session = await desk.anchor(caller)
        await desk.line(session, line)
        await session.connect()
        await hear_each_other(caller, line)
        assert {one.payload_type for one in caller.packets} == {0}
        assert {one.payload_type for one in line.packets} == {8}
        await session.close()


async def test_a_caller_without_g711_is_transcoded(desk: Desk, line: RtpParty) -> None:
    async with RtpParty.open(A_LAW, 9) as caller:
        session = await desk.anchor(caller, "9 G722/8000")
        await session.play(desk.prompt(), repeat=None)
        await until(lambda: g722_pitch(caller) == pytest.approx(PROMPT_TONE, abs=20), WAIT_S)
        await desk.line(session, line)
        await session.connect()
        await until(lambda: g722_pitch(caller) == pytest.approx(LINE_TONE, abs=20), WAIT_S)
        assert {one.payload_type for one in caller.packets} == {9}
        await session.close()


def g722_pitch(caller: RtpParty) -> float:
    """Of what it has heard most recently."""
    decoder = av.CodecContext.create("g722", "r")
    recent = caller.heard()[-3200:]
    frames = decoder.decode(av.Packet(recent)) if recent else []
    samples = np.concatenate([frame.to_ndarray().ravel() for frame in frames]) if frames else np.zeros(0)
    if len(samples) < 1600:
        return 0.0
    spectrum = np.abs(np.fft.rfft(samples[-4800:] * np.hanning(len(samples[-4800:]))))
    return float(np.argmax(spectrum) * 16_000 / len(samples[-4800:]))


async def test_a_caller_without_an_offer_gets_one(desk: Desk, line: RtpParty) -> None:
    """Its answer comes in ACK; it may choose."""
    async with RtpParty.open(MU_LAW, 0) as caller:
        session, offer = await anchoring.anchor_late(desk.nodes, desk.next_id())
        desk.listen(session)
        assert "RTP/AVP 8 0 101" in offer
        await session.caller_answer(caller.description())
        caller.talk_to(sent_to(offer), tone(CALLER_TONE, law=MU_LAW))
        await session.play(desk.prompt(), repeat=None)
        await until(lambda: caller.hears(PROMPT_TONE), WAIT_S)
        await caller.press("6")
        key = await session.keys[Party.CALLER].next(WAIT_S)
        assert key is not None
        assert key.digit == "6"
        await desk.line(session, line)
        await session.connect()
        await hear_each_other(caller, line)
        await session.drop_line()
        await session.play(desk.prompt(), repeat=None)
        await until(lambda: caller.hears(PROMPT_TONE), WAIT_S)
        assert {one.payload_type for one in caller.packets} == {0}
        await session.close()


async def test_a_caller_moves_to_another_address(desk: Desk, caller: RtpParty, line: RtpParty) -> None:
    session = await desk.anchor(caller)
    await desk.line(session, line)
    await session.connect()
    await hear_each_other(caller, line)
    async with RtpParty.open() as moved:
        answer = await session.caller_offer(moved.description())
        assert sent_to(answer) == caller.target
        moved.talk_to(sent_to(answer), tone(440))
        await until(lambda: moved.hears(LINE_TONE) and line.hears(440), WAIT_S)
        count = len(caller.packets)
        await session.drop_line()
        await session.play(desk.prompt(), repeat=None)
        await until(lambda: moved.hears(PROMPT_TONE), WAIT_S)
        assert len(caller.packets) <= count + 5
    await session.close()


@pytest.mark.parametrize(("told", "answered"), [("sendonly", "recvonly"), ("inactive", "inactive")])
async def test_a_caller_holds_and_comes_back(desk: Desk, caller: RtpParty, told: str, answered: str) -> None:
    session = await desk.anchor(caller)
    answer = await session.caller_offer(caller.description(direction=told))
    assert f"a={answered}\r\n" in answer
    assert session.caller.held
    # A flow that does not care plays on.
    playback = await session.play(desk.prompt(0.2))
    await playback.done()
    again = await session.caller_offer(caller.description())
    assert "a=sendrecv\r\n" in again
    assert version(again) == version(answer) + 1
    await session.play(desk.prompt(), repeat=None)
    await until(lambda: caller.hears(PROMPT_TONE), WAIT_S)
    await session.close()


def version(description: str) -> int:
    return int(description.splitlines()[1].split()[2])


async def test_an_offer_that_cannot_be_served_changes_nothing(desk: Desk, caller: RtpParty) -> None:
    session = await desk.anchor(caller)
    with pytest.raises(UnusableDescriptionError, match="GSM"):
        await session.caller_offer(caller.description("3 GSM/8000", events=False))
    await session.play(desk.prompt(), repeat=None)
    await until(lambda: caller.hears(PROMPT_TONE), WAIT_S)
    await session.close()


async def test_a_line_holds_and_moves(desk: Desk, caller: RtpParty, line: RtpParty) -> None:
    session = await desk.anchor(caller)
    await desk.line(session, line)
    await session.connect()
    await hear_each_other(caller, line)
    held = await session.line_offer(line.description(direction="sendonly"))
    assert "a=recvonly\r\n" in held
    assert sent_to(held) == line.target
    async with RtpParty.open(MU_LAW, 0) as moved:
        answer = await session.line_offer(moved.description())
        assert version(answer) == version(held) + 1
        moved.talk_to(sent_to(answer), tone(1800, law=MU_LAW))
        await hear_each_other(caller, moved, 1800)
        # What the caller says later does not bring the old line back.
        await session.caller_offer(caller.description())
        caller.packets.clear()
        await hear_each_other(caller, moved, 1800)
    await session.close()


async def test_a_caller_moves_while_a_line_rings(desk: Desk, caller: RtpParty, line: RtpParty) -> None:
    session = await desk.anchor(caller)
    offer = await session.offer_line()
    async with RtpParty.open() as moved:
        moved.talk_to(sent_to(await session.caller_offer(moved.description())), tone(CALLER_TONE))
        await session.answer_line(line.description())
        line.talk_to(sent_to(offer), tone(LINE_TONE))
        await session.connect()
        await hear_each_other(moved, line)
    await session.close()


async def test_parties_that_change_their_codec_while_they_talk_are_transcoded(desk: Desk) -> None:
    """Both began with G.722; neither is told of the other's change."""
    async with RtpParty.open(A_LAW, 9) as caller, RtpParty.open(A_LAW, 9) as line:
        session = await desk.anchor(caller, "9 G722/8000")
        offer = await session.offer_line()
        await session.answer_line(line.description("9 G722/8000"))
        await session.connect()
        async with RtpParty.open() as as_alaw, RtpParty.open(MU_LAW, 0) as as_ulaw:
            answer = await session.caller_offer(as_alaw.description())
            as_alaw.talk_to(sent_to(answer), tone(CALLER_TONE))
            await until(lambda: g722_pitch(line) == pytest.approx(CALLER_TONE, abs=20), WAIT_S)
            answer = await session.line_offer(as_ulaw.description())
            assert sent_to(answer) == sent_to(offer)
            as_ulaw.talk_to(sent_to(answer), tone(LINE_TONE, law=MU_LAW))
            await hear_each_other(as_alaw, as_ulaw)
        await session.close()


async def test_a_line_whose_answer_is_nonsense_is_refused_and_the_next_one_serves(
    desk: Desk, caller: RtpParty, line: RtpParty
) -> None:
    session = await desk.anchor(caller)
    await session.offer_line()
    with pytest.raises(UnusableDescriptionError, match="line 2"):
        await session.answer_line("v=0\r\nthis is none\r\n")
    with pytest.raises(UnusableDescriptionError, match="no audio"):
        await session.answer_line(line.description().replace(f"m=audio {line.address[1]}", "m=audio 0"))
    assert session.state is State.RINGING
    await desk.line(session, line)
    await session.connect()
    await hear_each_other(caller, line)
    await session.close()


async def test_a_closed_session_leaves_nothing_at_the_node(desk: Desk, caller: RtpParty, line: RtpParty) -> None:
    session = await desk.anchor(caller)
    await desk.line(session, line)
    playback = await session.play(desk.prompt(), repeat=None)
    assert await session.node.has(session.call_id)
    await session.close()
    await session.close()
    assert await playback.done() is End.STOPPED
    assert not await session.node.has(session.call_id)
    assert session.node.sessions == {}
    assert session.node.players == 0


async def test_a_call_that_is_given_up_while_it_is_anchored_leaves_nothing_at_the_node(
    desk: Desk, caller: RtpParty
) -> None:
    """rtpengine has several threads: what frees a call may overtake what makes it."""
    node = desk.nodes.candidates()[0]
    for moment in range(200):
        call_id = desk.next_id()
        anchor = asyncio.create_task(anchoring.anchor(desk.nodes, call_id, caller.description()))
        await asyncio.sleep(moment % 10 * 0.0001)
        anchor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            session, _ = await anchor
            await session.close()
        await until(lambda: not node.busy, WAIT_S)
        assert not await node.has(call_id)
