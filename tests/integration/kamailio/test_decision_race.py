"""Decisions at the very moment at which the proxy gives up waiting for them. With a proxy of its own."""

from __future__ import annotations

import asyncio

from support.sidecar_fake import reject
from support.wait import until

KEPT = 1
"""Transactions that tm may keep for ever when its timer and a decision meet: seen once in some thousand such meetings,
on a machine that was busy, and not understood yet. The caller has its one final reply all the same."""


async def test_a_decision_at_the_moment_of_the_timeout_gives_one_final_reply(proxy, sidecar, agent):
    sidecar.decide = lambda question: None
    loop = asyncio.get_running_loop()
    races = []
    for race in range(20):
        caller = await agent()
        asked = len(sidecar.questions)
        call = caller.call()
        caller.invite(call)
        await until(lambda asked=asked: len(sidecar.questions) > asked)
        loop.call_later(0.42 + 0.005 * race, sidecar.answer, sidecar.questions[-1], reject(404, "Late Or Not"))
        races.append((caller, call))
    for caller, call in races:
        await until(lambda caller=caller: any(message.code >= 200 for message in caller.seen))
        caller.ack_failure(call, caller.seen[-1])
    await until(lambda: proxy.transactions() <= KEPT)
    for caller, _ in races:
        # Sent again it is the same one.
        assert len({(message.code, message.get("To")) for message in caller.seen if message.code >= 200}) == 1
