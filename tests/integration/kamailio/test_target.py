"""OPTIONS of the sidecar to targets of trunks, through the proxy."""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from signalbox import address
from signalbox.domain.objects import Target, Transport
from signalbox.edge import kamailio_config
from signalbox.edge.options import OptionsSender
from signalbox.edge.targets import FAILURES
from support.kamailio import CLUSTER_KEY, TOKEN, Kamailio
from support.ports import free_port
from support.sip_agent_tcp import TcpAgent
from support.wait import until

TIMEOUT_S = 4.0
"""As in routes/target.cfg."""


class Asked(OptionsSender):
    """Keeps what it is told."""

    def __init__(self, proxy, token=TOKEN):
        super().__init__((proxy.host, proxy.port), token, address.join(proxy.host, proxy.port))
        self.told = []
        self.on_reply(lambda target, code: self.told.append((target, code)))

    async def code(self, within=3.0):
        """The one that comes."""
        await until(lambda: self.told, within)
        ((_, code),) = self.told
        return code


@pytest.fixture
async def sender(proxy):
    sender = Asked(proxy)
    await sender.open()
    yield sender
    sender.close()


async def test_a_target_is_asked_from_the_proxys_address_and_hears_of_nobody(proxy, sender, agent):
    line = await agent()
    target = Target(line.host, line.port)
    sender.ask(target)
    request = await line.expect("OPTIONS")
    assert request.uri == f"sip:{line.host}:{line.port}"
    assert request.get("Via").startswith(f"SIP/2.0/UDP {proxy.host}:{proxy.port};")
    assert re.fullmatch(rf"<sip:{proxy.host}:{proxy.port}>;tag=[0-9a-f]+", request.get("From"))
    assert request.get("To") == f"<sip:{line.host}:{line.port}>"
    assert {name for name, _ in request.headers} == {
        "via", "from", "to", "call-id", "cseq", "max-forwards", "accept", "content-length",
    }  # fmt: skip
    assert TOKEN not in str(request.headers)
    line.send(line.reply(request, 100))
    line.send(line.reply(request, 200, "OK"))
    assert await sender.code() == 200
    assert sender.told == [(target, 200)]


@pytest.mark.parametrize("code", [404, 486, 503, 600])
async def test_the_sidecar_is_told_what_the_target_says(sender, agent, code):
    line = await agent()
    sender.ask(Target(line.host, line.port))
    line.send(line.reply(await line.expect("OPTIONS"), code))
    assert await sender.code() == code


async def test_silence_is_told_as_408_and_the_request_is_sent_again_before(proxy, sender, agent):
    line = await agent()
    begun = time.monotonic()
    sender.ask(Target(line.host, line.port))
    assert await sender.code(TIMEOUT_S + 2) == 408
    assert TIMEOUT_S - 0.2 < time.monotonic() - begun < TIMEOUT_S + 1
    assert len(line.seen) == 4
    await until(lambda: proxy.transactions() == 0)


async def test_a_target_may_take_tcp(proxy, sender):
    line = await TcpAgent((proxy.host, proxy.port)).start()
    sender.ask(Target(line.host, line.port, Transport.TCP))
    line.send(line.reply(await line.expect("OPTIONS"), 200))
    assert await sender.code() == 200
    await line.stop()


@pytest.mark.parametrize(
    "target", [Target("127.0.0.1", 0, Transport.TCP), Target("2001:db8::1")], ids=["tcp refused", "no such network"]
)
async def test_a_target_that_cannot_be_reached_has_failed(sender, target):
    sender.ask(target if target.port else Target(target.host, free_port(), target.transport))
    assert await sender.code(TIMEOUT_S + 2) in FAILURES


async def test_only_the_sidecar_can_have_requests_sent(proxy, agent):
    line, forger = await agent(), Asked(proxy, "token-that-somebody-guessed")
    await forger.open()
    forger.ask(Target(line.host, line.port))
    # It is answered like any other OPTIONS: nobody says that this proxy is fit for calls.
    assert await forger.code() == 503
    forger.close()
    assert not line.seen


async def test_a_proxy_that_is_away_says_nothing(proxy, sender, monkeypatch):
    closed = Asked(proxy)
    monkeypatch.setattr(closed, "_proxy", ("127.0.0.1", free_port()))
    await closed.open()
    monkeypatch.setattr("signalbox.edge.options.FORGET_S", 0.1)
    for _ in range(3):
        closed.ask(Target("127.0.0.1"))
        await asyncio.sleep(0.15)  # longer than a request is remembered
    assert len(closed._asked) == 1
    assert not closed.told
    closed.close()


class Answering(asyncio.DatagramProtocol):
    """Says 200 to every request."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        _, *headers = data.decode().split("\r\n\r\n")[0].split("\r\n")
        self.transport.sendto("\r\n".join(["SIP/2.0 200 OK", *headers, "\r\n"]).encode(), addr)


async def test_over_ipv6_as_well_and_our_own_requests_are_no_flood():
    limit, count = 5, 20
    proxy = Kamailio(flood_requests=limit)
    settings = proxy.settings.kamailio.model_copy(update={"listen": [f"[::1]:{proxy.port}"]})
    proxy.settings = proxy.settings.model_copy(update={"kamailio": settings})
    kamailio_config.write(proxy.settings, token=TOKEN, cluster_keys=[CLUSTER_KEY])
    proxy.host = "::1"
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Answering, local_addr=("::1", 0))
    with proxy:
        sender = Asked(proxy)
        await sender.open()
        for _ in range(count):
            sender.ask(Target("::1", transport.get_extra_info("sockname")[1]))
        await until(lambda: len(sender.told) == count)
        assert {code for _, code in sender.told} == {200}
        assert proxy.counter("flood_bans") == proxy.counter("banned") == 0
        sender.close()
    transport.close()
