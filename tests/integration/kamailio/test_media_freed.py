"""Media nodes are told when a call is over, free its ports, and leave those of other calls and lines alone."""

from __future__ import annotations

import pytest
from support.media_calls import OTHER_SDP, anchored, ask_node, held, known_as, nodes, ports, ports_freed, proxy
from support.sidecar_fake import branch, dial, stage
from support.sip_agent import SDP
from support.wait import until

__all__ = ["nodes", "proxy"]

pytestmark = pytest.mark.usefixtures("sidecar")


@pytest.mark.parametrize("how", ["refused", "cancelled", "ended"])
async def test_the_node_is_told_when_the_call_is_over(proxy, sidecar, agent, nodes, how):
    caller, line, call, invite = await anchored(sidecar, agent)
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
    await until(lambda: deleted_in_log(nodes[0], sidecar, call))


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
    await until(lambda: deleted_in_log(nodes[0], sidecar, call))


async def test_what_lines_had_is_freed_when_a_worker_gets_the_call(proxy, sidecar, agent, nodes):
    caller, line, worker = await agent(), await agent(), await agent()
    stages = [stage(branch(line.port)), stage(branch(worker.port, line="ivr-1", cursor="c1"))]
    sidecar.decide = lambda question: dial(*stages, media="anchor", n1=1, n2=2)
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    assert invite.body != SDP
    line.send(line.reply(invite, 183, body=OTHER_SDP))
    await caller.expect(183)
    line.send(line.reply(invite, 486))
    handed_over = await worker.expect("INVITE")
    assert handed_over.body == SDP
    await until(lambda: deleted_in_log(nodes[0], sidecar, call))
    worker.send(worker.reply(handed_over, 200, tag="w", body=OTHER_SDP))
    reply = await caller.expect(200)
    assert reply.body == OTHER_SDP
    caller.answered(call, reply)
    caller.send(caller.in_dialog(call, "BYE"))
    await worker.expect("BYE")


def deleted_in_log(node, sidecar, call):
    id = f"[{known_as(sidecar, call)}]"
    return any(id in line and "Received command 'delete'" in line for line in node.log.read_text().splitlines())


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
    assert await ports(nodes[0], known_as(sidecar, call))
    if who == "caller":
        caller.send(caller.in_dialog(call, "BYE"))
    else:
        line.send(line.in_dialog(line.dialog(invites[0], tag), "BYE"))
    await ports_freed(nodes[0], known_as(sidecar, call))


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
    # Sent again, the answers are no new ones.
    for line, invite, tag in ((first, invites[0], "a"), (second, invites[1], "b")):
        line.send(line.reply(invite, 200, tag=tag, body=OTHER_SDP))
        await caller.expect(200)
    assert sum(e.HasField("connected") for e in proxy.events(call)) == 2
    tags = (await ask_node(nodes[0], "query", **{"call-id": known_as(sidecar, call)}))["tags"]
    assert held(tags["b"])
    caller.answered(call, answers["b"])
    caller.send(caller.in_dialog(call, "BYE"))
    second.send(second.reply(await second.expect("BYE"), 200))
    await caller.expect(200, method="BYE")
    await ports_freed(nodes[0], known_as(sidecar, call))


async def test_of_a_call_that_passes_twice_one_part_that_two_lines_answer_leaves_the_other_alone(
    proxy, sidecar, agent, nodes
):
    """A line that forwards to another service number keeps the SIP Call-ID: each pass is a call of its own here."""
    caller, forwarding, first, second = [await agent() for _ in range(4)]
    call = caller.call()
    outer = await answer(sidecar, caller, call, [forwarding])
    inner = forwarding.call()
    inner.call_id = call.call_id
    answers = await answer(sidecar, forwarding, inner, [first, second])
    assert len(answers) == 2
    ids = [question.raw["id"] for question in sidecar.questions]
    assert len(set(ids)) == 2
    caller.answered(call, outer[0])
    caller.send(caller.in_dialog(call, "BYE"))
    forwarding.send(forwarding.reply(await forwarding.expect("BYE"), 200))
    await ports_freed(nodes[0], ids[0])
    assert await ports(nodes[0], ids[1])


async def answer(sidecar, caller, call, lines):
    """All lines answer a call at once; the replies as the caller got them."""
    branches = (branch(line.port, line=f"line-{line.port}") for line in lines)
    decision = dial(stage(*branches), media="anchor", n1=1, n2=2)
    sidecar.decide = lambda question: decision
    caller.invite(call)
    invites = [await line.expect("INVITE") for line in lines]
    for line, invite in zip(lines, invites, strict=True):
        line.send(line.reply(invite, 200, tag=f"t{line.port}", body=OTHER_SDP))
    return [await caller.expect(200) for _ in lines]


def to_tag(message):
    return message.get("To").partition("tag=")[2]
