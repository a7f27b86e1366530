"""What goes on from step to step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2
from signalbox.ivr import flow as module
from support.ivr_runner import asking, freed
from support.sip_calls import settle
from support.voice_calls import World, announcing, end, step

if TYPE_CHECKING:
    import pytest
    from signalbox.ivr.call import VoiceCall


async def test_a_queue_is_told_of_once_however_often_it_is_asked_for_the_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def waits(call: VoiceCall, step: routing_pb2.ContinueResponse) -> routing_pb2.StepOutcome:
        await asyncio.sleep(0.03)
        return routing_pb2.StepOutcome(waited=True)

    monkeypatch.setitem(module.STEPS, "queue", waits)
    waiting = step(flows_pb2.FlowNode(id="in-line", queue=flows_pb2.QueueNode(dial="desk")))
    world.script(waiting, waiting, waiting, announcing("hello"), waiting, end(), prompts="hello")
    await world.comes()
    await world.sees("480")
    await freed(world)
    assert world.steps == [
        ("in-line", "queue", "waited", ""), ("hello", "announce", "done", ""), ("in-line", "queue", "waited", ""),
    ]  # fmt: skip
    assert world.elsewhere.events[0].flow_step.took_ms >= 90


async def test_a_line_that_talks_on_and_the_media_end_with_the_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Talking:
        ended = 0

        async def end(self) -> None:
            self.ended += 1

        async def let_go(self) -> None:
            raise AssertionError

    talking = Talking()

    async def connects(call: VoiceCall, step: routing_pb2.ContinueResponse) -> routing_pb2.StepOutcome:
        media = await call.answer()
        call.line, call.talking = "desk-1", talking
        await media.keys[module.Party.CALLER].next()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setitem(module.STEPS, "dial", connects)
    world.script(routing_pb2.ContinueResponse(dial=routing_pb2.Dial(), dial_node=flows_pb2.DialNode(), node_id="desk"))
    await world.comes()
    await world.acknowledged()
    await world.press("5")
    await world.asked("BYE")
    await freed(world)
    assert talking.ended == 1
    assert world.steps == [("desk", "dial", "", "")]
    assert world.elsewhere.events[0].flow_step.line == "desk-1"


async def test_what_was_keyed_while_lines_rang_answers_no_later_question(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyed = asyncio.Event()

    async def rings(call: VoiceCall, step: routing_pb2.ContinueResponse) -> routing_pb2.StepOutcome:
        await call.answer()
        await keyed.wait()
        return routing_pb2.StepOutcome(line_left=True)

    monkeypatch.setitem(module.STEPS, "transfer", rings)
    ringing = routing_pb2.ContinueResponse(
        dial=routing_pb2.Dial(), transfer_node=flows_pb2.TransferNode(), node_id="to-mobile"
    )  # fmt: skip
    world.script(ringing, asking(), end(), prompts="choose")
    await world.comes()
    await world.acknowledged()
    await world.press("1")
    keyed.set()
    await world.plays("choose")
    await settle()
    assert len(world.routing.outcomes) == 1
    await world.press("1")
    await world.sees("BYE")
    await freed(world)
    assert [one[:3] for one in world.steps] == [("to-mobile", "transfer", "line_left"), ("menu", "menu", "digits")]


async def test_the_language_of_a_step_is_what_numbers_are_spoken_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def looks(call: VoiceCall, step: routing_pb2.ContinueResponse) -> routing_pb2.StepOutcome:
        seen.append(call.language)
        return routing_pb2.StepOutcome(done=True)

    monkeypatch.setitem(module.STEPS, "voicemail", looks)
    node = flows_pb2.FlowNode(id="a", voicemail=flows_pb2.VoicemailNode())
    world.script(step(node), step(node, language="en"), end())
    await world.comes()
    await world.sees("480")
    assert seen == ["", "en"]
