"""What comes back on the socket that OPTIONS are sent from; what they look like is tested with the real proxy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.domain.objects import Target
from signalbox.edge.options import OptionsSender
from signalbox.edge.sipsocket import SipSocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TARGET = Target("192.0.2.7", 5062)


class Proxy(asyncio.DatagramProtocol):
    """Keeps the requests, and lets the test reply."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[tuple[str, tuple[str, int]]] = asyncio.Queue()

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.requests.put_nowait((data.decode(), address))


class Bench:
    """A sender, the proxy that it sends to, and what it was told."""

    def __init__(self, sender: OptionsSender, proxy: Proxy, transport: asyncio.DatagramTransport) -> None:
        self.sender = sender
        self._proxy = proxy
        self._transport = transport
        self.told: list[tuple[Target, int]] = []
        sender.on_reply(lambda target, code: self.told.append((target, code)))

    async def asked(self) -> tuple[str, tuple[str, int]]:
        """A request that was sent: its Via and where it came from."""
        self.sender.ask(TARGET)
        request, address = await self._proxy.requests.get()
        return next(line for line in request.split("\r\n") if line.startswith("Via: ")), address

    async def reply(self, to: tuple[str, int], *messages: bytes) -> None:
        """Send messages; returns once they have been read."""
        for message in (*messages, b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=nobody-asked\r\n\r\n"):
            self._transport.sendto(message, to)
        await asyncio.sleep(0.05)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    loop = asyncio.get_running_loop()
    transport, proxy = await loop.create_datagram_endpoint(Proxy, local_addr=("127.0.0.1", 0))
    sender = OptionsSender(transport.get_extra_info("sockname"), "token", "192.0.2.1:5060")
    await sender.open()
    yield Bench(sender, proxy, transport)
    sender.close()
    transport.close()


def status(code: str, via: str) -> bytes:
    return f"SIP/2.0 {code} -\r\n{via}\r\nCSeq: 1 OPTIONS\r\n\r\n".encode()


async def test_a_final_reply_is_told_once(bench: Bench) -> None:
    via, address = await bench.asked()
    await bench.reply(address, status("404", via), status("404", via), status("200", via))
    assert bench.told == [(TARGET, 404)]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff\xfe\x00",
        b"SIP/2.0 2x0 OK\r\n{via}\r\n\r\n",
        b"SIP/2.0 100 Trying\r\n{via}\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1\r\n\r\n",
        b"SIP/2.0 20",
        b"OPTIONS 200 SIP/2.0\r\n{via}\r\n\r\n",
    ],
)
async def test_what_is_no_final_reply_is_passed_over(bench: Bench, message: bytes) -> None:
    via, address = await bench.asked()
    await bench.reply(address, message.replace(b"{via}", via.encode()))
    assert bench.told == []
    await bench.reply(address, status("200", via))
    assert bench.told == [(TARGET, 200)]


async def test_a_short_form_of_via_is_read_as_well(bench: Bench) -> None:
    via, address = await bench.asked()
    await bench.reply(address, status("503", via.replace("Via:", "v :")))
    assert bench.told == [(TARGET, 503)]


def test_a_socket_must_say_what_becomes_of_replies() -> None:
    with pytest.raises(TypeError, match="abstract method replied"):
        SipSocket(("127.0.0.1", 5060))  # type: ignore[abstract]


async def test_a_socket_that_was_never_opened_is_closed_without_complaint() -> None:
    OptionsSender(("::1", 5060), "token", "192.0.2.1:5060").close()
