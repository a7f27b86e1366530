"""Datagrams of the SIP core over loopback, and what is said of sockets."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest
import uvloop
from signalbox.errors import ConfigurationError
from signalbox.sip.message import Request, response
from signalbox.sip.parser import parse
from signalbox.sip.stats import Stats
from signalbox.sip.transport import Transports
from signalbox.sip.udp import UdpSocket
from structlog.testing import capture_logs
from support.ports import free_port
from support.sip_wire import HOST, PATIENCE_S, Taker, address_of, counted, transports, udp_peer
from support.sip_world import request
from support.wait import until


def options(via: str = "", **more: object) -> bytes:
    return request("OPTIONS", via=via or "SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1", **more).encode()  # type: ignore[arg-type]


async def test_the_response_goes_to_the_port_that_it_came_from_if_it_asks_for_that() -> None:
    async with transports(answers=200) as here, udp_peer() as peer:
        peer.transport.sendto(options(f"SIP/2.0/UDP {HOST}:9;branch=z9hG4bK1;rport"), address_of(here, "udp"))
        answer = parse(await peer.next())
        assert (answer.via.received, answer.via.rport, answer.via.port) == (HOST, peer.port, 9)
        assert peer.got[0][1] == address_of(here, "udp")


async def test_otherwise_to_the_port_in_its_via() -> None:
    async with transports(answers=200) as here, udp_peer() as sender, udp_peer() as named:
        via = f"SIP/2.0/UDP phone.example.com:{named.port};branch=z9hG4bK1;received=192.0.2.99;maddr=192.0.2.98"
        sender.transport.sendto(options(via), address_of(here, "udp"))
        answer = parse(await named.next())
        assert answer.via.received == HOST
        assert sender.got == []


async def test_a_request_from_where_its_via_says_is_left_as_it_is() -> None:
    async with transports() as here, udp_peer() as peer:
        peer.transport.sendto(options(f"SIP/2.0/UDP {HOST}:5070;branch=z9hG4bK1"), address_of(here, "udp"))
        await here.taken(1)
        message, source = here.messages[0]
        assert message.headers.get("Via") == f"SIP/2.0/UDP {HOST}:5070;branch=z9hG4bK1"
        assert source[:3] == ("udp", (HOST, peer.port), address_of(here, "udp"))


@pytest.mark.parametrize(
    ("broken", "code", "phrase"),
    [
        (options().replace(b"Max-Forwards: 70", b"Max-Forwards: many"), 400, "Max-Forwards"),
        (options().replace(b"Max-Forwards: 70", b"Require: telepathy"), 420, "Require"),
        (options().replace(b"OPTIONS sip", b"OPTIONS  sip"), 400, "Request-Line"),
        (options().replace(b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia"), 505, "Request-Line"),
    ],
)
async def test_a_malformed_request_is_answered_with_what_is_wrong(broken: bytes, code: int, phrase: str) -> None:
    async with transports() as here, udp_peer() as peer:
        broken = broken.replace(b"branch=z9hG4bK1", b"branch=z9hG4bK1;rport")
        peer.transport.sendto(broken, address_of(here, "udp"))
        answer = parse(await peer.next())
        assert answer.status == code  # type: ignore[union-attr]
        assert phrase in answer.reason  # type: ignore[union-attr]
        assert answer.via.rport == peer.port
        assert here.messages == []


async def test_one_with_a_malformed_via_is_answered_where_it_came_from() -> None:
    async with transports() as here, udp_peer() as peer:
        peer.transport.sendto(options("SIP/2.0/UDP"), address_of(here, "udp"))
        answer = (await peer.next()).decode()
        assert answer.startswith("SIP/2.0 400 Via ")
        assert "Via: SIP/2.0/UDP\r\n" in answer


@pytest.mark.parametrize(
    "noise",
    [
        b"noise",
        options().replace(b"Call-ID", b"Call-Id-Not"),
        response(request("OPTIONS", branch="z9hG4bK1"), 200).encode().replace(b"1 OPTIONS", b"one OPTIONS"),
    ],
    ids=["no SIP", "request that cannot be answered", "response"],
)
async def test_what_cannot_be_answered_is_only_told(noise: bytes) -> None:
    async with transports() as here, udp_peer() as peer:
        peer.transport.sendto(noise, address_of(here, "udp"))
        peer.transport.sendto(options(), address_of(here, "udp"))
        await here.taken(1)
        assert [error.request_head for error in here.bad] == [None]
        assert here.transports.stats.received == 2
        assert peer.got == []


@pytest.mark.parametrize("ping", [b"", b"\r\n\r\n", b"\0\0\0\0", b"\0"])
async def test_keep_alives_are_counted_and_not_answered(ping: bytes) -> None:
    async with transports() as here:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(ping, address_of(here, "udp"))
        await counted(here, "keepalives")
        assert here.transports.stats.received == 0
        assert here.bad == []


async def test_a_burst_is_taken_whole_and_in_order() -> None:
    async with transports() as here:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(150):
                sender.sendto(options(cseq=number), address_of(here, "udp"))
        await here.taken(150)
        assert [message.cseq.number for message, _ in here.messages] == list(range(150))


async def test_a_receiver_that_fails_is_told_of_and_the_next_message_is_taken() -> None:
    async with transports() as here, udp_peer() as peer:
        taker = here.transports.receiver
        here.transports.receiver = Failing()
        with capture_logs() as logs:
            peer.transport.sendto(options(), address_of(here, "udp"))
            await until(lambda: bool(logs), PATIENCE_S)
        assert [(log["event"], log["protocol"]) for log in logs] == [("sip_message_failed", "udp")]
        here.transports.receiver = taker
        peer.transport.sendto(options(), address_of(here, "udp"))
        await here.taken(1)


class Failing:
    def on_message(self, message: object, source: object) -> None:
        raise ZeroDivisionError

    on_bad = on_message


@pytest.mark.parametrize(
    ("data", "protocol", "remote", "why"),
    [
        (b"x", "udp", ("proxy.example.com", 5060), "udp proxy.example.com:5060: is no IP address"),
        (b"x", "tcp", ("proxy.example.com", 5060), "tcp proxy.example.com:5060: is no IP address"),
        (b"x", "udp", ("::1", 5060), "udp ::1:5060: we do not listen to udp there"),
        (b"x", "tls", (HOST, 5061), "tls 127.0.0.1:5061: we do not listen to tls there"),
        (b"x" * 70_000, "udp", (HOST, 9), "udp 127.0.0.1:9: [Errno 90] Message too long"),
    ],
)
async def test_what_cannot_be_sent_is_told_later(data: bytes, protocol: str, remote: tuple[str, int], why: str) -> None:
    async with transports() as here:
        here.transports.send(data, protocol, remote, here.failed)
        here.transports.send(data, protocol, remote)
        assert here.failures == []
        await until(lambda: bool(here.failures), PATIENCE_S)
        assert here.failures == [why]
        assert here.transports.stats.send_failed == 2


@pytest.mark.parametrize("refused", [BlockingIOError(), OSError(errno.ENOBUFS, ""), OSError(errno.EPERM, "")])
async def test_what_the_kernel_does_not_take_just_now_counts_as_lost(refused: OSError) -> None:
    stats = Stats()
    udp = UdpSocket(asyncio.get_running_loop(), HOST, 0, stats, lambda data, source: None)
    real = udp._socket
    told: list[object] = []
    try:
        udp._socket = Full(refused)  # type: ignore[assignment]
        assert udp.send(b"x", (HOST, 9), told.append)
    finally:
        udp._socket = real
        udp.close()
    assert not udp.send(b"x", (HOST, 9), told.append)
    udp.close()
    assert (stats.dropped_udp_full, stats.sent, told) == (1, 0, [])


class Full:
    def __init__(self, error: OSError) -> None:
        self._error = error

    def sendto(self, data: bytes, remote: object) -> None:
        raise self._error


async def test_via_says_where_we_listen_or_what_we_are_told_to_say() -> None:
    made = Transports()
    try:
        host, port = await made.listen_udp("0.0.0.0", 0, advertised="192.0.2.1:5060")
        assert (host, port > 0) == ("0.0.0.0", True)
        local = await made.listen_tcp(HOST, 0)
        assert made.sent_by("udp", ("192.0.2.2", 5060)) == "192.0.2.1:5060"
        assert made.sent_by("tcp", ("192.0.2.2", 5060)) == f"{HOST}:{local[1]}"
        assert made.sent_by("udp", ("2001:db8::1", 5060)) == ""
    finally:
        await made.close()


async def test_addresses_that_cannot_be_listened_to_are_refused_with_a_reason() -> None:
    port = free_port()
    made = Transports()
    other = Transports()
    try:
        await other.listen_udp(HOST, port)
        await other.listen_tcp(HOST, port)
        for listen in (made.listen_udp, made.listen_tcp):
            for host, why in (
                ("localhost", "must be an IP address"),
                ("0.0.0.0", "needs an advertised address"),
                ("::", "needs an advertised address"),
                (HOST, "in use"),
            ):
                with pytest.raises(ConfigurationError, match=why):
                    await listen(host, port)
        with pytest.raises(ConfigurationError, match="there is one already"):
            await other.listen_udp(HOST, 0)
    finally:
        await made.close()
        await other.close()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
async def test_ipv6_has_sockets_of_its_own() -> None:
    async with transports(answers=200) as here, udp_peer("::1") as peer:
        local = await here.transports.listen_udp("::1", 0)
        assert here.transports.sent_by("udp", ("::1", 5060)) == f"[::1]:{local[1]}"
        peer.transport.sendto(options(f"SIP/2.0/UDP [::2]:{peer.port};branch=z9hG4bK1"), ("::1", local[1]))
        answer = parse(await peer.next())
        assert answer.via.received == "::1"
        here.transports.send(b"more", "udp", ("::1", peer.port))
        assert await peer.next(2) == b"more"


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_both_event_loops_carry_requests_and_responses(loop: object, protocol: str) -> None:
    async def ask() -> None:
        async with transports(answers=200) as far, transports() as near:
            for number in range(3):
                sent_by = near.transports.sent_by(protocol, (HOST, 0))
                via = f"SIP/2.0/{protocol.upper()} {sent_by};branch=z9hG4bK{number}"
                near.transports.send(options(via), protocol, address_of(far, protocol), near.failed)
                await near.taken(number + 1)
            assert not isinstance(near.messages[0][0], Request)
            assert near.failures == []
            assert near.transports.stats.sent == far.transports.stats.received == 3

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        runner.run(ask())


async def test_after_closing_nothing_is_sent() -> None:
    async with transports() as here:
        taker: Taker = here
    taker.transports.send(b"x", "udp", (HOST, 9), taker.failed)
    taker.transports.send(b"x", "tcp", (HOST, 9), taker.failed)
    await until(lambda: len(taker.failures) == 2, PATIENCE_S)
    assert all("we do not listen" in why for why in taker.failures)
