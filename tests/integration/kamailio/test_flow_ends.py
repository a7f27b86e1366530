"""As a flow ends that answered nobody, so does the call; a worker that cannot begin it gives way to another."""

from __future__ import annotations

import pytest
from support.sidecar_fake import branch, dial, stage
from support.sip_agent import SDP


def two_workers(first, second, **ring):
    return dial(
        stage(branch(first.port, line="ivr-1", user="ivr", cursor="c1"), **ring),
        stage(branch(second.port, line="ivr-2", user="ivr", cursor="c1"), **ring),
    )


@pytest.mark.parametrize(
    ("code", "early"), [(403, False), (480, False), (480, True), (486, True), (500, True), (603, True)]
)
async def test_a_flow_that_has_ended_is_not_begun_anew(proxy, sidecar, agent, code, early):
    caller, first, second = await agent(), await agent(), await agent()
    sidecar.decide = lambda question: two_workers(first, second)
    call = caller.call()
    caller.invite(call)
    invite = await first.expect("INVITE")
    if early:
        first.send(first.reply(invite, 183, tag="a", body=SDP))
        await caller.expect(183)
    first.send(first.reply(invite, code, tag="a"))
    await first.expect("ACK")
    caller.ack_failure(call, await caller.expect(code))
    events = await proxy.events_until(call, "failed")
    assert [(one.line_failed.line, one.line_failed.code) for one in events if one.HasField("line_failed")] == [
        ("ivr-1", code)
    ]
    assert events[-1].failed.code == code
    assert second.seen == []


@pytest.mark.parametrize("silent", [False, True])
async def test_a_worker_that_cannot_begin_a_flow_gives_way_to_another(proxy, sidecar, agent, silent):
    caller, first, second = await agent(), await agent(), await agent()
    sidecar.decide = lambda question: two_workers(first, second)
    call = caller.call()
    caller.invite(call)
    invite = await first.expect("INVITE")
    if not silent:
        first.send(first.reply(invite, 503, tag="a"))
        await first.expect("ACK")
    again = await second.expect("INVITE", within=15)
    assert again.all("X-Signalbox-Cursor") == ["c1"]
    second.send(second.reply(again, 486, tag="b"))
    caller.ack_failure(call, await caller.expect(486))


@pytest.mark.parametrize("silent", [False, True])
async def test_without_a_worker_that_begins_the_flow_the_caller_may_try_again(proxy, sidecar, agent, silent):
    caller, first, second = await agent(), await agent(), await agent()
    sidecar.decide = lambda question: two_workers(first, second)
    call = caller.call()
    caller.invite(call)
    for worker in (first, second):
        invite = await worker.expect("INVITE", within=15)
        if not silent:
            worker.send(worker.reply(invite, 503, tag="a"))
    refusal = await caller.expect(503, within=15)
    assert refusal.all("Retry-After") == ["1"]
    caller.ack_failure(call, refusal)


async def test_a_worker_that_falls_silent_in_a_flow_ends_the_call_after_the_ring_time(proxy, sidecar, agent):
    caller, first, second = await agent(), await agent(), await agent()
    sidecar.decide = lambda question: two_workers(first, second, ring_ms=1_500)
    call = caller.call()
    caller.invite(call)
    invite = await first.expect("INVITE")
    first.send(first.reply(invite, 183, tag="a", body=SDP))
    await first.expect("CANCEL", within=15)
    caller.ack_failure(call, await caller.expect(480, within=15))
    assert second.seen == []
