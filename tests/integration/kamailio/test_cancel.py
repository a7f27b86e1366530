"""CANCEL at every moment: one final reply to the INVITE, one to the CANCEL, no line left ringing."""

from __future__ import annotations

import asyncio
import random

import pytest
from support.sidecar_fake import branch, dial, reject, stage
from support.sip_agent import SDP
from support.wait import until


async def cancelled(proxy, caller, call):
    """CANCEL gets 200 and INVITE 487, once each."""
    await caller.expect(200, method="CANCEL")
    reply = await caller.expect(487)
    caller.ack_failure(call, reply)
    await until(lambda: proxy.transactions() == 0)
    assert [message.code for message in caller.seen if message.code >= 200 and message.method == "INVITE"] == [487]
    events = await proxy.events_until(call, "failed")
    assert events[-1].failed.code == 487


async def test_while_the_question_is_out(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: None
    call = caller.call()
    caller.invite(call)
    await until(lambda: bool(sidecar.questions))
    caller.send(caller.request(call, "CANCEL"))
    await caller.expect(200, method="CANCEL")
    sidecar.answer(sidecar.questions[0], dial(stage(branch(line.port))))
    reply = await caller.expect(487)
    caller.ack_failure(call, reply)
    await until(lambda: proxy.transactions() == 0)
    assert not line.seen
    assert (await proxy.events_until(call, "failed"))[-1].failed.code == 487


async def test_before_the_line_replies(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = caller.call()
    caller.invite(call)
    await line.expect("INVITE")
    caller.send(caller.request(call, "CANCEL"))
    await cancelled(proxy, caller, call)


async def test_while_several_lines_ring(proxy, sidecar, agent):
    caller, *lines = [await agent() for _ in range(4)]
    sidecar.decide = lambda question: dial(stage(*(branch(one.port) for one in lines)), stage(branch(9)))
    call = caller.call()
    caller.invite(call)
    for one in lines:
        invite = await one.expect("INVITE")
        one.send(one.reply(invite, 180, tag=f"t{one.port}"))
        await caller.expect(180)
    caller.send(caller.request(call, "CANCEL"))
    for one in lines:
        cancel = await one.expect("CANCEL")
        one.send(one.reply(cancel, 200))
        one.send(one.reply(next(m for m in one.seen if m.method == "INVITE"), 487, tag=f"t{one.port}"))
    await cancelled(proxy, caller, call)


async def test_when_the_line_has_answered_the_call_stands(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 200, body=SDP))
    caller.answered(call, await caller.expect(200))
    target, routes, remote = call.target, call.routes, call.remote
    call.target, call.routes, call.remote = caller.call().target, [], caller.call().remote
    caller.send(caller.request(call, "CANCEL"))
    await caller.expect(200, method="CANCEL")
    call.target, call.routes, call.remote = target, routes, remote
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")


async def test_before_its_invite(proxy, sidecar, agent):
    """A CANCEL that overtook its INVITE between two workers: it is noted, and answered when it comes again."""
    caller = await agent()
    call = caller.call()
    caller.send(caller.request(call, "CANCEL"))
    await until(lambda: proxy.counter("early_cancels") >= 1)
    caller.invite(call)
    reply = await caller.expect(487)
    caller.send(caller.request(call, "CANCEL"))
    await caller.expect(200, method="CANCEL")
    caller.ack_failure(call, reply)
    await until(lambda: proxy.transactions() == 0)
    assert not sidecar.questions


async def test_of_a_call_that_never_was(proxy, sidecar, agent):
    caller = await agent()
    call = caller.call()
    caller.send(caller.request(call, "CANCEL"))
    await until(lambda: proxy.counter("early_cancels") >= 1)
    caller.send(caller.request(call, "CANCEL"))
    await caller.expect(481, method="CANCEL")


class Impatient(asyncio.DatagramProtocol):
    """Sends INVITE and CANCEL of many calls, again while unanswered (RFC 3261 section 17.1); counts final replies."""

    def __init__(self, maker):
        self.maker = maker
        self.finals = {}
        self.texts = {}

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        first, rest = data.split(b"\r\n", 1)
        if not first.startswith(b"SIP/2.0 ") or first[8:9] == b"1":
            return
        call_id = rest.split(b"Call-ID: ", 1)[1].split(b"\r\n", 1)[0].decode()
        method = rest.split(b"CSeq: ", 1)[1].split(b"\r\n", 1)[0].split(b" ")[1].decode()
        self.finals.setdefault((call_id, method), []).append(int(first[8:11]))
        if method == "INVITE":
            to = next(line for line in rest.split(b"\r\n") if line.startswith(b"To: "))[4:].decode()
            call = self.texts[call_id]
            call.remote = to
            self.send(self.maker.request(call, "ACK"))

    def send(self, text):
        self.transport.sendto(text.encode(), self.maker.proxy)


@pytest.mark.parametrize("most_us", [0, 300, 1500, 6000])
async def test_within_the_round_trip_of_the_invite_thousands_of_times(proxy, sidecar, agent, most_us):
    """Callers see exactly one final reply to INVITE and CANCEL, whatever overtakes what."""
    maker, line = await agent(), await agent()
    rng = random.Random(most_us)
    sidecar.decide = lambda question: (
        None if rng.random() < 0.1 else reject(404, "x") if rng.random() < 0.2 else dial(stage(branch(line.port)))
    )
    impatient = Impatient(maker)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: impatient, local_addr=(maker.host, 0))
    maker.port = impatient.transport.get_extra_info("sockname")[1]
    for _ in range(1000):
        call = maker.call()
        impatient.texts[call.call_id] = call
        invite, cancel = maker.request(call, "INVITE", body=SDP), maker.request(call, "CANCEL")
        impatient.send(invite)
        delay = rng.uniform(0, most_us) / 1e6
        (loop.call_later(delay, impatient.send, cancel) if delay else impatient.send(cancel))
        for again in (0.5, 1.5, 3.5):
            loop.call_later(again, resend, impatient, call.call_id, "CANCEL", cancel)
            loop.call_later(again, resend, impatient, call.call_id, "INVITE", invite)
        await asyncio.sleep(0.002 if rng.random() < 0.5 else 0)
        answer_lines(line)
    limit = loop.time() + 30
    while len(impatient.finals) < 2000 and loop.time() < limit:
        await asyncio.sleep(0.02)
        answer_lines(line)
    impatient.transport.close()
    wrong = {
        (call_id, method): impatient.finals.get((call_id, method))
        for call_id in impatient.texts
        for method in ("INVITE", "CANCEL")
        if len(set(impatient.finals.get((call_id, method), []))) != 1
    }
    assert not wrong
    await until(lambda: answer_lines(line) or proxy.transactions() == 0, timeout_s=15)
    rung = {message.get("Via") for message in line.seen if message.first.startswith("INVITE")}
    assert rung == {message.get("Via") for message in line.seen if message.first.startswith("CANCEL")}


def resend(impatient, call_id, method, text):
    if (call_id, method) not in impatient.finals and not impatient.transport.is_closing():
        impatient.send(text)


def answer_lines(line):
    """A line that rings at every INVITE and gives in to every CANCEL."""
    for message in line.inbox:
        if message.first.startswith("INVITE"):
            line.send(line.reply(message, 180))
        elif message.first.startswith("CANCEL"):
            line.send(line.reply(message, 200))
            invite = next((m for m in line.seen if m.get("Via") == message.get("Via") and m.first[0] == "I"), None)
            if invite is not None:
                line.send(line.reply(invite, 487))
    line.inbox.clear()
    return False
