"""How a call goes through its flow, and how it ends, whoever ends it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2
from signalbox.ivr import flow as module
from signalbox.ivr.media.errors import MediaLostError
from signalbox.ivr.ports import FlowRefusedError, RoutingAwayError
from structlog.testing import capture_logs
from support.rtpengine import sdp
from support.sip_calls import settle
from support.voice_calls import EDGE, World, announcing, end, seconds, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from signalbox.bencode import Encodable
    from signalbox.ivr.call import VoiceCall
    from signalbox.ng import Reply


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World.open() as world:
        yield world


def asking(**fields: object) -> routing_pb2.ContinueResponse:
    """A menu that waits for a key as long as the caller likes."""
    node = flows_pb2.MenuNode(
        prompt="choose", timeout=seconds(600), inter_digit_timeout=seconds(600), max_digits=1,
        branches=[flows_pb2.MenuBranch(digits="1", next="next")],
    )  # fmt: skip
    return step(flows_pb2.FlowNode(id="menu", menu=node), **fields)


async def freed(world: World) -> None:
    """The call is over, and nothing of it is left."""
    await world.over()
    assert len(world.commands("delete")) == min(1, len(world.commands("offer")))
    assert world.ua.calls == set()


async def test_steps_follow_each_other_until_the_flow_ends_an_answered_call(world: World) -> None:
    world.script(announcing("hello"), asking(), announcing("bye", id="last"), end(), prompts="hello choose bye")
    await world.comes(EDGE)
    await world.sees("200")
    await world.asked("ACK")
    await world.plays("hello", "choose")
    await world.press("1")
    await world.sees("BYE")
    assert world.sent == ["183", "200", "BYE"]
    assert world.last("BYE").headers.get("Reason") == 'Q.850;cause=16;text="Normal call clearing"'
    assert [(one.cursor, one.edge) for one in world.routing.asked] == [
        ("cursor-0", "edge-1"), ("cursor-1", "edge-1"), ("cursor-2", "edge-1"), ("cursor-3", "edge-1"),
    ]  # fmt: skip
    await freed(world)
    assert world.steps == [
        ("hello", "announce", "done", ""), ("menu", "menu", "digits", "1"), ("last", "announce", "done", ""),
    ]  # fmt: skip
    assert world.ends == [("flow", 0, "")]
    first = world.elsewhere.events[0]
    assert (first.call_id, first.flow_step.flow, first.flow_step.revision) == ("call-1", "main", 3)
    assert first.flow_step.took_ms >= 20


async def test_a_flow_that_answers_nobody_ends_with_its_code_and_phrase(world: World) -> None:
    rejected = routing_pb2.ContinueResponse(end=routing_pb2.Reject(code=603, phrase="Not Today"))
    world.script(rejected)
    await world.comes()
    await world.sees("603")
    assert world.last_response(603).reason == "Not Today"
    await freed(world)
    assert (world.steps, world.ends) == ([], [("flow", 603, "")])


async def test_a_call_without_a_cursor_is_refused_and_nobody_is_asked(world: World) -> None:
    world.script(end())
    await world.invited(body=sdp("192.0.2.7", 4000).encode())
    assert world.sent == ["403"]
    assert (world.routing.asked, world.elsewhere.events) == ([], [])


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [(RoutingAwayError("nobody answers"), "503", "1"), (FlowRefusedError("cursor: is none of ours"), "403", None)],
)
async def test_a_flow_that_cannot_begin_is_refused(
    world: World, error: Exception, status: str, retry_after: str | None
) -> None:
    world.script(error)
    with capture_logs() as logs:
        await world.comes()
    assert world.sent == [status]
    assert world.last(status).headers.get("Retry-After") == retry_after
    assert [one["event"] for one in logs] == ["flow_not_begun"]
    assert world.elsewhere.events == []


async def test_a_replica_that_does_not_say_whose_call_it_is_cannot_be_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def older(request: routing_pb2.ContinueRequest) -> routing_pb2.ContinueResponse:
        return announcing("hello")

    monkeypatch.setattr(world.routing, "proceed", older)
    with capture_logs() as logs:
        await world.comes()
    assert world.sent == ["503"]
    assert "older than this worker" in logs[0]["why"]


@pytest.mark.parametrize(
    ("error", "code"), [(RoutingAwayError("nobody answers"), 500), (FlowRefusedError("revision gone"), 403)]
)
async def test_a_flow_that_cannot_go_on_ends_the_call(world: World, error: Exception, code: int) -> None:
    world.script(announcing("hello"), error, prompts="hello")
    await world.comes()
    await world.sees(str(code))
    await freed(world)
    assert world.steps == [("hello", "announce", "done", "")]
    assert world.ends == [("error", code, str(error))]


async def test_an_answered_caller_is_told_by_bye_why_the_flow_cannot_go_on(world: World) -> None:
    world.script(announcing("hello", answer=True), RoutingAwayError("nobody answers"), prompts="hello")
    await world.comes()
    await world.acknowledged()
    await world.sees("BYE")
    assert world.last("BYE").headers.get("Reason") == 'SIP;cause=503;text="Service Unavailable"'
    await freed(world)
    assert world.ends == [("error", 0, "nobody answers")]


def test_every_kind_of_node_is_executed_here_or_decided_by_routing() -> None:
    decided = {"schedule", "region", "caller_list", "condition", "set_variable"}
    kinds = {field.name for field in flows_pb2.FlowNode.DESCRIPTOR.oneofs_by_name["node"].fields}
    assert set(module.STEPS) == kinds - decided


# The caller


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


# Media


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


# The worker


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


# What goes on from step to step


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


# At any moment


async def caller_leaves(world: World) -> None:
    """By CANCEL or BYE, as the case is."""
    if world.taken[0].rings:
        await world.cancelled()
    else:
        await world.asked("ACK")
        await world.asked("BYE")


async def worker_ends(world: World) -> None:
    world.runs[0].cancel()


async def node_dies(world: World) -> None:
    for node in list(world.nodes.candidates()):
        node.lose_all("media node media-1 is gone")
    world.otherwise |= {name: {"result": "error"} for name in ("offer", "answer", "play media", "stop media")}


@pytest.mark.parametrize("leave", [caller_leaves, worker_ends, node_dies])
@pytest.mark.parametrize("moment", range(7))
async def test_whenever_a_call_ends_one_end_is_told_and_nothing_is_left(
    world: World, moment: int, leave: Callable[[World], Awaitable[None]]
) -> None:
    """``moment``: after so many questions to the media node, before the answer to the next; 6: when no more come."""
    reached = asyncio.Event()
    answer = world.fake.answer
    asked = 0

    def counting(request: Reply) -> Encodable | None:
        nonlocal asked
        asked += request["command"] != "ping"
        if asked > moment:
            reached.set()
        return answer(request)

    world.fake.answer = counting
    world.script(announcing("hello"), announcing("more", id="more", answer=True), asking(), prompts="hello more choose")
    await world.comes()
    acknowledging = asyncio.create_task(acknowledge(world))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5 if moment == 6 else 15.0):
            await reached.wait()
    assert reached.is_set() == (moment < 6)
    if not world.ends:
        await leave(world)
    acknowledging.cancel()
    await world.over()
    assert len(world.ends) == 1
    assert all(not node.sessions and not node.players for node in world.nodes.candidates())
    await world.after(40)
    assert world.ua.sessions == {}


async def acknowledge(world: World) -> None:
    await world.acknowledged()
