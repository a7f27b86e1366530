"""How a call in its flow ends, whoever ends it: the caller, the media, the worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import flows_pb2
from signalbox.ivr import flow as module
from signalbox.ivr.media.errors import MediaLostError
from structlog.testing import capture_logs
from support.ivr_runner import asking, freed
from support.rtpengine import sdp
from support.voice_calls import World, announcing, end, step

if TYPE_CHECKING:
    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.ivr.call import VoiceCall


async def test_a_caller_who_gives_up_ends_the_step(world: World) -> None:
    world.lasts_ms = 600_000
    world.script(announcing("hello"), prompts="hello")
    await world.comes()
    await world.plays("hello")
    await world.cancelled()
    await world.sees("487")
    await freed(world)
    assert world.steps == [("hello", "announce", "", "")]
    assert world.ends == [("caller", 0, "")]


async def test_a_caller_who_hangs_up_ends_the_step(world: World) -> None:
    world.script(asking(), prompts="choose")
    await world.comes()
    await world.acknowledged()
    await world.plays("choose")
    await world.asked("BYE")
    await freed(world)
    assert world.sent == ["200", "200"]
    assert world.steps == [("menu", "menu", "", "")]
    assert world.ends == [("caller", 0, "")]


async def test_a_caller_who_gives_up_before_the_first_step_is_known_ends_the_flow(world: World) -> None:
    world.script(announcing("hello"), prompts="hello")
    asked = asyncio.Event()
    proceed = world.routing.proceed

    async def late(request: routing_pb2.ContinueRequest) -> routing_pb2.ContinueResponse:
        await asked.wait()
        return await proceed(request)

    world.routing.proceed = late  # type: ignore[method-assign]
    await world.comes()
    await world.cancelled()
    asked.set()
    await freed(world)
    assert world.sent == ["200", "487"]
    assert world.ends == [("caller", 0, "")]
    assert world.played == []


async def test_a_caller_who_never_acknowledges_the_answer_is_an_error(world: World) -> None:
    world.script(asking(), prompts="choose")
    await world.comes()
    await world.sees("200")
    await world.after(33)
    await freed(world)
    assert world.ends == [("error", 0, "the caller's call is unacknowledged")]


async def test_without_a_media_node_another_worker_may_begin_the_flow() -> None:
    async with World.open(draining=True) as world:
        world.script(announcing("hello"))
        await world.comes()
        await world.sees("503")
        assert world.last("503").headers.get("Retry-After") == "1"
        await freed(world)
        ((cause, code, detail),) = world.ends
        assert (cause, code) == ("media", 503)
        assert "is draining" in detail


@pytest.mark.parametrize(("answer", "sent", "code"), [(False, "500", 500), (True, "BYE", 0)])
async def test_lost_media_end_the_call_whatever_the_step_waits_for(
    world: World, monkeypatch: pytest.MonkeyPatch, answer: bool, sent: str, code: int
) -> None:
    async def waits(call: VoiceCall, step: routing_pb2.ContinueResponse) -> routing_pb2.StepOutcome:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setitem(module.STEPS, "request", waits)
    request = step(flows_pb2.FlowNode(id="ask", request=flows_pb2.RequestNode()))
    world.script(announcing("hello", answer=answer), request, prompts="hello")
    await world.comes()
    if answer:
        await world.acknowledged()
    await world.see(lambda: len(world.routing.outcomes) == 1)
    (await world.session()).lose(MediaLostError("media node media-1 is gone"))
    await world.sees(sent)
    if answer:
        assert world.last("BYE").headers.get("Reason") == 'SIP;cause=503;text="Media lost"'
    await world.over()
    assert world.steps == [("hello", "announce", "done", ""), ("ask", "request", "", "")]
    assert world.ends == [("media", code, "media node media-1 is gone")]


async def test_an_offer_without_audio_that_can_be_served_is_refused_with_a_warning(world: World) -> None:
    world.script(announcing("hello"))
    await world.comes(body=sdp("192.0.2.7", 4000).replace("RTP/AVP 8", "RTP/SAVP 8"))
    await world.sees("488")
    assert world.last("488").headers.get("Warning") == '305 signalbox "no audio by RTP/AVP or RTP/AVPF"'
    await freed(world)
    assert world.ends == [("error", 488, "no audio by RTP/AVP or RTP/AVPF")]


async def test_a_step_that_fails_ends_the_call_and_is_logged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(call: VoiceCall, step: routing_pb2.ContinueResponse) -> routing_pb2.StepOutcome:
        raise ZeroDivisionError("one by none")

    monkeypatch.setitem(module.STEPS, "menu", fails)
    world.script(asking())
    with capture_logs() as logs:
        await world.comes()
        await world.sees("500")
        await freed(world)
    assert [one["event"] for one in logs] == ["flow_broken_off", "flow_failed"]
    assert world.steps == [("menu", "menu", "", "")]
    assert world.ends == [("error", 500, "one by none")]


async def test_a_step_that_this_worker_does_not_know_ends_the_call(world: World) -> None:
    world.script(step(flows_pb2.FlowNode(id="new")))
    await world.comes()
    await world.sees("500")
    await freed(world)
    assert world.ends == [("error", 500, "node new: this worker knows no such step")]


@pytest.mark.parametrize(("answer", "sent", "code"), [(False, "503", 503), (True, "BYE", 0)])
async def test_a_worker_that_ends_tells_its_callers(world: World, answer: bool, sent: str, code: int) -> None:
    world.lasts_ms = 600_000
    world.script(announcing("hello", answer=answer), prompts="hello")
    await world.comes()
    if answer:
        await world.acknowledged()
    await world.plays("hello")
    (task,) = world.runs
    task.cancel()
    await world.sees(sent)
    if answer:
        assert world.last("BYE").headers.get("Reason") == 'SIP;cause=503;text="Service Unavailable"'
    await freed(world)
    assert task.cancelled()
    assert world.ends == [("drained", code, "the worker ends")]


async def test_a_worker_that_ends_before_the_first_step_is_known_leaves_the_flow_to_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(request: routing_pb2.ContinueRequest) -> routing_pb2.ContinueResponse:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(world.routing, "proceed", never)
    await world.comes()
    world.runs[0].cancel()
    await world.sees("503")
    assert world.last("503").headers.get("Retry-After") == "1"
    await freed(world)
    assert world.elsewhere.events == []


async def test_who_is_cancelled_again_waits_no_longer_for_a_step_and_yet_frees_and_tells(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, freeing = asyncio.Event(), asyncio.Event()

    async def lingers(call: VoiceCall, step: routing_pb2.ContinueResponse) -> routing_pb2.StepOutcome:
        await call.early()
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            freeing.set()
            await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setitem(module.STEPS, "menu", lingers)
    world.script(asking())
    await world.comes()
    await begun.wait()
    world.runs[0].cancel()
    await freeing.wait()
    assert world.ends == []
    world.runs[0].cancel()
    await freed(world)
    assert world.runs[0].cancelled()
    assert world.ends == [("drained", 503, "the worker ends")]


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize("first", [True, False], ids=["worker", "flow"])
async def test_whenever_the_end_of_a_call_is_cancelled_it_is_told_once_and_nothing_is_left(
    world: World, first: bool, turns: int
) -> None:
    """``turns`` of the event loop after the worker ends the call, or the flow has come to its end."""
    world.script(announcing("hello"), end(), prompts="hello")
    world.lasts_ms = 600_000 if first else 20
    await world.comes()
    await world.plays("hello")
    if first:
        world.runs[0].cancel()
    else:
        await world.see(lambda: len(world.routing.outcomes) == 1)
    for _ in range(turns):
        await asyncio.sleep(0)
    world.runs[0].cancel()
    await freed(world)
    assert len(world.ends) == 1
    assert all(not node.sessions and not node.players for node in world.nodes.candidates())


async def test_who_is_cancelled_while_the_media_are_freed_tells_all_the_same(world: World) -> None:
    world.otherwise["delete"] = None
    world.script(announcing("hello"), end(), prompts="hello")
    await world.comes()
    await world.see(lambda: bool(world.commands("delete")))
    assert world.ends == []
    world.runs[0].cancel()
    await world.see(lambda: world.runs[0].done())
    assert world.ends == [("flow", 480, "")]


async def test_a_call_that_the_worker_hangs_up_is_drained(world: World) -> None:
    world.script(asking(), prompts="choose")
    await world.comes()
    await world.acknowledged()
    await world.plays("choose")
    world.taken[0].hang_up()
    await freed(world)
    assert world.ends == [("drained", 0, "hung up by the worker")]
