"""Lines that are rung for a caller: which takes the call, what is heard meanwhile, and what is left in the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import flows_pb2
from signalbox.ivr.ringing import RingBack
from signalbox.ng import NgClient
from signalbox.sip.ended import End
from signalbox_local.rtp_party import pitch, tone
from support.ivr_media import sent_to
from support.line_calls import (
    CALL,
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
from support.sip_agent import Agent
from support.wait import until

if TYPE_CHECKING:
    from support.ivr_media import Desk


async def test_a_line_that_answers_and_the_caller_hear_each_other_until_it_leaves(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna = here.lines["anna"]
        await here.begin(dial(stage("anna")))
        await here.answered()
        await here.hear_each_other(anna)
        assert here.script.lines == ["anna"]
        assert here.progress == [180]
        await anna.leave()
        await here.ended()
        assert here.script.kinds == ["line_left"]
        step = here.ports.events[0].flow_step
        assert (step.node, step.kind, step.outcome, step.line) == ("agents", "dial", "line_left", "anna")


async def test_a_leg_says_whose_it_is_and_who_the_caller_is(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        await here.begin(dial(stage("anna")))
        await here.answered()
        invite = here.lines["anna"].call.request
        assert invite.uri == "sip:anna@192.0.2.99:5060"
        assert invite.headers.all("X-Signalbox-Leg") == ["leg-of-anna"]
        assert invite.headers.all("X-Signalbox-Call") == [CALL]
        assert str(invite.from_).startswith('"Alice" <sip:13800001234@192.0.2.1>;tag=')
        assert invite.headers.all("P-Asserted-Identity") == ["<tel:+8613800001234>"]
        assert invite.headers.all("Privacy") == ["id"]
        assert invite.headers.all("Max-Forwards") == ["19"]
        assert "Diversion" not in invite.headers
        # The proxy is known by what it writes into Via.
        assert here.ports.asked_of == [here.caller_at]


@pytest.mark.parametrize("status", [486, 600])
async def test_a_busy_line_is_followed_by_the_next(desk: Desk, status: int) -> None:
    async with world(desk, "anna", "bert") as here:
        here.lines["anna"].refuses(status)
        await here.begin(dial(stage("anna", jumps=(2, 2, 2)), stage("bert")))
        await here.answered()
        await here.hear_each_other(here.lines["bert"])
        await here.lines["bert"].leave()
        await here.ended()
        assert here.script.lines == ["bert"]


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        ((486, False), (404, False), "busy"),
        ((480, True), (486, False), "busy"),
        ((487, False), (404, False), "no_answer"),
        ((404, False), (480, True), "no_answer"),
        ((408, False), (480, False), "failed"),
        ((603, False), (500, True), "failed"),
    ],
)
async def test_no_line_takes_the_call_and_the_worst_that_they_said_counts(
    desk: Desk, first: tuple[int, bool], second: tuple[int, bool], outcome: str
) -> None:
    """Busy before no answer, no answer before failure."""
    async with world(desk, "anna", "bert") as here:
        for name, (status, rings) in zip(("anna", "bert"), (first, second), strict=True):
            here.lines[name].refuses(status, after_ringing=rings)
        await here.begin(dial(stage("anna", jumps=(2, 2, 2)), stage("bert")))
        await here.ended()
        assert here.script.kinds == [outcome]
        assert here.call.ended is not None
        assert (here.call.ended.why, here.call.ended.status) == (End.REFUSED, 480)


async def test_a_line_that_rings_in_vain_is_given_up_after_the_ring_time(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        here.lines["anna"].behave = here.lines["anna"].rings
        await here.begin(dial(stage("anna", ring_s=1.0)))
        await here.ended()
        assert here.script.kinds == ["no_answer"]
        ended = here.lines["anna"].call.ended
        assert ended is not None
        assert ended.why is End.CANCELLED


async def test_of_lines_that_ring_together_the_first_to_answer_has_the_call(desk: Desk) -> None:
    async with world(desk, "anna", "bert", "carl") as here:
        for name in ("anna", "carl"):
            here.lines[name].behave = here.lines[name].rings
        here.lines["bert"].behave = here.lines["bert"].rings
        await here.begin(dial(stage("anna", "bert", "carl")))
        await until(lambda: all(len(line.calls) == 1 for line in here.lines.values()), WAIT_S)
        here.lines["bert"].may_answer.set()
        await here.answered()
        await here.hear_each_other(here.lines["bert"])
        for name in ("anna", "carl"):
            over = await here.lines[name].call.over()
            assert over.why is End.CANCELLED
            assert "Call completed elsewhere" in over.reason
        assert here.script.lines == ["bert"]


async def test_two_lines_that_answer_at_once_leave_one_of_them_to_the_caller(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        await here.begin(dial(stage("anna", "bert")))
        await here.answered()
        assert len(here.script.lines) == 1
        taken = here.lines[here.script.lines[0]]
        other = here.lines[({"anna", "bert"} - {here.script.lines[0]}).pop()]
        await other.call.over()
        await here.hear_each_other(taken)


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


async def test_a_caller_without_an_offer_is_answered_and_then_hears_the_lines(desk: Desk) -> None:
    """RFC 3261 section 13.2.1: ours is the offer; before it is answered no line could be told anything."""
    async with world(desk, "anna") as here:
        anna = here.lines["anna"]
        anna.behave = anna.rings
        here.flow(dial(stage("anna"), ring_back="ring-back"))
        agent = await Agent(here.worker).start()
        try:
            call = agent.call()
            agent.invite(call, headers=["X-Signalbox-Cursor: cursor-0"], body="")
            ok = await agent.expect(200, within=WAIT_S)
            agent.answered(call, ok)
            agent.send(agent.in_dialog(call, "ACK", body=here.party.description()))
            here.party.talk_to(sent_to(ok.body), tone(CALLER_TONE))
            await until(lambda: here.party.hears(PROMPTS["ring-back"]), WAIT_S)
            anna.may_answer.set()
            await here.hear_each_other(anna)
            agent.send(agent.in_dialog(call, "BYE"))
            await agent.expect(200, method="BYE", within=WAIT_S)
        finally:
            agent.close()


async def test_a_call_whose_media_are_lost_while_lines_ring_is_over_for_everybody(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna = here.lines["anna"]
        anna.behave = anna.rings
        await here.begin(dial(stage("anna")))
        await until(lambda: len(anna.calls) == 1, WAIT_S)
        await forget(desk, f"w1.{CALL}")
        await here.ended()
        assert (await anna.call.over()).why is End.CANCELLED
        assert here.ports.events[-1].flow_ended.cause == "media"


async def test_a_line_holds_and_comes_back(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna = here.lines["anna"]
        await here.begin(dial(stage("anna")))
        await here.answered()
        await here.hear_each_other(anna)
        assert await anna.change("sendonly") == "recvonly"
        assert await anna.change("sendrecv") == "sendrecv"
        await here.hear_each_other(anna)


async def test_a_line_offers_what_cannot_be_served_and_everything_stays_as_it_was(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna = here.lines["anna"]
        await here.begin(dial(stage("anna")))
        await here.answered()
        await here.hear_each_other(anna)
        assert await anna.change("sendrecv", "3 GSM/8000") == "488"
        await here.hear_each_other(anna)


async def test_an_answer_that_is_nonsense_is_a_failure_of_that_line(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        here.lines["anna"].behave = here.lines["anna"].answers_without_audio
        await here.begin(dial(stage("anna", jumps=(2, 2, 2)), stage("bert")))
        await here.answered()
        await here.hear_each_other(here.lines["bert"])
        over = await here.lines["anna"].call.over()
        assert over.why is End.HUNG_UP


async def forget(desk: Desk, call_id: str) -> None:
    """Somebody deletes a call at the node."""
    client = await NgClient.connect(desk.server.control)
    try:
        await client.request("delete", {"call-id": call_id, "delete-delay": 0})
    finally:
        client.close()


def first_at(heard: bytes, hertz: float) -> int:
    """From which frame on a tone is heard; -1: it never was."""
    size = 800
    pieces = range(0, len(heard) - size, size)
    return next((at for at in pieces if abs(pitch(heard[at : at + size]) - hertz) < 20), -1)


def was_heard(heard: bytes, hertz: float) -> bool:
    """A tone was, at any time."""
    return first_at(heard, hertz) >= 0


@pytest.mark.parametrize("at_ms", [0, 5, 20, 60, 150, 400, 900])
async def test_a_caller_who_leaves_at_any_moment_leaves_nothing_behind(desk: Desk, at_ms: int) -> None:
    """While lines are rung, ring, answer, are whispered to, talk."""
    async with world(desk, "anna", "bert") as here:
        step = dial(stage("anna", jumps=(2, 2, 2)), stage("bert"), ring_back="ring-back")
        step.whisper = "whisper"
        here.lines["anna"].refuses(486, after_ringing=True)
        await here.begin(step)
        await asyncio.sleep(at_ms / 1000)
        here.call.hang_up()
        await here.ended()
        assert sum(one.HasField("flow_ended") for one in here.ports.events) == 1
