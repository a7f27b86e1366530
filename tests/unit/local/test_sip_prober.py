"""The prober of proxies: it learns how its calls end, and acknowledges each final response."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from signalbox_local.sip_prober import Prober

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NUMBER = "4001234567"


class Proxy(asyncio.DatagramProtocol):
    """Answers each INVITE with 100 and a final response, twice if ``again``."""

    def __init__(self, code: int, *, again: bool = False) -> None:
        self._code = code
        self._times = 2 if again else 1
        self.acknowledged: list[str] = []

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        first, *lines = data.decode().split("\r\n")
        if first.startswith("ACK"):
            self.acknowledged.append(data.decode())
            return
        assert first == f"INVITE sip:{NUMBER}@{self._address} SIP/2.0"
        kept = [line for line in lines if line.startswith(("Via:", "From:", "Call-ID:", "CSeq:"))]
        to = next(line for line in lines if line.startswith("To:"))
        for status, tag in [("100 Trying", "")] + [(f"{self._code} Ended", ";tag=proxy")] * self._times:
            answer = "\r\n".join([f"SIP/2.0 {status}", *kept, to + tag, "Content-Length: 0", "", ""])
            self._transport.sendto(answer.encode(), addr)

    @property
    def _address(self) -> str:
        return "{}:{}".format(*self._transport.get_extra_info("sockname"))


@asynccontextmanager
async def serving(proxy: Proxy) -> AsyncIterator[Prober]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: proxy, local_addr=("127.0.0.1", 0))
    prober = await Prober.open(NUMBER, transport.get_extra_info("sockname"))
    try:
        yield prober
    finally:
        prober.close()
        transport.close()


async def until_acknowledged(proxy: Proxy, times: int) -> None:
    async with asyncio.timeout(5):
        while len(proxy.acknowledged) < times:  # noqa: ASYNC110, the proxy tells nobody
            await asyncio.sleep(0.01)


async def test_a_call_has_the_code_of_its_final_response_and_is_acknowledged() -> None:
    proxy = Proxy(486)
    async with serving(proxy) as prober:
        calls = [prober.call() for _ in range(5)]
        await prober.settle(calls, 5)
        await until_acknowledged(proxy, 5)
    assert [call.code for call in calls] == [486] * 5
    assert calls[0].sent_at < calls[4].sent_at
    assert all(f"To: <sip:{NUMBER}@" in one and ";tag=proxy" in one for one in proxy.acknowledged)
    assert all("Content-Length: 0" in one for one in proxy.acknowledged)


async def test_a_response_that_comes_again_is_acknowledged_again() -> None:
    proxy = Proxy(603, again=True)
    async with serving(proxy) as prober:
        call = prober.call()
        await until_acknowledged(proxy, 2)
    assert call.code == 603


async def test_a_proxy_that_is_silent_leaves_the_call_without_a_code() -> None:
    silent, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    prober = await Prober.open(NUMBER, silent.get_extra_info("sockname"))
    call = prober.call()
    await prober.settle([call], 0.05)
    prober.forget()
    prober.close()
    silent.close()
    assert call.code == 0
