"""A 2xx whose ACK is lost is sent again for 32 s (RFC 3261 section 13.3.1.4), longer than its transaction lives."""

from __future__ import annotations

from support.media_calls import OTHER_SDP, anchored, nodes, proxy, through
from support.sidecar_fake import branch, dial, stage
from support.sip_agent import SDP
from support.wait import until

__all__ = ["nodes", "proxy"]

FORGOTTEN_S = 30.0
"""A transaction ends 5 s after its final reply; on a busy machine later."""
SAME = ("From", "To", "Contact", "Record-Route", "CSeq", "Via")
NOT_OURS = (
    (";sg=", ";sg=A"), (";sg=", ";sx="), (";sb=edge", ";sb=else"), (";mn=0.0", ";mn=0.1"), (";tag=c", ";tag=d"),
    ("Record-Route", "Record-Rout"), ("SIP/2.0 200", "SIP/2.0 480"), ("CSeq: 1 INVITE", "CSeq: 1 UPDATE"),
)  # fmt: skip


async def acknowledged(proxy, caller, line, call, answer):
    """The ACK finds the line, and nothing is kept for it."""
    caller.answered(call, answer)
    caller.send(caller.in_dialog(call, "ACK"))
    await line.expect("ACK")
    assert proxy.transactions() == 0


async def test_it_is_passed_on_if_it_is_of_a_dialog_of_ours(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = caller.call()
    caller.invite(call)
    answer = line.reply(await line.expect("INVITE"), 200, body=SDP)
    line.send(answer)
    got = await caller.expect(200)
    await until(lambda: proxy.transactions() == 0, FORGOTTEN_S)
    seen, stray = len(caller.seen), proxy.counter("stray_replies")
    for number, (good, bad) in enumerate(NOT_OURS, 1):
        assert good in answer
        line.send(answer.replace(good, bad))
        await until(lambda number=number: proxy.counter("stray_replies") == stray + number)
    assert len(caller.seen) == seen
    line.send(answer)
    again = await caller.expect(200)
    assert again.body == got.body
    assert [again.get(name) for name in SAME] == [got.get(name) for name in SAME]
    await acknowledged(proxy, caller, line, call, again)


async def test_its_media_stay_at_their_node(proxy, sidecar, agent, nodes):
    caller, line, call, invite = await anchored(sidecar, agent)
    answer = line.reply(invite, 200, body=OTHER_SDP)
    line.send(answer)
    got = await caller.expect(200)
    await until(lambda: proxy.transactions() == 0, FORGOTTEN_S)
    line.send(answer)
    again = await caller.expect(200)
    assert through(again) == through(got) == 1
    assert media_port(again) == media_port(got)
    await acknowledged(proxy, caller, line, call, again)
    # A node that does not answer leaves the other party's address in it: not for the caller's eyes.
    stray, seen = proxy.counter("stray_replies"), len(caller.seen)
    nodes[0].pause()
    try:
        line.send(answer)
        await until(lambda: proxy.counter("stray_replies") == stray + 1)
    finally:
        nodes[0].resume()
    assert len(caller.seen) == seen


def media_port(message):
    """Where the SDP of a message has its sender send."""
    return message.body.partition("m=audio ")[2].split()[0]
