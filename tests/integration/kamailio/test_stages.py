"""Lines in order and lines together: who rings, when the next is tried, what the caller gets when all have failed."""

from __future__ import annotations

import pytest
from support.ports import free_port
from support.sidecar_fake import branch, dial, stage
from support.sip_agent import SDP
from support.wait import until

MOST_LINES = 16
"""Branches of one transaction, less the one that stood for the question (README.md, "Limits")."""


def two_stages(first, second, **ring):
    return dial(
        stage(branch(first.port, line="line-a"), **ring), stage(branch(second.port, line="line-b", user="1002"))
    )


@pytest.mark.parametrize("code", [302, 401, 404, 408, 480, 486, 487, 500, 503, 600, 603])
async def test_a_refusal_of_a_line_of_any_kind_rings_the_next_stage(proxy, sidecar, agent, code):
    caller, first, second = await agent(), await agent(), await agent()
    sidecar.decide = lambda question: two_stages(first, second)
    call = caller.call()
    caller.invite(call)
    invite = await first.expect("INVITE")
    first.send(first.reply(invite, code))
    await first.expect("ACK")
    again = await second.expect("INVITE")
    assert again.uri.startswith("sip:1002@")
    assert again.body == SDP
    second.send(second.reply(again, 200, tag="b", body=SDP))
    caller.answered(call, await caller.expect(200))
    caller.send(caller.in_dialog(call, "ACK"))
    await second.expect("ACK")
    events = await proxy.events_until(call, "answered")
    assert [(e.line_failed.line, e.line_failed.code) for e in events if e.HasField("line_failed")] == [("line-a", code)]
    assert events[-1].answered.line == "line-b"
    assert [message.code for message in caller.seen] == [100, 200]


async def test_a_line_that_does_not_answer_the_invite_is_left_after_the_connect_timeout(proxy, sidecar, agent):
    caller, first, second = await agent(), await agent(), await agent()
    sidecar.decide = lambda question: two_stages(first, second)
    call = caller.call()
    caller.invite(call)
    invite = await first.expect("INVITE")
    again = await second.expect("INVITE", within=2)
    assert 0.6 < again.received_at - invite.received_at < 1.2
    second.send(second.reply(again, 486))
    caller.ack_failure(call, await caller.expect(486))
    await until(lambda: proxy.transactions() == 0)


async def test_a_line_that_rings_in_vain_is_cancelled_after_its_ring_time(proxy, sidecar, agent):
    caller, first, second = await agent(), await agent(), await agent()
    sidecar.decide = lambda question: two_stages(first, second, ring_ms=1500)
    call = caller.call()
    caller.invite(call)
    invite = await first.expect("INVITE")
    first.send(first.reply(invite, 180))
    await caller.expect(180)
    again = await second.expect("INVITE")
    assert 1.3 < again.received_at - invite.received_at < 2.1
    cancel = await first.expect("CANCEL")
    first.send(first.reply(cancel, 200))
    first.send(first.reply(invite, 487))
    second.send(second.reply(again, 200, tag="b", body=SDP))
    caller.answered(call, await caller.expect(200))
    caller.send(caller.in_dialog(call, "ACK"))
    await second.expect("ACK")
    failed = [e.line_failed for e in proxy.events(call) if e.HasField("line_failed")]
    assert [(one.line, one.code) for one in failed] == [("line-a", 408)]


async def test_lines_of_one_stage_ring_together_and_the_first_to_answer_wins(proxy, sidecar, agent):
    caller, *lines = [await agent() for _ in range(4)]
    sidecar.decide = lambda question: dial(
        stage(*(branch(one.port, line=f"line-{n}", user=f"100{n}") for n, one in enumerate(lines)))
    )
    call = caller.call()
    caller.invite(call)
    invites = [await one.expect("INVITE") for one in lines]
    assert [invite.uri.split("@")[0] for invite in invites] == ["sip:1000", "sip:1001", "sip:1002"]
    for one, invite in zip(lines, invites, strict=True):
        one.send(one.reply(invite, 180, tag=f"t{one.port}"))
    for _ in lines:
        await caller.expect(180)
    lines[1].send(lines[1].reply(invites[1], 200, tag=f"t{lines[1].port}", body=SDP))
    caller.answered(call, await caller.expect(200))
    caller.send(caller.in_dialog(call, "ACK"))
    await lines[1].expect("ACK")
    for n in (0, 2):
        cancel = await lines[n].expect("CANCEL")
        lines[n].send(lines[n].reply(cancel, 200))
        lines[n].send(lines[n].reply(invites[n], 487, tag=f"t{lines[n].port}"))
        await lines[n].expect("ACK")
    await until(lambda: proxy.transactions() == 0)
    events = await proxy.events_until(call, "answered")
    assert sorted(e.ringing.line for e in events if e.HasField("ringing")) == ["line-0", "line-1", "line-2"]
    assert [e.answered.line for e in events if e.HasField("answered")] == ["line-1"]


async def test_a_6xx_of_one_line_leaves_the_others_ringing(proxy, sidecar, agent):
    caller, first, second = await agent(), await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(first.port, line="line-a"), branch(second.port, line="line-b")))
    call = caller.call()
    caller.invite(call)
    refused, invite = await first.expect("INVITE"), await second.expect("INVITE")
    second.send(second.reply(invite, 180, tag="b"))
    first.send(first.reply(refused, 603, tag="a"))
    await caller.expect(180)
    second.send(second.reply(invite, 200, tag="b", body=SDP))
    await caller.expect(200)
    assert not [message for message in second.seen if message.method == "CANCEL"]


async def test_ringing_is_one_event_a_line_whatever_it_repeats(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    for code in (180, 180, 183, 180):
        line.send(line.reply(invite, code))
        await caller.expect(code)
    line.send(line.reply(invite, 486))
    caller.ack_failure(call, await caller.expect(486))
    events = await proxy.events_until(call, "failed")
    assert [event.WhichOneof("event") for event in events].count("ringing") == 1


@pytest.mark.parametrize(
    ("codes", "final"),
    [
        ((486, 480), 486),
        ((480, 486), 486),
        ((600, 500), 486),
        ((404, 480), 480),
        ((404, 404), 404),
        ((603, 488), 488),
        ((401, 503), 480),
        ((302, 302), 480),
    ],
)
async def test_when_all_fail_the_caller_gets_the_best_code(proxy, sidecar, agent, codes, final):
    caller, *lines = [await agent() for _ in range(3)]
    sidecar.decide = lambda question: two_stages(*lines)
    call = caller.call()
    caller.invite(call)
    for line, code in zip(lines, codes, strict=True):
        invite = await line.expect("INVITE")
        line.send(line.reply(invite, code))
    reply = await caller.expect(final)
    caller.ack_failure(call, reply)
    await until(lambda: proxy.transactions() == 0)
    assert (await proxy.events_until(call, "failed"))[-1].failed.code == final


async def test_a_tcp_line_that_nobody_listens_for_fails_over(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    dead = branch(free_port(), line="line-a", transport="tcp")
    sidecar.decide = lambda question: dial(stage(dead), stage(branch(line.port, line="line-b")))
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 486))
    caller.ack_failure(call, await caller.expect(486))
    await until(lambda: proxy.transactions() == 0)


@pytest.mark.parametrize(("count", "width"), [(16, 1), (10, 3), (4, 8)])
async def test_many_stages_are_rung_to_the_most_branches_that_a_transaction_may_have(
    proxy, sidecar, agent, count, width
):
    caller, line = await agent(), await agent()
    stages = [
        stage(*(branch(line.port, line=f"line-{s}-{b}", user=f"{s}-{b}") for b in range(width))) for s in range(count)
    ]
    sidecar.decide = lambda question: dial(*stages)
    call = caller.call()
    caller.invite(call)
    for _ in range(min(count * width, MOST_LINES)):
        invite = await line.expect("INVITE")
        line.send(line.reply(invite, 480))
    caller.ack_failure(call, await caller.expect(480))
    await until(lambda: proxy.transactions() == 0)


PLAN = ("2 3 4", "0 0 0", "0 0 0", "0 0 0")
"""The first stage leads to the second when busy, to the third in vain, to the fourth when it failed."""


@pytest.mark.parametrize(
    ("replies", "next_line"),
    [
        ([(486,)], "line-2"),
        ([(180, 600)], "line-2"),
        ([(180, 480)], "line-3"),
        ([(183, 408)], "line-3"),
        ([(487,)], "line-3"),
        ([(480,)], "line-4"),
        ([(408,)], "line-4"),
        ([(404,)], "line-4"),
        ([(180, 503)], "line-4"),
        ([(180, 480), (486,)], "line-2"),
        ([(486,), (180, 480)], "line-2"),
        ([(404,), (180, 480)], "line-3"),
        ([(180, 480), (404,)], "line-3"),
        ([(404,), (503,)], "line-4"),
    ],
    ids=str,
)
async def test_how_all_lines_of_a_stage_failed_says_which_stage_follows(proxy, sidecar, agent, replies, next_line):
    caller, other, *lines = [await agent() for _ in range(2 + len(replies))]
    first = stage(*(branch(line.port, line=f"line-1-{n}") for n, line in enumerate(lines)), then=PLAN[0])
    rest = [stage(branch(other.port, line=f"line-{n}", user=f"line-{n}"), then=PLAN[n - 1]) for n in (2, 3, 4)]
    sidecar.decide = lambda question: dial(first, *rest)
    call = caller.call()
    caller.invite(call)
    invites = [await line.expect("INVITE") for line in lines]
    for line, invite, codes in zip(lines, invites, replies, strict=True):
        for code in codes:
            line.send(line.reply(invite, code, tag=f"t{line.port}"))
            if code < 200:
                await caller.expect(code)  # or another worker of the proxy might read the refusal first
        await line.expect("ACK")
    invite = await other.expect("INVITE")
    assert invite.uri.startswith(f"sip:{next_line}@")
    other.send(other.reply(invite, 200, body=SDP))
    await caller.expect(200)
    tried = [e.line_tried for e in await proxy.events_until(call, "answered") if e.HasField("line_tried")]
    assert (tried[-1].line, tried[-1].stage) == (next_line, int(next_line[-1]))


@pytest.mark.parametrize(
    ("provisional", "next_line"), [((), "line-4"), ((100,), "line-3"), ((180,), "line-3")], ids=str
)
async def test_silence_is_no_answer_only_after_a_provisional_reply(proxy, sidecar, agent, provisional, next_line):
    caller, line, other = [await agent() for _ in range(3)]
    first = stage(branch(line.port), ring_ms=1500, then=PLAN[0])
    rest = [stage(branch(other.port, line=f"line-{n}", user=f"line-{n}"), then=PLAN[n - 1]) for n in (2, 3, 4)]
    sidecar.decide = lambda question: dial(first, *rest)
    call = caller.call()
    caller.invite(call)
    invite = await line.expect("INVITE")
    for code in provisional:
        line.send(line.reply(invite, code))
    invite = await other.expect("INVITE")
    assert invite.uri.startswith(f"sip:{next_line}@")
    other.send(other.reply(invite, 486))
    caller.ack_failure(call, await caller.expect(486))


async def test_a_stage_of_which_no_line_can_be_reached_has_failed(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    dead = branch(free_port(), line="line-1", transport="tcp")
    sidecar.decide = lambda question: dial(
        stage(dead, then="403 404 3"), stage(branch(line.port, line="line-2")), stage(branch(line.port, line="line-3"))
    )
    call = caller.call()
    caller.invite(call)
    line.send(line.reply(await line.expect("INVITE"), 200, body=SDP))
    await caller.expect(200)
    assert (await proxy.events_until(call, "answered"))[-1].answered.line == "line-3"


@pytest.mark.parametrize(
    ("code", "phrase"),
    [
        (403, "Forbidden"),
        (404, "Not Found"),
        (480, "Temporarily Unavailable"),
        (486, "Busy Here"),
        (500, "Ended by Rule"),
        (603, "Decline"),
        (699, "Ended by Rule"),
    ],
)
async def test_a_plan_may_end_the_call_with_a_code(proxy, sidecar, agent, code, phrase):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port), then=f"{code} 0 0"), stage(branch(line.port)))
    call = caller.call()
    caller.invite(call)
    line.send(line.reply(await line.expect("INVITE"), 486))
    reply = await caller.expect(code)
    caller.ack_failure(call, reply)
    assert reply.first == f"SIP/2.0 {code} {phrase}"
    assert len([message for message in line.seen if message.method == "INVITE"]) == 1
    assert (await proxy.events_until(call, "failed"))[-1].failed.code == code


@pytest.mark.parametrize("spare", [0, 8])
async def test_without_a_media_node_no_stage_is_rung_past_the_media(proxy, sidecar, agent, spare):
    caller, line = await agent(), await agent()
    stages = [stage(branch(line.port), branch(line.port, line="line-2")), stage(branch(line.port, line="line-3"))]
    sidecar.decide = lambda question: dial(*stages, media="anchor", n1=7, n2=spare)
    call = caller.call()
    caller.invite(call)
    caller.ack_failure(call, await caller.expect(503))
    assert not line.seen
