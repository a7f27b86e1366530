"""The way to a line: another proxy if the first one does not help, and never two calls of one line that both stand."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from signalbox.ivr.ports import Proxy
from signalbox.sip.message import Request, response
from signalbox.sip.parser import parse
from support.line_calls import HOST, WAIT_S, agent, dial, stage, world
from support.ports import free_port
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.source import Address
    from support.ivr_media import Desk


class Deaf(asyncio.DatagramProtocol):
    """Takes datagrams, and says nothing by itself."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._peer: Address | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.heard.append(data)
        self._peer = addr

    def say(self, status: int) -> None:
        """To the first request."""
        request = parse(self.heard[0])
        assert isinstance(request, Request)
        assert self._transport is not None
        self._transport.sendto(response(request, status).encode(), self._peer)


@contextlib.asynccontextmanager
async def deaf() -> AsyncIterator[tuple[Deaf, Proxy]]:
    loop, port = asyncio.get_running_loop(), free_port()
    transport, ears = await loop.create_datagram_endpoint(Deaf, local_addr=(HOST, port))
    try:
        yield ears, Proxy("deaf", (HOST, port))
    finally:
        transport.close()


async def test_a_proxy_that_says_nothing_is_passed_over(desk: Desk) -> None:
    async with deaf() as (ears, proxy), world(desk, "anna", before=[proxy]) as here:
        await here.begin(dial(stage("anna")))
        await here.answered()
        await here.hear_each_other(here.lines["anna"])
        assert here.ports.failed_ones == ["deaf"]
        assert {one.split()[0] for one in ears.heard} == {b"INVITE"}
        assert here.script.lines == ["anna"]


async def test_a_proxy_that_awakes_too_late_is_told_to_let_go(desk: Desk) -> None:
    """The line would ring twice otherwise."""
    async with deaf() as (ears, proxy), world(desk, "anna", before=[proxy]) as here:
        await here.begin(dial(stage("anna")))
        await here.answered()
        await here.hear_each_other(here.lines["anna"])
        ears.say(100)
        await until(lambda: ears.heard[-1].startswith(b"CANCEL"), WAIT_S)
        assert len(here.lines["anna"].calls) == 1


async def test_a_proxy_that_cannot_ask_is_passed_over_at_once(desk: Desk) -> None:
    async def away(call: IncomingCall) -> None:
        call.reject(503, headers=[("Retry-After", "5")])

    async with agent(away) as (_, port), world(desk, "anna", before=[Proxy("away", (HOST, port))]) as here:
        await here.begin(dial(stage("anna")))
        await here.answered()
        assert here.ports.failed_ones == ["away"]
        assert len(here.lines["anna"].calls) == 1


async def test_proxies_that_cannot_ask_now_are_tried_once_more(desk: Desk) -> None:
    """The caller hears ring-back meanwhile: better than nothing for a call that could be made a moment later."""
    asked = []

    async def stalls(call: IncomingCall) -> None:
        asked.append(call)
        call.reject(503, headers=[("Retry-After", "1")])

    async with world(desk, "anna") as here, agent(stalls) as (_, port):
        here.ports.proxies_at = [Proxy("stalls", (HOST, port))]
        await here.begin(dial(stage("anna")))
        await here.ended()
        assert here.script.kinds == ["failed"]
        assert here.ports.failed_ones == ["stalls"] * 2
        assert len(asked) == 2


async def test_one_that_can_ask_again_is_enough(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        line, first = here.lines["anna"], here.lines["anna"].behave

        async def stalls(call: IncomingCall) -> None:
            line.behave = first
            call.reject(503)

        line.behave = stalls
        await here.begin(dial(stage("anna")))
        await here.answered()
        await here.hear_each_other(here.lines["anna"])
        assert len(here.lines["anna"].calls) == 2


async def test_a_proxy_that_nothing_can_be_sent_to_is_passed_over(desk: Desk) -> None:
    """We have no socket for IPv6."""
    async with world(desk, "anna", before=[Proxy("v6", ("2001:db8::1", 5060))]) as here:
        await here.begin(dial(stage("anna")))
        await here.answered()
        assert here.ports.failed_ones == ["v6"]


async def test_a_line_whose_proxy_refuses_after_it_rang_is_not_called_again(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        here.lines["anna"].refuses(503, after_ringing=True)
        await here.begin(dial(stage("anna")))
        await here.ended()
        assert here.script.kinds == ["failed"]
        assert here.ports.failed_ones == []


async def test_lines_without_any_proxy_have_failed(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        here.ports.proxies_at = []
        await here.begin(dial(stage("anna")))
        await here.ended()
        assert here.script.kinds == ["failed"]


async def test_a_large_call_goes_by_tcp(desk: Desk) -> None:
    """RFC 3261 section 18.1.1; a leg's token may have 1,024 characters."""
    async with world(desk, "anna") as here:
        step = dial(stage("anna"))
        step.dial.stages[0].branches[0].leg = "x" * 1024
        await here.begin(step)
        await here.answered()
        await here.hear_each_other(here.lines["anna"])
        assert here.lines["anna"].call.request.via.transport == "TCP"
        await until(lambda: here.script.lines == ["anna"], WAIT_S)
        await here.lines["anna"].leave()
        await here.ended()


async def test_a_call_that_came_by_tcp_goes_to_its_line_by_tcp(desk: Desk) -> None:
    async with world(desk, "anna") as here:
        await here.begin(dial(stage("anna")), protocol="tcp")
        await here.answered()
        await here.hear_each_other(here.lines["anna"])
        assert here.lines["anna"].call.request.via.transport == "TCP"
        await here.lines["anna"].leave()
        await here.ended()
