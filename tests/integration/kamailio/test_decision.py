"""Decisions that are forged, repeated, late or unusable."""

from __future__ import annotations

import base64
import json
import socket

import pytest
from support.kamailio import TOKEN
from support.sidecar_fake import branch, dial, reject, route_request, route_requests, stage
from support.wait import until


async def hold(sidecar, caller):
    """A call whose question is open."""
    sidecar.decide = lambda question: None
    asked = len(sidecar.questions)
    call = caller.call()
    caller.invite(call)
    await caller.expect(100)
    await until(lambda: len(sidecar.questions) > asked)
    return call, sidecar.questions[-1]


async def test_one_decision_counts_and_every_other_is_dropped(proxy, sidecar, agent):
    caller = await agent()
    dropped = proxy.counter("late_decisions")
    call, question = await hold(sidecar, caller)
    # Several workers read them, so that none is sure to be the first.
    for code in range(404, 410):
        sidecar.answer(question, reject(code, "One Of Six"))
    await until(lambda: caller.seen[-1].code >= 200)
    reply = caller.seen[-1]
    caller.ack_failure(call, reply)
    await until(lambda: proxy.counter("late_decisions") == dropped + 5)
    await until(lambda: proxy.transactions() == 0)
    assert reply.code in range(404, 410)
    assert {message.code for message in caller.seen} == {100, reply.code}
    sidecar.answer(question, reject(403, "A Seventh"))
    await until(lambda: proxy.counter("late_decisions") == dropped + 6)
    assert proxy.transactions() == 0
    assert {message.code for message in caller.seen} == {100, reply.code}


async def test_a_refusal_for_a_decision_that_the_sidecar_could_not_render_keeps_it_in_the_event(proxy, sidecar, agent):
    caller = await agent()
    text = base64.b64encode(b"dial { stages { ring_time_ms: 1 } }").decode()
    sidecar.decide = lambda question: {**reject(500, "Server Internal Error", why="decision_unusable"), "x": text}
    call = caller.call()
    caller.invite(call)
    caller.ack_failure(call, await caller.expect(500))
    events = await proxy.events_until(call, "failed")
    assert events[-2].decided.why == "decision_unusable"
    assert events[-2].decided.unusable_decision == "dial { stages { ring_time_ms: 1 } }"


async def test_a_decision_for_another_index_or_with_a_wrong_token_is_dropped(proxy, sidecar, agent):
    caller = await agent()
    late, forged = proxy.counter("late_decisions"), proxy.counter("forged_decisions")
    call, question = await hold(sidecar, caller)
    index, label = question.raw["i"], question.raw["l"]
    for data in (
        route_request(index + 1, label, reject(404, "x"), proxy),
        route_request(index, label + 1, reject(404, "x"), proxy),
        route_request(0, 0, reject(404, "x"), proxy),
        route_request(index, label, reject(404, "x"), proxy, token="wrong"),
        route_request(index, label, reject(404, "x"), proxy, token=TOKEN[:-1]),
        route_request(index, label, reject(404, "x"), proxy).replace(b"ROUTE", b"INVITE"),
        route_request(index, label, reject(404, "x"), proxy).replace(f"\n{index} ".encode(), b"\nx "),
    ):
        caller.send(data, ("127.0.0.1", proxy.route_port))
    await until(lambda: proxy.counter("forged_decisions") + proxy.counter("late_decisions") >= late + forged + 7)
    caller.ack_failure(call, await caller.expect(503))
    await until(lambda: proxy.transactions() == 0)


async def test_decisions_that_travel_together_are_each_for_their_own_call(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    late = proxy.counter("late_decisions")
    held = [await hold(sidecar, caller) for _ in range(5)]
    dialled, unusable, gone, repeated, refused = (call for call, _ in held)
    decisions = [
        dial(stage(branch(line.port))), b"{", reject(410, "Gone"), reject(404, "Once"), reject(403, "Forbidden")
    ]  # fmt: skip
    questions = [question.raw for _, question in held]
    parts = [(raw["i"], raw["l"], decision) for raw, decision in zip(questions, decisions, strict=True)]
    parts.insert(4, (*parts[3][:2], reject(405, "Twice")))
    caller.send(route_requests(parts, proxy), ("127.0.0.1", proxy.route_port))
    invite = await line.expect("INVITE")
    assert invite.get("Call-ID") == dialled.call_id
    line.send(line.reply(invite, 486))
    for call, code in ((dialled, 486), (unusable, 500), (gone, 410), (repeated, 404), (refused, 403)):
        reply = await caller.expect(code)
        assert reply.get("Call-ID") == call.call_id
        caller.ack_failure(call, reply)
    await until(lambda: proxy.transactions() == 0)
    assert proxy.counter("late_decisions") == late + 1


async def test_sixteen_calls_that_are_dialled_together_all_ring(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    late = proxy.counter("late_decisions")
    held = [await hold(sidecar, caller) for _ in range(16)]
    plan = dial(stage(branch(line.port), branch(line.port, line="line-2")), stage(branch(line.port, line="line-3")))
    parts = [(question.raw["i"], question.raw["l"], plan) for _, question in held]
    caller.send(route_requests(parts, proxy), ("127.0.0.1", proxy.route_port))
    rung = {(await line.expect("INVITE")).get("Call-ID") for _ in range(32)}
    assert rung == {call.call_id for call, _ in held}
    assert proxy.counter("late_decisions") == late
    for call, _ in held:
        caller.send(caller.request(call, "CANCEL"))
    await until(lambda: len([message for message in caller.seen if message.code == 487]) >= 16)


@pytest.mark.parametrize("body", [b"", b"\n", b"x", b"1\n{}\n", b"1 2 3\n{}\n", b"-1 5\n{}\n", b"\0 1\n{}\n"])
async def test_a_body_that_is_no_list_of_decisions_is_dropped(proxy, sidecar, agent, body):
    caller = await agent()
    forged = proxy.counter("forged_decisions")
    request = route_requests([], proxy).replace(b"Content-Length: 0", b"Content-Length: %d" % len(body)) + body
    caller.send(request, ("127.0.0.1", proxy.route_port))
    await until(lambda: proxy.counter("forged_decisions") == forged + 1)


async def test_a_decision_on_the_public_socket_is_dropped(proxy, sidecar, agent, forger):
    caller = await agent()
    forged = proxy.counter("forged_decisions")
    call, question = await hold(sidecar, caller)
    forger.send(route_request(question.raw["i"], question.raw["l"], reject(404, "x"), proxy))
    await until(lambda: proxy.counter("forged_decisions") == forged + 1)
    caller.ack_failure(call, await caller.expect(503))
    await until(lambda: proxy.transactions() == 0)
    assert not forger.seen


async def test_a_decision_after_the_timeout_is_dropped(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    late = proxy.counter("late_decisions")
    call, question = await hold(sidecar, caller)
    caller.ack_failure(call, await caller.expect(503))
    sidecar.answer(question, dial(stage(branch(line.port))))
    await until(lambda: proxy.counter("late_decisions") == late + 1)
    await until(lambda: proxy.transactions() == 0)
    assert not line.seen


GOOD = dial("30000 0 0 0|line-1 sip:1@127.0.0.1:9 sip:127.0.0.1:9 -")


@pytest.mark.parametrize(
    "decision",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        {},
        {**GOOD, "v": 2},
        {**GOOD, "v": "x"},
        {**GOOD, "do": "dance"},
        {**GOOD, "do": {"deep": [1]}},
        {**GOOD, "by": "me"},
        {**GOOD, "why": "a|b"},
        {**GOOD, "tn": "a b"},
        {**GOOD, "nu": "4001234567 x"},
        {**GOOD, "md": "louder"},
        {**GOOD, "n1": -1},
        {**GOOD, "n1": None},
        {**GOOD, "st": []},
        {**GOOD, "st": ""},
        {**GOOD, "st": [""]},
        {**GOOD, "st": {}},
        {**GOOD, "st": 7},
        {key: value for key, value in GOOD.items() if key != "st"},
        {key: value for key, value in GOOD.items() if key != "n2"},
        dial("30000 0 0 0"),
        dial("30000|line-1 sip:1@127.0.0.1 sip:127.0.0.1 -"),
        dial("30000 17 0 0|line-1 sip:1@127.0.0.1 sip:127.0.0.1 -"),
        dial("30000 0 200 0|line-1 sip:1@127.0.0.1 sip:127.0.0.1 -"),
        dial("30000 0 0 -1|line-1 sip:1@127.0.0.1 sip:127.0.0.1 -"),
        dial("30000 0 0 0|line-1 sip:1@127.0.0.1 sip:127.0.0.1 - a.b"),
        dial("30000 0 0 0|line-1 sip:1@127.0.0.1 sip:127.0.0.1 - a b"),
        dial("x 0 0 0|line-1 sip:1@127.0.0.1 sip:127.0.0.1 -"),
        dial("30000 0 0 0|line-1 sip:1@127.0.0.1"),
        dial("30000 0 0 0|line-1 sip:1@name.example sip:127.0.0.1 -"),
        dial("30000 0 0 0|line-1 sip:1@127.0.0.1 sip:name.example -"),
        dial("30000 0 0 0|line-1 tel:1 sip:127.0.0.1 -"),
        dial('30000 0 0 0|line-1 sip:"1"@127.0.0.1 sip:127.0.0.1 -'),
        dial("30000 0 0 0|line-1 sip:1\r\n@127.0.0.1 sip:127.0.0.1 -"),
        dial("30000 0 0 0|" + "|".join(["line-1 sip:1@127.0.0.1 sip:127.0.0.1 -"] * 9)),
        {**reject(404, "x"), "code": 200},
        {**reject(404, "x"), "code": "x"},
        {**reject(404, "x"), "ph": ""},
        {**reject(404, "x"), "ph": "two\r\nlines"},
        {**reject(404, "x"), "ra": "soon"},
    ],
    ids=str,
)
async def test_a_decision_that_cannot_be_used_is_500_for_that_call_only(proxy, sidecar, agent, decision):
    caller = await agent()
    sidecar.decide = lambda question: decision
    call = caller.call()
    caller.invite(call)
    caller.ack_failure(call, await caller.expect(500))
    events = await proxy.events_until(call, "failed")
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "asked"
    assert kinds[-2:] == ["decided", "failed"]
    sent = decision if isinstance(decision, bytes) else json.dumps(decision).encode()
    assert events[-2].decided.unusable_decision == sent.decode(errors="replace")
    sidecar.decide = lambda question: reject(410, "Gone")
    call = caller.call()
    caller.invite(call)
    caller.ack_failure(call, await caller.expect(410))


@pytest.mark.parametrize("second", ["30000 0 0 0|garbage", None], ids=["garbage", "missing"])
async def test_a_second_stage_that_cannot_be_used_is_500(proxy, sidecar, agent, second):
    caller, line = await agent(), await agent()
    stages = [stage(branch(line.port), then="2 2 2"), *([second] if second else [])]
    sidecar.decide = lambda question: dial(*stages)
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 486))
    caller.ack_failure(call, await caller.expect(500))
    events = await proxy.events_until(call, "failed")
    assert json.loads(events[-2].decided.unusable_decision) == stages
    await until(lambda: proxy.transactions() == 0)


@pytest.mark.parametrize("back", ["1 1 1", "2 2 2"], ids=["to the first", "to itself"])
async def test_a_stage_that_leads_back_is_500(proxy, sidecar, agent, back):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)), stage(branch(line.port), then=back))
    call = caller.call()
    caller.invite(call)
    for _ in range(2):
        line.send(line.reply(await line.expect("INVITE"), 486))
    caller.ack_failure(call, await caller.expect(500))
    await until(lambda: proxy.transactions() == 0)


def test_decisions_are_heard_on_loopback_only(proxy):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        assert client.connect_ex(("127.0.0.1", proxy.route_port)) != 0
    assert proxy.settings.kamailio.route_listen.startswith("127.")
