"""Lines that workers with voice call: with a leg that routing has signed, for a call, and never of their own accord."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from signalbox.eventrow import split
from support.kamailio import WORKER_HOST, Kamailio
from support.sidecar_fake import FakeSidecar, branch, dial, reject, stage
from support.sip_agent import SDP
from support.wait import until

PARENT = "edge-2-1795318705-12-345"
LEG = "c" * 900 + "-_09"
SENT = [f"X-Signalbox-Leg: {LEG}", f"X-Signalbox-Call: {PARENT}"]
OURS = ["Leg", "Call", "Cursor", "Edge", "End", "Target", "Anything"]
FORGED = [f"X-Signalbox-{name}: forged" for name in OURS]


def told_of_us(message):
    return [name for name, _ in message.headers if name.startswith("x-signalbox")]


async def test_a_leg_is_asked_about_with_what_the_worker_brings(proxy, sidecar, agent):
    worker, line = await agent(proxy, WORKER_HOST), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = worker.call()
    worker.invite(call, headers=SENT)
    invite = await line.expect("INVITE")
    (question,) = sidecar.questions
    assert (question.raw["tr"], question.raw["lg"], question.raw["pn"]) == ("_voice", LEG, PARENT)
    assert question.raw["id"].endswith("L")
    assert not told_of_us(invite)
    assert [value.split(";")[0] for value in invite.all("Diversion")] == ["<sip:4001234567@127.0.0.1>"]
    assert invite.get("History-Info").count("4001234567") == 1
    line.send(line.reply(invite, 200, body=SDP))
    worker.answered(call, await worker.expect(200))
    worker.send(worker.in_dialog(call, "ACK"))
    await line.expect("ACK")
    worker.send(worker.in_dialog(call, "BYE"))
    line.send(line.reply(await line.expect("BYE"), 200))
    await worker.expect(200, method="BYE")
    events = await proxy.events_until(call, "hung_up")
    assert events[0].asked.parent == PARENT
    assert {event.call_id for event in events} == {question.raw["id"]}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        SENT[:1],
        SENT[1:],
        [f"X-Signalbox-Leg: {'c' * 1025}", SENT[1]],
        ["X-Signalbox-Leg: a+b", SENT[1]],
        ["X-Signalbox-Leg: a\tb", SENT[1]],
        ["X-Signalbox-Leg: a\0b", SENT[1]],
        ["X-Signalbox-Leg:", SENT[1]],
        [SENT[0], f"X-Signalbox-Call: {'c' * 129}"],
        [SENT[0], "X-Signalbox-Call: a|b"],
        [SENT[0], "X-Signalbox-Call: a b"],
        [SENT[0], "X-Signalbox-Call: a\0b"],
    ],
    ids=lambda headers: " ".join(headers)[:40].replace("\0", "NUL"),
)
async def test_a_worker_calls_nobody_without_a_leg(proxy, sidecar, agent, headers):
    worker = await agent(proxy, WORKER_HOST)
    refused = proxy.counter("legs_refused")
    call = worker.call()
    worker.invite(call, headers=headers)
    reply = await worker.expect(403)
    assert reply.first == "SIP/2.0 403 No Leg"
    worker.ack_failure(call, reply)
    assert proxy.counter("legs_refused") == refused + 1
    assert not sidecar.questions
    assert not proxy.events(call)


async def test_who_is_no_worker_brings_no_leg(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = caller.call()
    caller.invite(call, headers=SENT)
    invite = await line.expect("INVITE")
    (question,) = sidecar.questions
    assert (question.raw["tr"], question.raw["lg"], question.raw["pn"]) == ("trunk-a", "", "")
    assert not question.raw["id"].endswith("L")
    assert not told_of_us(invite)
    line.send(line.reply(invite, 486))
    caller.ack_failure(call, await caller.expect(486))
    events = await proxy.events_until(call, "failed")
    assert events[0].asked.parent == ""


@asynccontextmanager
async def shared_address():
    with Kamailio(trunks=[("127.0.0.7", "trunk-b")], workers=[WORKER_HOST]) as proxy:
        sidecar = await FakeSidecar(proxy, lambda question: reject(404, "x")).start()
        yield proxy, sidecar
        sidecar.close()


async def test_an_address_may_be_a_worker_s_and_a_trunk_s(agent):
    async with shared_address() as (proxy, sidecar):
        both = await agent(proxy, WORKER_HOST)
        for headers in (SENT, [], SENT[1:]):
            call = both.call()
            both.invite(call, headers=headers)
            both.ack_failure(call, await both.expect(404))
        assert [question.raw["tr"] for question in sidecar.questions] == ["_voice", "trunk-b", "trunk-b"]


async def test_what_is_ours_comes_from_nobody_else_and_goes_no_further(proxy, sidecar, agent):
    caller, worker = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(worker.port, line="ivr-1", cursor="c1")))
    call = caller.call()
    caller.invite(call, headers=FORGED)
    invite = await worker.expect("INVITE")
    assert told_of_us(invite) == ["x-signalbox-cursor", "x-signalbox-edge"]
    assert (invite.get("X-Signalbox-Cursor"), invite.get("X-Signalbox-Edge")) == ("c1", "edge-1")
    worker.send(worker.reply(invite, 183, headers=FORGED, body=SDP))
    assert not told_of_us(await caller.expect(183))
    worker.send(worker.reply(invite, 200, headers=FORGED, body=SDP))
    reply = await caller.expect(200)
    assert not told_of_us(reply)
    caller.answered(call, reply)
    caller.send(caller.in_dialog(call, "ACK", headers=FORGED))
    assert not told_of_us(await worker.expect("ACK"))
    for sender, dialog, receiver in ((caller, call, worker), (worker, worker.dialog(invite), caller)):
        sender.send(sender.in_dialog(dialog, "INFO", headers=FORGED))
        info = await receiver.expect("INFO")
        assert not told_of_us(info)
        receiver.send(receiver.reply(info, 200, headers=FORGED))
        assert not told_of_us(await sender.expect(200, method="INFO"))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_worker_has_the_media_itself_and_all_of_the_dialog(proxy, sidecar, agent, worker_at, transport):
    caller, worker = await agent(), await worker_at(transport)
    own = branch(worker.port, line="ivr-1", cursor="c1", transport=transport)
    # No such node: with media of the proxy's nothing would go on.
    sidecar.decide = lambda question: dial(stage(own), media="anchor", n1=7)
    call = caller.call()
    caller.invite(call)
    invite = await worker.expect("INVITE")
    assert invite.body == SDP
    worker.send(worker.reply(invite, 183, body=SDP))
    assert (await caller.expect(183)).body == SDP
    worker.send(worker.reply(invite, 200, body=SDP))
    reply = await caller.expect(200)
    assert reply.body == SDP
    caller.answered(call, reply)
    caller.send(caller.in_dialog(call, "ACK"))
    await worker.expect("ACK")
    dialog = worker.dialog(invite)
    for sender, known, receiver, method in (
        (worker, dialog, caller, "INVITE"),
        (caller, call, worker, "UPDATE"),
        (worker, dialog, caller, "UPDATE"),
        (caller, call, worker, "INVITE"),
    ):
        sender.send(sender.in_dialog(known, method, body=SDP))
        changed = await receiver.expect(method)
        assert changed.body == SDP
        receiver.send(receiver.reply(changed, 200, body=SDP))
        assert (await sender.expect(200, method=method)).body == SDP
        if method == "INVITE":
            sender.send(sender.in_dialog(known, "ACK"))
            await receiver.expect("ACK")
    worker.send(worker.in_dialog(dialog, "BYE", headers=['Reason: Q.850;cause=16;text="Normal call clearing"']))
    caller.send(caller.reply(await caller.expect("BYE"), 200))
    await worker.expect(200, method="BYE")
    events = await proxy.events_until(call, "hung_up")
    (answered,) = [event.answered for event in events if event.HasField("answered")]
    assert (answered.line, answered.media_node) == ("ivr-1", 0)
    (outcome,) = [split(row).outcome for row in proxy.rows() if f"|{call.call_id}|200|" in row]
    assert outcome == "ivr-1 0 w"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_caller_who_gives_up_is_told_to_the_worker(proxy, sidecar, agent, worker_at, transport):
    caller, worker = await agent(), await worker_at(transport)
    sidecar.decide = lambda question: dial(
        stage(branch(worker.port, line="ivr-1", cursor="c1", transport=transport)), media="anchor", n1=7
    )
    call = caller.call()
    caller.invite(call)
    invite = await worker.expect("INVITE")
    worker.send(worker.reply(invite, 183, body=SDP))
    await caller.expect(183)
    caller.send(caller.request(call, "CANCEL"))
    await caller.expect(200, method="CANCEL")
    cancel = await worker.expect("CANCEL")
    worker.send(worker.reply(cancel, 200))
    worker.send(worker.reply(invite, 487))
    caller.ack_failure(call, await caller.expect(487))
    await worker.expect("ACK")


async def test_a_worker_that_is_gone_is_passed_over_sooner_than_a_line(agent):
    with Kamailio(connect_timeout_ms=60_000) as proxy:
        sidecar = await FakeSidecar(proxy, lambda question: None).start()
        caller, silent, following = await agent(proxy), await agent(proxy), await agent(proxy)
        for cursor in ("", "c1"):
            stages = [stage(branch(one.port, line="ivr-1", cursor=cursor)) for one in (silent, following)]
            sidecar.decide = lambda question, stages=stages: dial(*stages)
            caller.invite(caller.call(called="400" if cursor else "line"))
            await silent.expect("INVITE")
        assert (await following.expect("INVITE", within=30)).get("To").startswith("<sip:400@")
        assert not following.inbox
        sidecar.close()


async def test_a_caller_who_shows_a_service_number_is_anonymous_to_the_worker_and_to_its_lines(proxy, sidecar, agent):
    caller, worker, line = await agent(), await agent(proxy, WORKER_HOST), await agent()
    worker_branch = branch(worker.port, line="ivr-1", cursor="c1").replace("127.0.0.1", WORKER_HOST)
    sidecar.decide = lambda question: (
        dial(stage(branch(line.port))) if question.raw["lg"] else dial(stage(worker_branch), an=1)
    )
    caller.invite(caller.call(calling="4007654321"), headers=["P-Asserted-Identity: <sip:4007654321@h>"])
    invite = await worker.expect("INVITE")
    assert invite.get("From").startswith('"Anonymous" <sip:anonymous@anonymous.invalid>')
    assert invite.all("Privacy") == ["id"]
    assert not invite.all("P-Asserted-Identity")
    leg = worker.call()
    leg.local = '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=leg'
    worker.invite(leg, headers=[*SENT, "Privacy: id"])
    rung = await line.expect("INVITE")
    assert rung.get("From") == leg.local
    assert rung.all("Privacy") == ["id"]
    assert "4007654321" not in str(rung.headers)


async def test_a_line_that_must_not_know_the_caller_does_not_learn_it_from_a_worker(proxy, sidecar, agent):
    worker, line = await agent(proxy, WORKER_HOST), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port, flags="i")))
    worker.invite(worker.call(), headers=[*SENT, "P-Asserted-Identity: <sip:13800001234@h>"])
    assert not (await line.expect("INVITE")).all("P-Asserted-Identity")


async def test_a_transfer_to_a_number_names_its_line_by_the_number(proxy, sidecar, agent):
    worker, line = await agent(proxy, WORKER_HOST), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port, line="01088886666")))
    call = worker.call()
    worker.invite(call, headers=SENT)
    line.send(line.reply(await line.expect("INVITE"), 486))
    worker.ack_failure(call, await worker.expect(486))
    events = await proxy.events_until(call, "failed")
    assert [event.line_failed.line for event in events if event.HasField("line_failed")] == ["01088886666"]


async def test_nobody_who_decides_is_503_to_the_worker(proxy, sidecar, agent):
    worker = await agent(proxy, WORKER_HOST)
    sidecar.decide = lambda question: None
    call = worker.call()
    worker.invite(call, headers=SENT)
    worker.ack_failure(call, await worker.expect(503))
    await until(lambda: proxy.transactions() == 0)
