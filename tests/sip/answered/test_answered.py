"""A call that is answered, and ended by either side, over every mix of transports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from signalbox.api.events.v1 import events_pb2
from support.scenario import ANSWERS, CALLER, CALLS, Part, play
from support.site import TENANT, TRUNK, kinds

HERE = Path(__file__).parent
IS_HUNG_UP = Part(HERE / "uac_is_hung_up.xml")
HANGS_UP = Part(HERE / "uas_hangs_up.xml")


@pytest.mark.parametrize("line_transport", ["udp", "tcp"])
@pytest.mark.parametrize("caller_transport", ["udp", "tcp"])
async def test_the_caller_hangs_up(site, tmp_path, caller_transport, line_transport):
    call = await play(
        site, tmp_path, replace(CALLS, transport=caller_transport), [replace(ANSWERS, transport=line_transport)]
    )
    assert call.caller.ladder == ["→INVITE", "←100", "←180", "←200", "→ACK", "→BYE", "←200"]
    line = call.lines[0]
    assert line.ladder == ["←INVITE", "→180", "→200", "←ACK", "←BYE", "→200"]
    invite = line.message("←INVITE")
    assert invite.start_line.startswith(f"INVITE sip:{call.line_id(1)}@")
    assert invite.header("Via").startswith(f"SIP/2.0/{line_transport.upper()} ")
    assert invite.header("Call-ID") == call.caller.message("→INVITE").header("Call-ID")
    assert kinds(call.events) == ["asked", "decided", "line_tried", "ringing", "answered", "hung_up"]
    assert call.events[-1].hung_up.party == events_pb2.PARTY_CALLER


async def test_the_line_hangs_up(site, tmp_path):
    call = await play(site, tmp_path, IS_HUNG_UP, [HANGS_UP])
    assert call.caller.ladder == ["→INVITE", "←100", "←180", "←200", "→ACK", "←BYE", "→200"]
    assert call.lines[0].ladder == ["←INVITE", "→180", "→200", "←ACK", "→BYE", "←200"]
    hung_up = call.events[-1].hung_up
    assert (hung_up.party, hung_up.cause) == (events_pb2.PARTY_LINE, "Q.850;cause=16")


async def test_the_events_tell_the_whole_call(site, tmp_path):
    call = await play(site, tmp_path, CALLS, [ANSWERS], anchored=True)
    asked, decided, tried, ringing, _, answered, hung_up = call.events
    assert (asked.asked.trunk, asked.asked.called, asked.asked.calling) == (TRUNK, call.number, CALLER)
    assert (decided.decided.action, decided.decided.tenant, decided.decided.number) == ("dial", TENANT, call.number)
    assert decided.decided.source == events_pb2.DECISION_SOURCE_ROUTING
    assert decided.decided.media_node in (1, 2)
    assert (tried.line_tried.line, tried.line_tried.stage) == (call.line_id(1), 1)
    assert (ringing.ringing.line, ringing.ringing.code) == (call.line_id(1), 180)
    assert answered.answered == events_pb2.Answered(line=call.line_id(1), media_node=decided.decided.media_node)
    assert (hung_up.hung_up.party, hung_up.hung_up.cause) == (events_pb2.PARTY_CALLER, "")
    assert len({event.call_id for event in call.events}) == 1
    assert asked.call_id.startswith("edge-1-")
