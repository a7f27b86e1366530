"""Conversations that are recorded: from when to when, and what the line's keys do to that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.line_calls import CALL, WAIT_S, dial, stage, transfer, world
from support.wait import until

if TYPE_CHECKING:
    from signalbox.api.routing.v1 import routing_pb2
    from support.ivr_media import Desk
    from support.line_calls import Line, World


def recorded(*lines: str) -> routing_pb2.Stage:
    made = stage(*lines)
    made.record = True
    return made


async def talking(here: World, *steps: routing_pb2.ContinueResponse) -> Line:
    """With anna."""
    await here.begin(*steps)
    await here.answered()
    await here.hear_each_other(here.lines["anna"])
    return here.lines["anna"]


async def press(line: Line, keys: str) -> None:
    for key in keys:
        await line.party.press(key)


async def test_a_conversation_is_promised_and_recorded_until_the_line_leaves(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        anna = await talking(here, dial(recorded("anna")))
        (promise,) = here.ports.promises
        assert (promise.facts.call_id, promise.facts.line, promise.facts.tenant) == (CALL, "anna", "acme")
        assert here.media.recording
        await anna.leave()
        await here.ended()
        assert here.ports.recorded == ["end"]


async def test_a_stage_that_is_not_recorded_promises_nothing(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        await talking(here, dial(stage("anna"), pause_keys="*1", resume_keys="*2"))
        await press(here.lines["anna"], "*1")
        assert here.ports.promises == []
        assert not here.media.recording


@pytest.mark.parametrize(("resume", "keys"), [("*2", ["*1", "*1", "*2", "*2"]), ("*1", ["*1", "*1"])])
async def test_keys_of_the_line_pause_the_recording_and_resume_it(desk: Desk, resume: str, keys: list[str]) -> None:
    async with world(desk, "anna") as here:
        anna = await talking(here, dial(recorded("anna"), pause_keys="*1", resume_keys=resume))
        # Not the caller's.
        for key in "*1":
            await here.party.press(key)
        for pair in keys:
            await press(anna, pair)
        await until(lambda: len(here.ports.recorded) == 2, WAIT_S)
        assert here.ports.recorded == ["pause", "go on"]
        await here.hear_each_other(anna)


async def test_who_is_handed_on_is_recorded_anew_or_not(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        anna = await talking(here, dial(recorded("anna"), transfer_keys="*9"), transfer(stage("bert")))
        await press(anna, "*9")
        await here.hear_each_other(here.lines["bert"])
        assert here.ports.recorded == ["end"]
        assert [one.facts.line for one in here.ports.promises] == ["anna"]


async def test_a_line_that_has_its_caller_back_is_recorded_again(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        here.lines["bert"].refuses(486)
        then = transfer(stage("bert"), attended=True)
        anna = await talking(here, dial(recorded("anna"), transfer_keys="*9"), then)
        await press(anna, "*9")
        await until(lambda: len(here.ports.promises) == 2, WAIT_S)
        await here.hear_each_other(anna)
        assert [one.facts.line for one in here.ports.promises] == ["anna", "anna"]


async def test_who_hands_over_after_speaking_lets_the_other_one_be_recorded(desk: Desk) -> None:
    async with world(desk, "anna", "bert") as here:
        then = transfer(recorded("bert"), attended=True)
        anna = await talking(here, dial(stage("anna"), transfer_keys="*9"), then)
        await press(anna, "*9")
        await until(lambda: anna.party.hears(here.lines["bert"].hertz), WAIT_S)
        assert here.ports.promises == []
        await anna.leave()
        await here.hear_each_other(here.lines["bert"])
        assert [one.facts.line for one in here.ports.promises] == ["bert"]
