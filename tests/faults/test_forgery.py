"""Requests that pretend to belong to a dialog, and decisions that do not come from the sidecar."""

from __future__ import annotations

import pytest
from support.decisions import PROXY, decide, open_question, open_questions
from support.sidecar_fake import reject
from support.site import CALLER_HOST, STRANGER_HOST, eventually, kinds
from support.wire import connect

METHODS = ("BYE", "INVITE", "INFO", "ACK")
REFUSAL = reject(480, "Temporarily Unavailable")


@pytest.mark.parametrize("source", [CALLER_HOST, STRANGER_HOST])
async def test_in_dialog_requests_without_our_signature_are_dropped(site, caller, line, phone, source):
    running = await connect(caller, line, site.number([line.address]))
    forger = await phone(source)
    arrived, before = len(line.seen), site.counter(1, "forged_in_dialog")
    genuine = running.call.routes[0]
    forged = [
        [],
        [f"<sip:{site.sip()[0]}:{site.sip()[1]};lr>"],
        [genuine.replace(";sg=", ";sg=A", 1)],
        [genuine.replace(";sb=", ";sb=x", 1)],
        [genuine.replace(";mn=0.0", ";mn=9.9", 1)],
    ]
    for method in METHODS:
        for routes in forged:
            call = forger.call()
            call.call_id, call.local, call.remote = running.call.call_id, running.call.local, running.call.remote
            call.target, call.routes = running.call.target, routes
            forger.send(forger.in_dialog(call, method), site.sip())
        # The signature of one dialog is worth nothing in another.
        other = forger.call()
        other.remote, other.target, other.routes = running.call.remote, running.call.target, [genuine]
        forger.send(forger.in_dialog(other, method), site.sip())
    expected = before + len(METHODS) * (len(forged) + 1) - 1  # an ACK without Route may be for a refusal of ours
    await eventually(lambda: site.counter(1, "forged_in_dialog") == expected, "forged requests counted")
    assert len(line.seen) == arrived
    assert not forger.seen
    await running.hang_up()
    await site.no_transactions()


async def test_decisions_from_elsewhere_or_without_the_token_or_for_no_question_are_dropped(site, phone, line):
    caller = await phone(proxy=PROXY)
    call = caller.call(site.number([line.address]))
    forged, late = site.counter(PROXY, "forged_decisions"), site.counter(PROXY, "late_decisions")
    with site.paused(f"edge-{PROXY}"):
        caller.invite(call, body=caller.sdp())
        await caller.expect(100)
        question = await open_question(site)
        decide(site, question, REFUSAL, token="a-wrong-token-0123456789")
        decide(site, question, REFUSAL, source=CALLER_HOST, token="a-wrong-token-0123456789")
        decide(site, (question[0], question[1] + 1), REFUSAL)
        decide(site, question, REFUSAL, to=site.sip(PROXY), source=STRANGER_HOST)
        await eventually(lambda: site.counter(PROXY, "forged_decisions") == forged + 3, "forged decisions counted")
        await eventually(lambda: site.counter(PROXY, "late_decisions") == late + 1, "decisions for no question counted")
        assert open_questions(site) == [question]
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 180))
    await caller.expect(180)
    caller.send(caller.request(call, "CANCEL"))
    await caller.expect(200, method="CANCEL")
    cancel = await line.expect("CANCEL")
    line.send(line.reply(cancel, 200))
    line.send(line.reply(invite, 487))
    caller.ack_failure(call, await caller.expect(487))
    await site.no_transactions()


async def test_the_first_decision_counts_and_every_other_is_dropped(site, phone, line):
    caller = await phone(proxy=PROXY)
    call = caller.call(site.number([line.address]))
    late = site.counter(PROXY, "late_decisions")
    with site.paused(f"edge-{PROXY}"):
        caller.invite(call, body=caller.sdp())
        await caller.expect(100)
        question = await open_question(site)
        for _ in range(3):
            decide(site, question, REFUSAL)
        caller.ack_failure(call, await caller.expect(480))
    # Two of ours, and the sidecar's when it wakes up.
    await eventually(lambda: site.counter(PROXY, "late_decisions") == late + 3, "late decisions counted")
    assert not line.seen
    await site.no_transactions()


@pytest.mark.parametrize("decision", [b"", b"{", b'{"v":2}', b'{"v":1,"do":"dial"}', b"\x00" * 100])
async def test_a_decision_that_the_proxy_cannot_use_costs_that_call_alone(site, phone, line, decision):
    bystander = await connect(await phone(), line, site.number([line.address]))
    caller = await phone(proxy=PROXY)
    call = caller.call(site.number([line.address]))
    with site.paused(f"edge-{PROXY}"):
        caller.invite(call, body=caller.sdp())
        await caller.expect(100)
        question = await open_question(site)
        decide(site, question, decision)
        caller.ack_failure(call, await caller.expect(500))
    events = await site.events_until(call.call_id, "failed")
    assert kinds(events) == ["asked", "decided", "failed"]
    assert events[1].decided.why == "unusable"
    await bystander.reinvite()
    await bystander.hang_up()
