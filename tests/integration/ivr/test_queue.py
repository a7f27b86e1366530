"""Callers who wait: what they hear, and how it goes on over the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.ivr.steps import queue as queue_step
from signalbox_local.rtp_party import FRAME, pitch
from support.line_calls import DIGITS, PROMPTS, RINGING_TONE, WAIT_S, WORD_TONE, announced, dial, queue, stage, world
from support.voice_calls import seconds
from support.wait import until

if TYPE_CHECKING:
    from support.ivr_media import Desk


@pytest.fixture(autouse=True)
def _short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_step, "WAIT_S", 0.6)


async def test_music_goes_on_over_the_steps_and_while_lines_ring(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna = here.lines["anna"]
        anna.behave = anna.rings
        await here.begin(queue(position=2), queue(position=1), dial(stage("anna")))
        await here.answered()
        await until(lambda: len(anna.calls) == 1, WAIT_S)
        here.party.packets.clear()
        await until(lambda: len(here.party.packets) > 25, WAIT_S)
        assert here.party.hears(PROMPTS["music"])
        # One player, from its beginning on: no packet but those of the music.
        assert len({one.ssrc for one in here.party.packets}) == 1
        assert here.script.kinds == ["waited", "waited"]
        anna.may_answer.set()
        await here.hear_each_other(anna)


async def test_ring_back_of_the_dial_is_heard_instead_of_music(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna = here.lines["anna"]
        anna.behave = anna.rings
        await here.begin(queue(), dial(stage("anna"), ring_back="ring-back"))
        await here.answered()
        await until(lambda: here.party.hears(PROMPTS["ring-back"]), WAIT_S)


async def test_the_tone_of_a_ringing_line_cuts_the_place_short(desk: Desk) -> None:
    """It takes longer than the step. Nothing would be heard after it."""
    async with world(desk, "anna") as here:
        here.lines["anna"].behave = here.lines["anna"].rings
        step = queue(position=1_234_567)
        step.node.queue.announce_every.CopyFrom(seconds(30))
        await here.begin(step, dial(stage("anna")))
        await here.answered()
        await until(lambda: here.party.hears(WORD_TONE), WAIT_S)
        await until(lambda: here.party.hears(RINGING_TONE), WAIT_S)


async def test_a_dial_in_vain_leads_back_to_the_music(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        here.lines["anna"].refuses(486)
        await here.begin(dial(stage("anna"), ring_back="ring-back"), queue(), queue())
        await here.answered()
        await until(lambda: here.party.hears(PROMPTS["music"]), WAIT_S)
        await until(lambda: here.script.kinds == ["busy", "waited"], WAIT_S)


async def test_the_place_is_told_at_once_and_then_music_is_heard(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        steps = [queue(position=3, position_before="before", position_after="after") for _ in range(40)]
        for step in steps:
            step.node.queue.announce_every.CopyFrom(seconds(300))
        await here.begin(*steps)
        await here.answered()
        for hertz in (PROMPTS["before"], DIGITS["3"], PROMPTS["after"], PROMPTS["music"]):
            await until(lambda hertz=hertz: here.party.hears(hertz), WAIT_S)  # type: ignore[misc]
        # Over the next steps it is not told again.
        known, heard = len(here.script.kinds), len(here.party.heard())
        await until(lambda: len(here.script.kinds) > known + 1, WAIT_S)
        pieces = [here.party.heard()[at : at + 10 * FRAME] for at in range(heard, heard + 20 * FRAME, 10 * FRAME)]
        assert [round(pitch(piece), -2) for piece in pieces] == [PROMPTS["music"]] * 2


async def test_the_place_is_told_again_after_its_time(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        steps = [queue(position=place) for place in (3, 2, 2, 2, 2, 2)]
        for step in steps:
            step.node.queue.announce_every.CopyFrom(seconds(1))
        await here.begin(*steps)
        await here.answered()
        await until(lambda: here.party.hears(PROMPTS["music"]), WAIT_S)
        await until(lambda: here.party.hears(DIGITS["2"]), WAIT_S)


async def test_a_caller_leaves_by_keys_even_over_two_steps(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        steps = [queue(leave_keys="*0") for _ in range(2)]
        await here.begin(*steps)
        await here.answered()
        await here.party.press("*")
        await until(lambda: here.script.kinds == ["waited"], WAIT_S)
        await here.party.press("0")
        await here.ended()
        assert [str(one.digits) for one in here.script.outcomes] == ["", "*0"]


async def test_what_was_keyed_before_the_queue_does_not_lead_out_of_it(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        await here.begin(announced(), queue(leave_keys="*"), announced())
        await here.answered()
        await here.party.press("*")
        await here.ended()
        assert here.script.kinds == ["done", "waited", "done"]


async def test_music_ends_where_nobody_waits_any_more(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        here.lines["anna"].behave = here.lines["anna"].rings
        other = dial(stage("anna"))
        other.node_id = "another"
        await here.begin(queue(leave_keys="*"), other)
        await here.answered()
        await until(lambda: here.party.hears(PROMPTS["music"]), WAIT_S)
        await here.party.press("*")
        await until(lambda: here.party.hears(RINGING_TONE), WAIT_S)


async def test_a_queue_whose_music_has_no_audio_lets_wait_in_silence(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        await here.begin(queue(music="gone"), queue(music="gone", leave_keys="*"))
        await here.answered()
        await here.ended()
        assert here.script.kinds == ["waited", "waited"]
        assert here.party.packets == []
