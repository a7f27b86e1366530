"""Media through real rtpengines: where the SDP points in every kind of offer and answer, and what a dead node costs."""

from __future__ import annotations

import re
import time

import pytest
from signalbox.media.ng import NgClient, NgRefusedError
from support.kamailio import Kamailio
from support.rtpengine import Rtpengine
from support.sidecar_fake import FakeSidecar, branch, dial, stage
from support.sip_agent import SDP
from support.wait import until

pytestmark = pytest.mark.usefixtures("sidecar")
OTHER_SDP = SDP.replace("40000", "41000")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """Two rtpengines."""
    directory = tmp_path_factory.mktemp("rtpengine")
    nodes = [Rtpengine(directory / f"n{n}", port_min=30_000 + 1000 * n).start() for n in (1, 2)]
    yield nodes
    for node in nodes:
        node.stop()


@pytest.fixture
def proxy(nodes):
    """A proxy that knows both, and a third that nobody answers for."""
    table = [(1, f"udp:{nodes[0].control}"), (2, f"udp:{nodes[1].control}"), (9, "udp:127.0.0.1:9")]
    with Kamailio(connect_timeout_ms=700, media_nodes=table) as proxy:
        yield proxy


def port(sdp):
    return int(re.search(r"m=audio (\d+)", sdp).group(1))


def through(message, nodes):
    """Number of the node that the SDP of a message points to; 0: none."""
    return 1 + (port(message.body) - 31_000) // 1000 if 31_000 <= port(message.body) < 33_000 else 0


async def anchored(sidecar, agent, nodes, n1=1, n2=2, sdp=SDP):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)), media="anchor", n1=n1, n2=n2)
    call = caller.call()
    caller.invite(call, body=sdp)
    return caller, line, call, await line.expect("INVITE")


async def test_offer_answer_and_hold_go_through_the_node_of_the_decision(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await anchored(sidecar, agent, nodes)
    assert through(invite, nodes) == 1
    line.send(line.reply(invite, 183, body=OTHER_SDP))
    assert through(await caller.expect(183), nodes) == 1
    line.send(line.reply(invite, 200, body=OTHER_SDP))
    answer = await caller.expect(200)
    assert through(answer, nodes) == 1
    caller.answered(call, answer)
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    caller.send(caller.in_dialog(call, "INVITE", body=SDP + "a=sendonly\r\n"))
    hold = await line.expect("INVITE")
    assert through(hold, nodes) == 1
    assert "a=sendonly" in hold.body
    line.send(line.reply(hold, 200, body=OTHER_SDP + "a=recvonly\r\n"))
    assert through(await caller.expect(200), nodes) == 1
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    dialog = line.dialog(invite)
    line.send(line.in_dialog(dialog, "UPDATE", body=OTHER_SDP))
    assert through(await caller.expect("UPDATE"), nodes) == 1
    caller.send(caller.in_dialog(call, "BYE"))
    await line.expect("BYE")
    events = await proxy.events_until(call, "hung_up")
    assert [event.answered.media_node for event in events if event.HasField("answered")] == [1]


async def test_a_late_offer_is_offered_by_the_line_and_answered_in_ack(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await anchored(sidecar, agent, nodes, n1=2, n2=1, sdp="")
    assert invite.body == ""
    line.send(line.reply(invite, 200, body=OTHER_SDP))
    offer = await caller.expect(200)
    assert through(offer, nodes) == 2
    caller.answered(call, offer)
    caller.send(caller.in_dialog(call, "ACK", body=SDP))
    assert through(await line.expect("ACK"), nodes) == 2


async def test_a_late_offer_in_a_reliable_183_is_answered_in_prack(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await anchored(sidecar, agent, nodes, sdp="")
    line.send(line.reply(invite, 183, headers=["Require: 100rel", "RSeq: 1"], body=OTHER_SDP))
    offer = await caller.expect(183)
    assert through(offer, nodes) == 1
    assert offer.get("RSeq") == "1"
    caller.answered(call, offer)
    caller.send(caller.in_dialog(call, "PRACK", headers=["RAck: 1 1 INVITE"], body=SDP))
    prack = await line.expect("PRACK")
    assert prack.get("RAck") == "1 1 INVITE"
    assert through(prack, nodes) == 1


async def test_a_late_re_invite(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await anchored(sidecar, agent, nodes)
    line.send(line.reply(invite, 200, body=OTHER_SDP))
    caller.answered(call, await caller.expect(200))
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    caller.send(caller.in_dialog(call, "INVITE"))
    again = await line.expect("INVITE")
    line.send(line.reply(again, 200, body=OTHER_SDP))
    assert through(await caller.expect(200), nodes) == 1
    caller.send(caller.in_dialog(call, "ACK", body=SDP))
    assert through(await line.expect("ACK"), nodes) == 1


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
    assert through(again, nodes) == 1
    assert again.body.count("m=audio") == 1
    assert int(again.get("Content-Length")) == len(again.body)
    second.send(second.reply(again, 200, tag="b", body=OTHER_SDP))
    assert through(await caller.expect(200), nodes) == 1


async def test_the_spare_takes_over_in_the_same_call_within_the_tight_timeout(proxy, sidecar, agent, nodes):
    started = time.monotonic()
    caller, line, call, invite = await anchored(sidecar, agent, nodes, n1=9, n2=2)
    assert invite.received_at - started < 0.6
    assert through(invite, nodes) == 2
    line.send(line.reply(invite, 200, body=OTHER_SDP))
    answer = await caller.expect(200)
    assert through(answer, nodes) == 2
    assert ";mn=2.9;" in answer.get("Record-Route")
    # The node is known to be dead now: the next call does not wait for it.
    started = time.monotonic()
    *_, invite = await anchored(sidecar, agent, nodes, n1=9, n2=1)
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


@pytest.mark.parametrize("how", ["cancelled", "unusable"])
async def test_the_node_is_told_when_the_call_ends_between_two_stages(proxy, sidecar, agent, nodes, how):
    caller, first, second = await agent(), await agent(), await agent()
    stages = [stage(branch(first.port)), "garbage" if how == "unusable" else stage(branch(second.port))]
    sidecar.decide = lambda question: dial(*stages, media="anchor", n1=1, n2=2)
    call = caller.call()
    caller.invite(call)
    invite = await first.expect("INVITE")
    first.send(first.reply(invite, 486))
    if how == "cancelled":
        caller.send(caller.request(call, "CANCEL"))
    await until(lambda: any(message.code >= 400 for message in caller.seen) or bool(second.inbox))
    for late in second.inbox:
        second.send(second.reply(late, 487))
    await until(lambda: deleted_in_log(nodes[0], f"[{call.call_id}]"))


@pytest.mark.parametrize("how", ["refused", "cancelled", "ended"])
async def test_the_node_is_told_when_the_call_is_over(proxy, sidecar, agent, nodes, how):
    caller, line, call, invite = await anchored(sidecar, agent, nodes)
    if how == "refused":
        line.send(line.reply(invite, 486))
        caller.ack_failure(call, await caller.expect(486))
    elif how == "cancelled":
        line.send(line.reply(invite, 180))
        await caller.expect(180)
        caller.send(caller.request(call, "CANCEL"))
        await line.expect("CANCEL")
        line.send(line.reply(invite, 487))
        await caller.expect(487)
    else:
        line.send(line.reply(invite, 200, body=OTHER_SDP))
        caller.answered(call, await caller.expect(200))
        caller.send(caller.in_dialog(call, "BYE"))
        await line.expect("BYE")
    deleted = f"[{call.call_id}]"
    await until(lambda: deleted_in_log(nodes[0], deleted))


def deleted_in_log(node, call_id):
    return any(call_id in line and "Received command 'delete'" in line for line in node.log.read_text().splitlines())


async def ask_node(node, command, **arguments):
    client = await NgClient.connect(node.control)
    try:
        return await client.request(command, arguments)
    finally:
        client.close()


async def forget(node, call):
    """The node loses a call, as if it had been started anew."""
    request = {"call-id": call.call_id, "from-tag": call.local.partition("tag=")[2], "delete-delay": 0}
    await ask_node(node, "delete", **request)


@pytest.mark.parametrize("sdp", [SDP, ""], ids=["offer", "late offer"])
async def test_what_the_node_did_not_write_anew_is_never_passed_on(proxy, sidecar, agent, nodes, sdp):
    node = 1 if sdp else 9  # the node of a late offer is asked first when the line answers
    caller, line, call, invite = await anchored(sidecar, agent, nodes, n1=node, sdp=sdp)
    if sdp:
        await forget(nodes[0], call)
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


async def test_bye_to_one_of_two_lines_that_answered_leaves_the_other_its_media(proxy, sidecar, agent, nodes):
    caller, first, second = await agent(), await agent(), await agent()
    both = stage(branch(first.port, line="line-a"), branch(second.port, line="line-b"))
    sidecar.decide = lambda question: dial(both, media="anchor", n1=1, n2=2)
    call = caller.call()
    caller.invite(call)
    invites = [await first.expect("INVITE"), await second.expect("INVITE")]
    for line, invite, tag in ((first, invites[0], "a"), (second, invites[1], "b")):
        line.send(line.reply(invite, 200, tag=tag, body=OTHER_SDP))
    answers = {to_tag(answer): answer for answer in [await caller.expect(200), await caller.expect(200)]}
    caller.answered(call, answers["a"])
    caller.send(caller.in_dialog(call, "ACK"))
    caller.send(caller.in_dialog(call, "BYE"))
    first.send(first.reply(await first.expect("BYE"), 200))
    await caller.expect(200, method="BYE")
    tags = (await ask_node(nodes[0], "query", **{"call-id": call.call_id}))["tags"]
    assert {"a", "b"} <= {*tags}
    assert not held(tags["a"])
    assert held(tags["b"])
    caller.answered(call, answers["b"])
    caller.send(caller.in_dialog(call, "BYE"))
    second.send(second.reply(await second.expect("BYE"), 200))
    await caller.expect(200, method="BYE")
    limit = time.monotonic() + 5
    while left := await ports(nodes[0], call):
        assert time.monotonic() < limit, left


@pytest.mark.parametrize("who", ["caller", "line"])
@pytest.mark.parametrize("together", [1, 2])
async def test_one_bye_frees_the_ports(proxy, sidecar, agent, nodes, who, together):
    caller, *lines = [await agent() for _ in range(1 + together)]
    sidecar.decide = lambda question: dial(stage(*(branch(one.port) for one in lines)), media="anchor", n1=1, n2=2)
    call = caller.call()
    caller.invite(call)
    invites = [await line.expect("INVITE") for line in lines]
    for line, invite in zip(lines, invites, strict=True):
        line.send(line.reply(invite, 183, tag=f"t{line.port}", body=OTHER_SDP))
        await caller.expect(183)
    line, tag = lines[0], f"t{lines[0].port}"
    line.send(line.reply(invites[0], 200, tag=tag, body=OTHER_SDP))
    caller.answered(call, await caller.expect(200))
    caller.send(caller.in_dialog(call, "ACK"))
    assert await ports(nodes[0], call)
    if who == "caller":
        caller.send(caller.in_dialog(call, "BYE"))
    else:
        line.send(line.in_dialog(line.dialog(invites[0], tag), "BYE"))
    limit = time.monotonic() + 5
    while left := await ports(nodes[0], call):
        assert time.monotonic() < limit, left


async def ports(node, call):
    """Ports that a node holds for a call."""
    try:
        tags = (await ask_node(node, "query", **{"call-id": call.call_id}))["tags"]
    except NgRefusedError:
        return []
    return [port for tag in tags.values() for port in held(tag)]


def held(tag):
    """Local ports of one party in the answer to a query."""
    return [one["local port"] for media in tag["medias"] for one in media["streams"] if "local port" in one]


def to_tag(message):
    return message.get("To").partition("tag=")[2]


async def test_two_lines_that_ring_together_share_the_node(proxy, sidecar, agent, nodes):
    caller, first, second = await agent(), await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(first.port), branch(second.port)), media="anchor", n1=1, n2=2)
    call = caller.call()
    caller.invite(call)
    invites = [await first.expect("INVITE"), await second.expect("INVITE")]
    assert [through(invite, nodes) for invite in invites] == [1, 1]
    second.send(second.reply(invites[1], 200, tag="b", body=OTHER_SDP))
    assert through(await caller.expect(200), nodes) == 1


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
        assert through(line.inbox[0], nodes) == 1
        sidecar.close()


def reloaded(proxy):
    """True once the proxy took the table over: it does so at most every 10 s, and not while it starts."""
    try:
        proxy.rpc("rtpengine.reload")
    except AssertionError:
        return False
    return True
