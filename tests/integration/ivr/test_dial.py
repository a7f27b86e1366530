"""Lines that are rung for a caller: which takes the call, and what is left in the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.ng import NgClient
from signalbox.sip.ended import End
from signalbox_local.rtp_party import tone
from support.ivr_media import sent_to
from support.line_calls import (
    CALL,
    CALLER_TONE,
    PROMPTS,
    WAIT_S,
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
