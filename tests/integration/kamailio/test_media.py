"""Media through real rtpengines: where the SDP points in every kind of offer and answer, and what a dead node costs."""

from __future__ import annotations

import time

import pytest
from support.kamailio import Kamailio
from support.media_calls import OTHER_SDP, anchored, forget, nodes, proxy, through
from support.sidecar_fake import FakeSidecar, branch, dial, stage
from support.sip_agent import SDP
from support.wait import until

__all__ = ["nodes", "proxy"]

pytestmark = pytest.mark.usefixtures("sidecar")


async def test_offer_answer_and_hold_go_through_the_node_of_the_decision(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await anchored(sidecar, agent)
    assert through(invite) == 1
    line.send(line.reply(invite, 183, body=OTHER_SDP))
    assert through(await caller.expect(183)) == 1
    line.send(line.reply(invite, 200, body=OTHER_SDP))
    answer = await caller.expect(200)
    assert through(answer) == 1
    caller.answered(call, answer)
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    caller.send(caller.in_dialog(call, "INVITE", body=SDP + "a=sendonly\r\n"))
    hold = await line.expect("INVITE")
    assert through(hold) == 1
    assert "a=sendonly" in hold.body
    line.send(line.reply(hold, 200, body=OTHER_SDP + "a=recvonly\r\n"))
    assert through(await caller.expect(200)) == 1
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    dialog = line.dialog(invite)
    line.send(line.in_dialog(dialog, "UPDATE", body=OTHER_SDP))
    assert through(await caller.expect("UPDATE")) == 1
    caller.send(caller.in_dialog(call, "BYE"))
    await line.expect("BYE")
    events = await proxy.events_until(call, "hung_up")
    assert [event.answered.media_node for event in events if event.HasField("answered")] == [1]


async def test_a_late_offer_is_offered_by_the_line_and_answered_in_ack(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await anchored(sidecar, agent, n1=2, n2=1, sdp="")
    assert invite.body == ""
    line.send(line.reply(invite, 200, body=OTHER_SDP))
    offer = await caller.expect(200)
    assert through(offer) == 2
    caller.answered(call, offer)
    caller.send(caller.in_dialog(call, "ACK", body=SDP))
    assert through(await line.expect("ACK")) == 2


async def test_a_late_offer_in_a_reliable_183_is_answered_in_prack(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await anchored(sidecar, agent, sdp="")
    line.send(line.reply(invite, 183, headers=["Require: 100rel", "RSeq: 1"], body=OTHER_SDP))
    offer = await caller.expect(183)
    assert through(offer) == 1
    assert offer.get("RSeq") == "1"
    caller.answered(call, offer)
    caller.send(caller.in_dialog(call, "PRACK", headers=["RAck: 1 1 INVITE"], body=SDP))
    prack = await line.expect("PRACK")
    assert prack.get("RAck") == "1 1 INVITE"
    assert through(prack) == 1


async def test_a_late_re_invite(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await anchored(sidecar, agent)
    line.send(line.reply(invite, 200, body=OTHER_SDP))
    caller.answered(call, await caller.expect(200))
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    caller.send(caller.in_dialog(call, "INVITE"))
    again = await line.expect("INVITE")
    line.send(line.reply(again, 200, body=OTHER_SDP))
    assert through(await caller.expect(200)) == 1
    caller.send(caller.in_dialog(call, "ACK", body=SDP))
    assert through(await line.expect("ACK")) == 1


async def test_bypass_leaves_the_sdp_alone(proxy, sidecar, agent, nodes):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)), media="bypass", n1=1, n2=2)
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    assert invite.body == SDP
    line.send(line.reply(invite, 200, body=OTHER_SDP))
    assert (await caller.expect(200)).body == OTHER_SDP


async def test_the_next_line_gets_a_right_offer(proxy, sidecar, agent, nodes):
    caller, first, second = await agent(), await agent(), await agent()
    sidecar.decide = lambda question: dial(
        stage(branch(first.port)), stage(branch(second.port)), media="anchor", n1=1, n2=2
    )
    call = caller.call()
    caller.invite(call)
    invite = await first.expect("INVITE")
    first.send(first.reply(invite, 486))
    again = await second.expect("INVITE")
    assert through(again) == 1
    assert again.body.count("m=audio") == 1
    assert int(again.get("Content-Length")) == len(again.body)
    second.send(second.reply(again, 200, tag="b", body=OTHER_SDP))
    assert through(await caller.expect(200)) == 1


async def test_two_lines_that_ring_together_share_the_node(proxy, sidecar, agent, nodes):
    caller, first, second = await agent(), await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(first.port), branch(second.port)), media="anchor", n1=1, n2=2)
    call = caller.call()
    caller.invite(call)
    invites = [await first.expect("INVITE"), await second.expect("INVITE")]
    assert [through(invite) for invite in invites] == [1, 1]
    second.send(second.reply(invites[1], 200, tag="b", body=OTHER_SDP))
    assert through(await caller.expect(200)) == 1


@pytest.mark.parametrize("sdp", [SDP, ""], ids=["offer", "late offer"])
async def test_what_the_node_did_not_write_anew_is_never_passed_on(proxy, sidecar, agent, nodes, sdp):
    node = 1 if sdp else 9  # the node of a late offer is asked first when the line answers
    caller, line, call, invite = await anchored(sidecar, agent, n1=node, sdp=sdp)
    if sdp:
        await forget(nodes[0], sidecar, call)
    line.send(line.reply(invite, 183, body=OTHER_SDP))
    progress = await caller.expect(183)
    assert progress.body == ""
    assert not progress.get("Content-Type")
    for _ in range(2):
        line.send(line.reply(invite, 200, body=OTHER_SDP))
        answer = await caller.expect(200)
        assert "m=audio 0 " in answer.body
        assert "127.0.0.1" not in answer.body
        assert int(answer.get("Content-Length")) == len(answer.body)
    failed = [e.line_failed for e in await proxy.events_until(call, "answered") if e.HasField("line_failed")]
    assert [(one.line, one.code, one.phrase) for one in failed] == [("line-1", 200, "No Media")]
    caller.answered(call, answer)
    caller.send(caller.in_dialog(call, "ACK", body="" if sdp else SDP))
    ack = await line.expect("ACK")
    assert "127.0.0.1" not in ack.body


async def test_the_spare_takes_over_in_the_same_call_within_the_tight_timeout(proxy, sidecar, agent, nodes):
    started = time.monotonic()
    caller, line, call, invite = await anchored(sidecar, agent, n1=9, n2=2)
    assert invite.received_at - started < 0.6
    assert through(invite) == 2
    line.send(line.reply(invite, 200, body=OTHER_SDP))
    answer = await caller.expect(200)
    assert through(answer) == 2
    assert ";mn=2.9;" in answer.get("Record-Route")
    # The node is known to be dead now: the next call does not wait for it.
    started = time.monotonic()
    *_, invite = await anchored(sidecar, agent, n1=9, n2=1)
    assert invite.received_at - started < 0.1
    assert (await proxy.events_until(call, "answered"))[-1].answered.media_node == 2


async def test_no_node_at_all_is_503_for_calls_with_media_only(proxy, sidecar, agent, nodes):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)), media="anchor", n1=9, n2=0)
    call = caller.call()
    caller.invite(call)
    reply = await caller.expect(503)
    assert reply.get("Retry-After") == "1"
    caller.ack_failure(call, reply)
    assert not line.seen
    await until(lambda: proxy.transactions() == 0)


async def test_anchored_without_a_node_is_503_and_never_goes_round_the_media(proxy, sidecar, agent, nodes):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)), media="anchor", n1=0, n2=0)
    call = caller.call()
    caller.invite(call)
    reply = await caller.expect(503)
    assert reply.get("Retry-After") == "1"
    caller.ack_failure(call, reply)
    events = await proxy.events_until(call, "failed")
    assert [event.WhichOneof("event") for event in events] == ["asked", "decided", "failed"]
    assert events[1].decided.action == "dial"
    assert not line.seen


async def test_a_node_that_appears_in_the_table_is_used_after_a_reload(nodes, agent):
    with Kamailio() as proxy:
        sidecar = await FakeSidecar(proxy, lambda question: dial(stage(branch(9)), media="anchor", n1=1)).start()
        url = f"udp:{nodes[0].control}".replace(":", "\\:")
        proxy.table("rtpengine", [f"1:1:{url}:1:0:0"])
        caller, line = await agent(proxy), await agent(proxy)
        sidecar.decide = lambda question: dial(stage(branch(line.port)), media="anchor", n1=1)
        await until(lambda: reloaded(proxy), timeout_s=15)
        for _ in range(20):  # other workers learn of it with their next call
            call = caller.call()
            caller.invite(call)
            await until(lambda: bool(line.inbox) or any(m.code == 503 for m in caller.inbox))
            if line.inbox:
                break
            caller.ack_failure(call, await caller.expect(503))
        assert through(line.inbox[0]) == 1
        sidecar.close()


def reloaded(proxy):
    """True once the proxy took the table over: it does so at most every 10 s, and not while it starts."""
    try:
        proxy.rpc("rtpengine.reload")
    except AssertionError:
        return False
    return True
