"""The plain call, message by message, and what becomes of the answers that are not a line's."""

from __future__ import annotations

from support.kamailio import SDP, branch, dial, reject, stage, until


async def test_an_answered_call_is_set_up_and_ended(proxy, sidecar, agent):
    caller, line = await agent(), await agent()
    sidecar.decide = lambda question: dial(stage(branch(line.port)))
    call = caller.call()
    caller.invite(call)
    await caller.expect(100)
    invite = await line.expect("INVITE")
    assert invite.uri == f"sip:1001@127.0.0.1:{line.port};transport=udp"
    assert invite.get("From") == call.local
    assert invite.body == SDP
    line.send(line.reply(invite, 180))
    await caller.expect(180)
    line.send(line.reply(invite, 200, body=SDP))
    answer = await caller.expect(200)
    caller.answered(call, answer)
    caller.send(caller.in_dialog(call, "ACK"))
    ack = await line.expect("ACK")
    assert ack.uri == f"sip:line@127.0.0.1:{line.port}"
    caller.send(caller.in_dialog(call, "BYE"))
    bye = await line.expect("BYE")
    line.send(line.reply(bye, 200))
    await caller.expect(200, method="BYE")
    await until(lambda: proxy.transactions() == 0)
    assert [row.split("|")[5].split(" ")[0] for row in proxy.rows() if call.call_id in row] == [
        "Q",
        "D",
        "T",
        "R",
        "-",
        "H",
    ]


async def test_a_refusal_reaches_the_caller_with_its_code_and_phrase(proxy, sidecar, agent):
    caller = await agent()
    sidecar.decide = lambda question: reject(503, "Overloaded Now", 7)
    call = caller.call()
    caller.invite(call)
    reply = await caller.expect(503)
    assert reply.first == "SIP/2.0 503 Overloaded Now"
    assert reply.get("Retry-After") == "7"
    caller.ack_failure(call, reply)
    await until(lambda: proxy.transactions() == 0)
