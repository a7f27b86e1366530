"""Final replies of ours that are not acknowledged (RFC 3261 section 17.2.1)."""

from __future__ import annotations

import asyncio

import pytest
from support.kamailio import Kamailio
from support.sidecar_fake import branch, dial, reject, stage
from support.wait import until

CODES = {"rejected": 404, "undecided": 503, "all failed": 404, "cancelled": 487}


@pytest.fixture(scope="module")
def proxy():
    """Its transactions stay for as long as the script says."""
    with Kamailio(connect_timeout_ms=700) as proxy:
        yield proxy


async def test_a_final_reply_is_sent_again_until_it_is_acknowledged(proxy, sidecar, agent):
    line = await agent()
    ways = dict(zip((f"400000000{n}" for n in range(4)), CODES, strict=True))
    decisions = {"rejected": reject(404, "x"), "all failed": dial(stage(branch(line.port)))}
    sidecar.decide = lambda question: decisions.get(ways[question.called])

    async def heard(number: str, how: str) -> list[float]:
        """When the reply came, as often as it did."""
        caller = await agent()
        call = caller.call(number)
        caller.invite(call)
        if how == "all failed":
            line.send(line.reply(await line.expect("INVITE"), 404))
        if how == "cancelled":
            await until(lambda: any(question.called == number for question in sidecar.questions))
            caller.send(caller.request(call, "CANCEL"))
        for _ in range(4):  # after 0, 0.5, 1.5 and 3.5 s
            reply = await caller.expect(CODES[how])
        caller.ack_failure(call, reply)
        await until(lambda: proxy.transactions() == 0, timeout_s=15)
        return [message.received_at for message in caller.seen if message.code == CODES[how]]

    times = await asyncio.gather(*(heard(*one) for one in ways.items()))
    assert [len(one) for one in times] == [4] * 4, "no more once they are acknowledged"
