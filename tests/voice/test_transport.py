"""Between proxy and worker, both ways: UDP, TCP, provisional responses that must arrive, sessions refreshed."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from signalbox.sip.reliable import is_reliable
from signalbox.sip.sessiontimer import Policy, Refresh
from support.phone import WAIT_S
from support.voice_site import dial, end, node
from support.wait import until

if TYPE_CHECKING:
    from signalbox.sip.message import Response
    from support.phone import Phone, Talk
    from support.voice_site import VoiceSite

MENU = node(
    "menu", "menu", prompt="question", branches=[{"digits": "1", "next": "dial"}], noInput="end", noMatch="end"
)  # fmt: skip


def by_tcp(talk: Talk) -> bool:
    """Whether the proxy reached the worker of a call, whose caller has UDP, by TCP."""
    return any("transport=tcp" in route for route in talk.sip.final.headers.all("Record-Route"))  # type: ignore[attr-defined]


async def test_calls_and_their_lines_go_by_udp_at_one_worker_and_by_tcp_at_the_other(
    site: VoiceSite, caller: Phone, line: Phone
) -> None:
    number = site.flow(MENU, dial(site.line(line)), end(), limits={"concurrent_calls": 0})
    seen: dict[bool, tuple[Talk, Talk]] = {}
    # The worker that has the calls is the second choice as soon as routing knows of them.
    async with asyncio.timeout(2 * WAIT_S):
        for count in itertools.count(1):
            if len(seen) == 2:
                break
            talk = await caller.call(number, site.sip())
            await talk.answered()
            await talk.hears(site.prompts["question"])
            await talk.press("1")
            other = await line.rung(count)
            await talk.hear_each_other(other)
            seen[by_tcp(talk)] = talk, other
    for tcp, (talk, other) in seen.items():
        worker = other.incoming.request.headers.all("Via")[-1]
        assert worker.startswith("SIP/2.0/TCP" if tcp else "SIP/2.0/UDP")
        assert await other.hold("sendonly") == "recvonly"
        assert await talk.hold("sendrecv") == "sendrecv"
        (other if tcp else talk).hang_up()
        await talk.over()
        await other.over()


async def test_a_caller_who_requires_100rel_hears_early_media_and_refreshes_the_session(
    site: VoiceSite, caller: Phone
) -> None:
    caller.ua.policy = Policy(interval_s=90, refresh=True)
    greet = node("greet", "announce", prompt="welcome", next="menu")
    menu = node(
        "menu", "menu", prompt="question", branches=[{"digits": "1", "next": "end"}], timeout="20s",
        noInput="end", noMatch="end",
    )  # fmt: skip
    number = site.flow(greet, menu, end(prompt="goodbye"))
    talk = await caller.call(number, site.sip(), headers=(("Require", "100rel"),))
    told: list[Response] = []

    def progress(response: Response) -> None:
        told.append(response)
        talk.on_progress(response)

    talk.sip.on_progress = progress  # type: ignore[attr-defined]
    await talk.answered()
    assert [one.status for one in told if is_reliable(one)] == [183]
    assert talk.voice.missing(site.prompts["welcome"]) == []
    assert talk.sip.final.headers.get("Session-Expires") == "90;refresher=uac"  # type: ignore[attr-defined]

    (session,) = caller.ua.sessions.values()
    assert session.takes_update
    agreed = session.refreshing.held
    assert session.refresh()
    await until(lambda: session.refreshing.held is not agreed, WAIT_S)
    assert session.refreshing.held == Refresh(by_us=True, interval_s=90)
    agreed = session.refreshing.held
    assert await talk.hold("sendrecv") == "sendrecv"
    assert session.refreshing.held is not agreed
    assert session.refreshing.held == Refresh(by_us=True, interval_s=90)

    await talk.hears(site.prompts["question"])
    await talk.press("1")
    await talk.over()
    assert talk.voice.missing(site.prompts["goodbye"]) == []
