"""What is heard while lines are rung for a caller: ring-back, early media, whispers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import flows_pb2
from signalbox.ivr.ringing import RingBack
from signalbox.sip.ended import End
from signalbox_local.rtp_party import pitch
from support.line_calls import (
    CALLER_TONE,
    DIGITS,
    PROMPTS,
    RINGING_TONE,
    WAIT_S,
    announced,
    dial,
    stage,
    world,
)
from support.wait import until

if TYPE_CHECKING:
    import pytest
    from support.ivr_media import Desk


async def test_ring_back_is_heard_over_and_over_before_the_answer(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        here.lines["anna"].behave = here.lines["anna"].rings
        await here.begin(dial(stage("anna"), ring_back="ring-back"))
        await until(lambda: here.party.hears(PROMPTS["ring-back"]), WAIT_S)
        await until(lambda: len(here.party.heard()) > 8000 * 1.5, WAIT_S)
        assert here.party.hears(PROMPTS["ring-back"])
        assert here.progress == [183]
        here.lines["anna"].may_answer.set()
        await here.answered()
        await here.hear_each_other(here.lines["anna"])


async def test_lines_are_called_and_heard_while_the_sound_of_ring_back_is_still_to_come(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        here.ports.late["ring-back"] = asyncio.Event()
        await here.begin(dial(stage("anna"), ring_back="ring-back"))
        await here.answered()
        await here.hear_each_other(here.lines["anna"])
        # Nobody wants to hear it any more.
        here.ports.late["ring-back"].set()
        here.party.packets.clear()
        await until(lambda: len(here.party.packets) > 25, WAIT_S)
        assert not was_heard(here.party.heard(), PROMPTS["ring-back"])


async def test_ring_back_begins_when_its_sound_is_there(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna, here.ports.late["ring-back"] = here.lines["anna"], asyncio.Event()
        anna.behave = anna.rings
        await here.begin(dial(stage("anna"), ring_back="ring-back"))
        await until(lambda: len(anna.calls) == 1, WAIT_S)
        assert here.party.packets == []
        here.ports.late["ring-back"].set()
        await until(lambda: here.party.hears(PROMPTS["ring-back"]), WAIT_S)
        anna.may_answer.set()
        await here.answered()
        await here.hear_each_other(anna)


async def test_a_sound_that_comes_late_is_not_heard_over_what_follows(desk: Desk) -> None:
    """The line hears a whisper, and the caller who answers, while the store has given no ring-back."""
    async with world(desk, "anna") as here:
        here.ports.late["ring-back"], here.ports.late["whisper"] = asyncio.Event(), asyncio.Event()
        step = dial(stage("anna"), ring_back="ring-back")
        step.whisper = "whisper"
        step.dial_node.announce_line.before = "before"
        step.agent_numbers["anna"] = "42"
        await here.begin(step)
        await here.answered()
        await until(lambda: here.party.hears(PROMPTS["before"]), WAIT_S)
        here.ports.late["ring-back"].set()
        await until(lambda: here.party.hears(DIGITS["2"]), WAIT_S)
        here.ports.late["whisper"].set()
        await here.hear_each_other(here.lines["anna"])
        assert not was_heard(here.party.heard(), PROMPTS["ring-back"])


async def test_a_ringing_tone_is_heard_in_place_of_a_sound_that_cannot_be_had(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rang, rings = asyncio.Event(), RingBack.rings

    def told(ring_back: RingBack) -> None:
        rings(ring_back)
        rang.set()

    monkeypatch.setattr(RingBack, "rings", told)
    async with world(desk, "anna") as here:
        anna, here.ports.late["ring-back"] = here.lines["anna"], asyncio.Event()
        here.ports.gone.add("ring-back")
        anna.behave = anna.rings
        await here.begin(dial(stage("anna"), ring_back="ring-back"))
        await asyncio.wait_for(rang.wait(), WAIT_S)
        here.ports.late["ring-back"].set()
        await until(lambda: here.party.hears(RINGING_TONE), WAIT_S)


async def test_a_caller_who_leaves_while_the_sound_of_ring_back_is_still_to_come(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna, here.ports.late["ring-back"] = here.lines["anna"], asyncio.Event()
        anna.behave = anna.rings
        await here.begin(dial(stage("anna"), ring_back="ring-back"))
        await until(lambda: len(anna.calls) == 1, WAIT_S)
        here.call.hang_up()
        await here.ended()
        assert (await anna.call.over()).why is End.CANCELLED


async def test_a_caller_who_was_answered_before_hears_a_ringing_tone(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        here.lines["anna"].behave = here.lines["anna"].rings
        await here.begin(announced(), dial(stage("anna")))
        await here.answered()
        await until(lambda: here.party.hears(RINGING_TONE), WAIT_S)
        here.lines["anna"].may_answer.set()
        await here.hear_each_other(here.lines["anna"])
        assert here.progress == []


async def test_a_caller_who_hears_us_before_the_answer_hears_the_tone_so_too(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        here.lines["anna"].behave = here.lines["anna"].rings
        await here.begin(announced(answer=False), dial(stage("anna")))
        await until(lambda: here.party.hears(RINGING_TONE), WAIT_S)
        assert here.progress == [183]


async def test_what_a_line_sends_before_it_answers_is_heard_instead_of_ring_back(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        anna, bert = here.lines.values()
        anna.behave, bert.behave = anna.talks_early, bert.rings
        await here.begin(dial(stage("anna", ring_s=60, jumps=(2, 2, 2)), stage("bert"), ring_back="ring-back"))
        await until(lambda: here.party.hears(anna.hertz), WAIT_S)
        assert 180 not in here.progress
        # It is busy after all: the caller is with us again, until the next one answers.
        anna.call.reject(486)
        await until(lambda: here.party.hears(PROMPTS["ring-back"]), WAIT_S)
        bert.may_answer.set()
        await here.answered()
        await here.hear_each_other(bert)


async def test_one_that_was_heard_first_gives_way_to_the_one_that_answers(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        anna, bert = here.lines.values()
        anna.behave, bert.behave = anna.talks_early, bert.rings
        await here.begin(dial(stage("anna", "bert")))
        await until(lambda: here.party.hears(anna.hertz), WAIT_S)
        bert.may_answer.set()
        await here.answered()
        await here.hear_each_other(bert)


async def test_of_lines_that_ring_on_the_other_is_heard_when_one_has_failed(desk: Desk) -> None:
    async with world(desk, "anna", "bert", "carl") as here:
        anna, bert, carl = here.lines.values()
        anna.behave, bert.behave, carl.behave = anna.talks_early, bert.rings, bert.rings
        await here.begin(dial(stage("anna", "bert"), ring_back="ring-back"))
        await until(lambda: here.party.hears(anna.hertz), WAIT_S)
        anna.call.reject(500)
        await until(lambda: here.party.hears(PROMPTS["ring-back"]), WAIT_S)
        bert.may_answer.set()
        await here.answered()
        await here.hear_each_other(bert)


async def test_early_media_can_be_replaced(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna = here.lines["anna"]
        anna.behave = anna.talks_early
        replace = flows_pb2.EARLY_MEDIA_REPLACE
        await here.begin(dial(stage("anna"), ring_back="ring-back", early_media=replace))
        await until(lambda: here.party.hears(PROMPTS["ring-back"]) and len(anna.calls) == 1, WAIT_S)
        anna.may_answer.set()
        await here.answered()
        await here.hear_each_other(anna)


async def test_a_line_hears_a_whisper_and_the_caller_an_agent_number_before_each_other(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna = here.lines["anna"]
        step = dial(stage("anna"), whisper="whisper")
        step.whisper = "whisper"
        step.dial_node.announce_line.before, step.dial_node.announce_line.after = "before", "after"
        step.agent_numbers["anna"] = "42"
        await here.begin(step)
        await here.answered()
        heard: list[float] = []
        told = [PROMPTS["before"], DIGITS["4"], DIGITS["2"], PROMPTS["after"]]
        for hertz in told:
            await until(lambda hertz=hertz: here.party.hears(hertz), WAIT_S)
            heard.append(hertz)
        await here.hear_each_other(anna)
        assert heard == told
        from_line = anna.party.heard()
        # Its whisper came before anything of the caller.
        assert 0 <= first_at(from_line, PROMPTS["whisper"]) < first_at(from_line, CALLER_TONE)
        assert 0 <= first_at(here.party.heard(), PROMPTS["after"]) < first_at(here.party.heard(), anna.hertz)


async def test_a_line_that_leaves_while_it_is_whispered_to_has_left(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        step = dial(stage("anna"))
        step.whisper = "whisper"
        await here.begin(step)
        await until(lambda: here.lines["anna"].party.hears(PROMPTS["whisper"]), WAIT_S)
        await here.lines["anna"].leave()
        await here.ended()
        assert here.script.kinds == ["line_left"]


def first_at(heard: bytes, hertz: float) -> int:
    """From which frame on a tone is heard; -1: it never was."""
    size = 800
    pieces = range(0, len(heard) - size, size)
    return next((at for at in pieces if abs(pitch(heard[at : at + size]) - hertz) < 20), -1)


def was_heard(heard: bytes, hertz: float) -> bool:
    """A tone was, at any time."""
    return first_at(heard, hertz) >= 0
