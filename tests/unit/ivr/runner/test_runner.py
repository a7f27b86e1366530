"""How a call goes through its flow."""

from __future__ import annotations

import pytest
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2
from signalbox.ivr import flow as module
from signalbox.ivr.ports import FlowRefusedError, RoutingAwayError
from structlog.testing import capture_logs
from support.ivr_runner import asking, freed
from support.rtpengine import sdp
from support.voice_calls import EDGE, World, announcing, end


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
