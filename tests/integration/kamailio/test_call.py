"""The plain call, message by message, and what becomes of the answers that are not a line's."""

from __future__ import annotations

import base64

from signalbox.api.events.v1 import events_pb2
from support.kamailio import Kamailio
from support.sidecar_fake import branch, dial, reject, stage
from support.sip_agent import SDP
from support.wait import until


async def test_an_answered_call_is_set_up_and_ended(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = caller.call()
    caller.invite(call)
    await caller.expect(100)
    invite = await line.expect("INVITE")
    assert invite.uri == f"sip:1001@127.0.0.1:{line.port};transport=udp"
    assert invite.get("From") == call.local
    assert invite.body == SDP
    line.send(line.reply(invite, 180))
    await caller.expect(180)
    line.send(line.reply(invite, 200, body=SDP))
    answer = await caller.expect(200)
    caller.answered(call, answer)
    caller.send(caller.in_dialog(call, "ACK"))
    ack = await line.expect("ACK")
    assert ack.uri == f"sip:line@127.0.0.1:{line.port}"
    caller.send(caller.in_dialog(call, "BYE", headers=["Reason: Q.850;cause=16"]))
    bye = await line.expect("BYE")
    line.send(line.reply(bye, 200))
    await caller.expect(200, method="BYE")
    await until(lambda: proxy.transactions() == 0)
    await proxy.events_until(call, "hung_up")
    events = await proxy.events_until(call, "answered")
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[:5] == ["asked", "decided", "line_tried", "ringing", "connected"]
    # A worker writes "answered" when it has sent the 200; another one may have had the BYE by then.
    assert sorted(kinds[5:]) == ["answered", "hung_up"]
    assert {event.call_id for event in events} == {sidecar.questions[0].raw["id"]}
    asked, decided, tried, ringing = events[:4]
    taken, ended = sorted(events[5:], key=lambda event: event.WhichOneof("event"))
    assert asked.asked == events_pb2.Asked(
        trunk="trunk-a",
        called="4001234567",
        calling="13800001234",
        sip_call_id=call.call_id,
        source_address="127.0.0.1",
    )
    assert (decided.decided.action, decided.decided.number) == ("dial", "4001234567")
    assert decided.decided.took_ms < 400
    assert (tried.line_tried.line, tried.line_tried.stage, tried.line_tried.uri) == ("line-1", 1, invite.uri)
    assert (ringing.ringing.line, ringing.ringing.code) == ("line-1", 180)
    assert taken.answered.line == "line-1"
    assert ended.hung_up == events_pb2.HungUp(party=events_pb2.PARTY_CALLER, cause="Q.850;cause=16", line_tag="line")


async def test_the_question_is_as_the_contract_says(proxy, sidecar, agent):
    caller = await agent()
    call = caller.call("400\"|$'&x".replace('"', "").replace("|", ""), "caller(1)")
    caller.invite(call, headers=["P-Asserted-Identity: <sip:+8613800001234@192.0.2.1>, <tel:+1>"])
    caller.ack_failure(call, await caller.expect(404))
    (question,) = sidecar.questions
    raw = question.raw
    assert set(raw) == {"v", "i", "l", "id", "tr", "to", "fr", "pa", "ci", "src", "dv", "lg", "pn"}
    assert (raw["lg"], raw["pn"]) == ("", "")
    assert (question.called, question.calling, question.call_id) == ("400$'&x", "caller(1)", call.call_id)
    assert base64.b64decode(raw["pa"]) == b"+8613800001234"
    assert (raw["v"], raw["tr"], raw["src"], raw["dv"]) == (1, "trunk-a", "127.0.0.1", 0)
    assert raw["id"].startswith("edge-1-")
    assert raw["id"].endswith(f"-{raw['i']}-{raw['l']}")


async def test_an_anonymous_caller_without_user_is_asked_for(proxy, sidecar, agent):
    caller = await agent()
    call = caller.call()
    call.local = call.local.replace("13800001234@", "")
    caller.invite(call)
    caller.ack_failure(call, await caller.expect(404))
    assert sidecar.questions[0].calling == ""


async def test_a_refusal_reaches_the_caller_with_its_code_and_phrase(proxy, sidecar, agent):
    caller = await agent()
    sidecar.decide = lambda question: reject(503, "Overloaded Now", 7)
    call = caller.call()
    caller.invite(call)
    reply = await caller.expect(503)
    assert reply.first == "SIP/2.0 503 Overloaded Now"
    assert reply.get("Retry-After") == "7"
    caller.ack_failure(call, reply)
    await until(lambda: proxy.transactions() == 0)
    assert (await proxy.events_until(call, "failed"))[-1].failed.code == 503


async def test_a_retransmitted_invite_asks_once(proxy, sidecar, agent):
    caller = await agent()
    sidecar.decide = lambda question: None
    call = caller.call()
    for _ in range(5):
        caller.invite(call)
    reply = await caller.expect(503)
    assert len(sidecar.questions) == 1
    caller.ack_failure(call, reply)


async def test_silence_of_the_sidecar_gives_503_within_half_a_second(proxy, sidecar, agent):
    caller = await agent()
    sidecar.decide = lambda question: None
    for _ in range(5):
        call = caller.call()
        caller.invite(call)
        trying = await caller.expect(100)
        reply = await caller.expect(503)
        assert reply.received_at - trying.received_at < 0.5
        assert reply.get("Retry-After") == "1"
        caller.ack_failure(call, reply)
    await until(lambda: proxy.transactions() == 0)


async def test_the_line_hangs_up(proxy, answered):
    caller, line, call, invite = await answered()
    dialog = line.dialog(invite)
    line.send(line.in_dialog(dialog, "BYE"))
    bye = await caller.expect("BYE")
    caller.send(caller.reply(bye, 200))
    await line.expect(200, method="BYE")
    assert (await proxy.events_until(call, "hung_up"))[-1].hung_up.party == events_pb2.PARTY_LINE


async def test_a_retransmitted_bye_is_one_event(proxy, answered):
    caller, line, call, _ = await answered()
    bye = caller.in_dialog(call, "BYE")
    caller.send(bye)
    first = await line.expect("BYE")
    caller.send(bye)
    line.send(line.reply(first, 200))
    await caller.expect(200, method="BYE")
    caller.send(bye)
    await caller.expect(200, method="BYE")
    assert [event.WhichOneof("event") for event in proxy.events(call)].count("hung_up") == 1


async def test_the_static_variant_asks_nobody(agent):
    line = await agent()
    with Kamailio(static_destination=f"sip:127.0.0.1:{line.port}") as static:
        caller = await agent(static)
        line.proxy = caller.proxy
        call = caller.call()
        caller.invite(call)
        invite = await line.expect("INVITE")
        assert "sg=" in invite.get("Record-Route")
        line.send(line.reply(invite, 486))
        caller.ack_failure(call, await caller.expect(486))
        assert [event.WhichOneof("event") for event in await static.events_until(call, "failed")] == [
            "asked", "line_tried", "line_failed", "failed"
        ]  # fmt: skip
