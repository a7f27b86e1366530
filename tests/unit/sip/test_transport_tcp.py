"""Connections of the SIP core over loopback: torn, half closed, reset, slow, idle and too many."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest
from signalbox.sip.parser import parse
from signalbox.sip.tcp import Limits
from structlog.testing import capture_logs
from support.ports import free_port
from support.sip_wire import HOST, PATIENCE_S, Taker, address_of, counted, stream_to, tcp_peer, transports
from support.sip_world import request
from support.wait import until

VIA = "SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK1"


def options(number: int = 1, via: str = VIA) -> bytes:
    return request("OPTIONS", via=via, cseq=number).encode()


async def test_a_message_that_comes_byte_by_byte_is_one() -> None:
    async with transports(answers=200) as here, stream_to(address_of(here, "tcp")) as stream:
        for byte in options():
            stream.writer.write(bytes([byte]))
            await stream.writer.drain()
            await asyncio.sleep(0)
        assert parse(await stream.message()).cseq.number == 1
        assert len(here.messages) == 1
        assert here.messages[0][1].local == address_of(here, "tcp")


async def test_messages_that_come_together_are_answered_in_order_on_their_connection() -> None:
    async with transports(answers=200) as here, stream_to(address_of(here, "tcp")) as stream:
        stream.writer.write(b"".join(options(number) for number in range(50)))
        answers = [parse(await stream.message()).cseq.number for _ in range(50)]
        assert answers == list(range(50))
        assert here.transports.connections == 1


async def test_a_ping_gets_a_pong() -> None:
    async with transports(answers=200) as here, stream_to(address_of(here, "tcp")) as stream:
        stream.writer.write(b"\r\n\r\n" + options())
        assert await asyncio.wait_for(stream.reader.readexactly(2), PATIENCE_S) == b"\r\n"
        assert parse(await stream.message()).cseq.number == 1
        assert here.transports.stats.keepalives == 1


async def test_pongs_that_nobody_reads_do_not_pile_up() -> None:
    async with transports(Limits(queue_bytes=10**9)) as here, tcp_peer() as (address, streams):
        here.transports.send(b"x" * 30_000_000, "tcp", address, here.failed)
        await until(lambda: bool(streams), PATIENCE_S)
        for _ in range(100):
            streams[0].writer.write(b"\r\n\r\n" * 10)
            await streams[0].writer.drain()
        await until(lambda: here.transports.stats.keepalives == 1000, PATIENCE_S)
        here.transports.send(b"y", "tcp", address, here.failed)
        got, last = 0, b""
        while last != b"y":
            data = await asyncio.wait_for(streams[0].reader.read(1_000_000), PATIENCE_S)
            got, last = got + len(data), data[-1:]
        assert got == 30_000_001
        streams[0].writer.write(b"\r\n\r\n")
        assert await asyncio.wait_for(streams[0].reader.readexactly(2), PATIENCE_S) == b"\r\n"


async def test_a_malformed_message_is_answered_and_the_stream_goes_on() -> None:
    async with transports(answers=200) as here, stream_to(address_of(here, "tcp")) as stream:
        stream.writer.write(options().replace(b"Max-Forwards: 70", b"Max-Forwards: -1") + options())
        assert (await stream.message()).startswith(b"SIP/2.0 400 Max-Forwards")
        assert (await stream.message()).startswith(b"SIP/2.0 200")


@pytest.mark.parametrize(
    ("broken", "answer"),
    [
        (options().replace(b"Content-Length: 0\r\n", b""), b"SIP/2.0 400 Content-Length is missing"),
        (options().replace(b"Content-Length: 0", b"Content-Length: x"), b"SIP/2.0 400 Content-Length"),
        (options().replace(b"Content-Length: 0", b"Content-Length: 99999999"), b"SIP/2.0 513 Content-Length"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        (b"x" * 100_000, b""),
    ],
    ids=["no length", "bad length", "too long", "no SIP", "endless"],
)
async def test_a_stream_that_cannot_be_followed_is_answered_and_closed(broken: bytes, answer: bytes) -> None:
    async with transports() as here, stream_to(address_of(here, "tcp")) as stream:
        stream.writer.write(broken)
        end = await stream.end()
        assert end.startswith(answer)
        assert bool(end) == bool(answer)
        # What comes now is read by nobody, and the connection goes when the peer has closed, too.
        with contextlib.suppress(ConnectionError):
            stream.writer.write(options())
            await stream.writer.drain()
        await stream.close()
        await until(lambda: here.transports.connections == 0, PATIENCE_S)
        assert here.transports.stats.connections_unfollowable == 1
        assert here.messages == []


async def test_what_cannot_be_followed_is_answered_at_once_though_good_messages_came_with_it() -> None:
    async with transports(answers=200) as here, stream_to(address_of(here, "tcp")) as stream:
        stream.writer.write(options() + options().replace(b"Content-Length: 0\r\n", b""))
        assert (await stream.message()).startswith(b"SIP/2.0 200")
        assert (await stream.message()).startswith(b"SIP/2.0 400 Content-Length is missing")
        assert await stream.end() == b""


async def test_requests_to_one_address_share_a_connection_and_keep_their_order() -> None:
    async with transports() as here, tcp_peer() as (address, streams):
        for number in range(20):
            here.transports.send(options(number), "tcp", address, here.failed)
        await until(lambda: bool(streams), PATIENCE_S)
        assert [parse(await streams[0].message()).cseq.number for _ in range(20)] == list(range(20))
        here.transports.send(options(20), "tcp", address, here.failed)
        assert parse(await streams[0].message()).cseq.number == 20
        assert len(streams) == 1
        assert here.transports.stats.connections_made == 1
        assert here.transports.stats.sent == 21
        assert here.failures == []


async def test_a_response_to_a_request_over_our_connection_comes_back_on_it() -> None:
    async with transports(answers=200) as far, transports() as near:
        near.transports.send(options(), "tcp", address_of(far, "tcp"), near.failed)
        await near.taken(1)
        assert (near.transports.connections, far.transports.connections) == (1, 1)


@pytest.mark.parametrize("how", ["closed", "half closed"])
async def test_after_the_peer_has_closed_a_new_connection_is_made(how: str) -> None:
    async with transports() as here, tcp_peer() as (address, streams):
        here.transports.send(options(1), "tcp", address, here.failed)
        await until(lambda: bool(streams), PATIENCE_S)
        await streams[0].message()
        if how == "closed":
            await streams[0].close()
        else:
            streams[0].writer.write_eof()
        await until(lambda: address not in here.transports._tcp._by_remote, PATIENCE_S)
        here.transports.send(options(2), "tcp", address, here.failed)
        await until(lambda: len(streams) == 2, PATIENCE_S)
        assert parse(await streams[1].message()).cseq.number == 2
        assert here.failures == []


async def test_a_response_whose_connection_is_gone_goes_to_the_port_of_the_via() -> None:
    async with transports() as here, tcp_peer() as (address, streams):
        async with stream_to(address_of(here, "tcp")) as stream:
            stream.writer.write(options(via=f"SIP/2.0/TCP 192.0.2.7:{address[1]};branch=z9hG4bK1"))
            await here.taken(1)
        await until(lambda: here.transports.connections == 0, PATIENCE_S)
        message, source = here.messages[0]
        here.transports.reply(b"SIP/2.0 200 OK\r\n\r\n", message.via, source, here.failed)
        await until(lambda: bool(streams), PATIENCE_S)
        assert await streams[0].message() == b"SIP/2.0 200 OK\r\n\r\n"


async def test_a_peer_that_will_send_no_more_gets_later_responses_on_a_new_connection() -> None:
    async with transports() as here, tcp_peer() as (address, streams), stream_to(address_of(here, "tcp")) as stream:
        stream.writer.write(options(via=f"SIP/2.0/TCP {HOST}:{address[1]};branch=z9hG4bK1"))
        stream.writer.write_eof()
        await here.taken(1)
        assert await stream.end() == b""
        message, source = here.messages[0]
        here.transports.reply(b"SIP/2.0 200 OK\r\n\r\n", message.via, source, here.failed)
        await until(lambda: bool(streams), PATIENCE_S)
        assert await streams[0].message() == b"SIP/2.0 200 OK\r\n\r\n"


async def test_a_response_at_once_reaches_a_peer_that_will_send_no_more() -> None:
    async with transports(answers=200) as here, stream_to(address_of(here, "tcp")) as stream:
        stream.writer.write(options())
        stream.writer.write_eof()
        assert (await stream.end()).startswith(b"SIP/2.0 200 OK\r\n")


async def test_a_reset_is_survived_and_what_waited_is_told() -> None:
    async with transports(Limits(queue_bytes=10**8)) as here, tcp_peer() as (address, streams):
        here.transports.send(options(), "tcp", address, here.failed)
        await until(lambda: bool(streams), PATIENCE_S)
        # More than the kernel takes: both wait.
        here.transports.send(b"x" * 20_000_000, "tcp", address, here.failed)
        here.transports.send(options(), "tcp", address, here.failed)
        raw = streams[0].writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        streams[0].writer.transport.abort()
        await until(lambda: len(here.failures) == 2, PATIENCE_S)
        assert all(why.startswith(f"tcp {HOST}:{address[1]}: ") for why in here.failures)
        assert here.transports.connections == 0


async def test_a_connection_that_is_refused_is_told_to_all_who_wait_for_it() -> None:
    async with transports() as here:
        port = free_port()
        for _ in range(3):
            here.transports.send(options(), "tcp", (HOST, port), here.failed)
        here.transports.send(options(), "tcp", (HOST, port))
        assert here.failures == []
        await until(lambda: len(here.failures) == 3, PATIENCE_S)
        assert all(why.startswith(f"tcp {HOST}:{port}: ") for why in here.failures)
        stats = here.transports.stats
        assert (stats.connect_failed, stats.send_failed, stats.sent) == (1, 4, 0)
        assert here.transports.connections == 0


async def test_a_connection_that_does_not_come_about_is_given_up() -> None:
    with socket.socket() as deaf:
        deaf.bind((HOST, 0))
        deaf.listen(0)
        # The kernel takes one or two for a server that accepts none, then it answers nothing.
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(deaf.getsockname())
            async with transports(Limits(connect_s=0.3)) as here:
                here.transports.send(options(), "tcp", deaf.getsockname(), here.failed)
                await until(lambda: bool(here.failures), PATIENCE_S)
                assert here.failures[0].endswith("no connection within 0.3 s")
                assert here.transports.stats.connect_failed == 1
        finally:
            for filler in fillers:
                filler.close()


async def test_a_peer_that_does_not_read_is_given_up_when_too_much_waits() -> None:
    async with transports(Limits(queue_bytes=200_000)) as here, tcp_peer() as (address, streams):
        here.transports.send(options(), "tcp", address, here.failed)
        await until(lambda: bool(streams), PATIENCE_S)
        sent = 0
        while not here.transports.stats.slow_readers:
            assert sent < 1000
            here.transports.send(b"x" * 60_000, "tcp", address, here.failed)
            sent += 1
            await asyncio.sleep(0)
        await until(lambda: here.transports.connections == 0, PATIENCE_S)
        assert here.failures
        assert set(here.failures) == {f"tcp {HOST}:{address[1]}: the peer does not read"}
        assert here.transports.stats.slow_readers == 1


async def test_while_a_connection_is_made_no_more_than_the_bound_waits_for_it() -> None:
    async with transports(Limits(queue_bytes=100)) as here, tcp_peer() as (address, _):
        here.transports.send(b"x" * 90, "tcp", address, here.failed)
        here.transports.send(b"x" * 90, "tcp", address, here.failed)
        await until(lambda: len(here.failures) == 2, PATIENCE_S)
        assert here.transports.stats.slow_readers == 1
        assert here.transports.connections == 0


async def test_a_peer_that_reads_nothing_for_too_long_is_given_up() -> None:
    async with transports(Limits(stall_s=0.4, queue_bytes=10**8)) as here, tcp_peer() as (address, streams):
        here.transports.send(options(), "tcp", address, here.failed)
        await until(lambda: bool(streams), PATIENCE_S)
        here.transports.send(b"x" * 10_000_000, "tcp", address, here.failed)
        await until(lambda: len(here.failures) == 1, PATIENCE_S)
        assert here.failures[0].endswith("the peer does not read")


async def test_a_peer_that_reads_again_in_time_gets_everything() -> None:
    async with transports(Limits(queue_bytes=10**8)) as here, tcp_peer() as (address, streams):
        for _ in range(20):
            here.transports.send(b"x" * 500_000, "tcp", address, here.failed)
        await until(lambda: bool(streams), PATIENCE_S)
        got = 0
        while got < 10_000_000:
            got += len(await asyncio.wait_for(streams[0].reader.read(1_000_000), PATIENCE_S))
        await streams[0].close()
        await until(lambda: here.transports.connections == 0, PATIENCE_S)
        assert here.failures == []


async def test_a_connection_without_a_whole_message_for_too_long_is_closed() -> None:
    async with transports(Limits(idle_s=0.4)) as here, stream_to(address_of(here, "tcp")) as stream:
        # A header field that never ends keeps nothing alive.
        while not here.transports.stats.connections_closed_idle:
            stream.writer.write(b"x")
            await asyncio.sleep(0.02)
        assert await stream.end() == b""


async def test_keep_alives_keep_a_connection_alive() -> None:
    async with transports(Limits(idle_s=100)) as here, stream_to(address_of(here, "tcp")) as stream:
        await until(lambda: here.transports.connections == 1, PATIENCE_S)
        (connection,) = here.transports._tcp._all
        opened_at = connection._active_at
        await asyncio.sleep(0.01)
        stream.writer.write(b"\r\n\r\n")
        await counted(here, "keepalives")
        connection.judge(opened_at + 100.001)
        assert here.transports.stats.connections_closed_idle == 0
        connection.judge(connection._active_at + 100.001)
        assert await stream.end() == b"\r\n"


async def test_a_connection_may_be_idle_for_less_while_most_are_taken() -> None:
    limits = Limits(connections=4, idle_s=1000, crowded_idle_s=100)
    async with transports(limits) as here, contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(stream_to(address_of(here, "tcp"))) for _ in range(2)]
        await until(lambda: here.transports.connections == 2, PATIENCE_S)
        idle = next(iter(here.transports._tcp._all))
        idle.judge(idle._active_at + 100.001)
        assert here.transports.stats.connections_closed_idle == 0
        streams.append(await stack.enter_async_context(stream_to(address_of(here, "tcp"))))
        await until(lambda: here.transports.connections == 3, PATIENCE_S)
        idle.judge(idle._active_at + 99.9)
        assert here.transports.stats.connections_closed_idle == 0
        idle.judge(idle._active_at + 100.001)
        await until(lambda: here.transports.connections == 2, PATIENCE_S)
        assert here.transports.stats.connections_closed_idle == 1


async def test_a_peer_that_does_not_close_after_an_unfollowable_stream_is_not_waited_for() -> None:
    async with transports(Limits(hang_up_s=0.3)) as here, stream_to(address_of(here, "tcp")) as stream:
        stream.writer.write(options().replace(b"Content-Length: 0\r\n", b""))
        assert (await stream.end()).startswith(b"SIP/2.0 400 ")
        await until(lambda: here.transports.connections == 0, PATIENCE_S)


async def test_more_connections_than_the_limit_are_refused_both_ways() -> None:
    async with transports(Limits(connections=2)) as here, tcp_peer() as (address, streams):
        here.transports.send(options(), "tcp", address, here.failed)
        await until(lambda: bool(streams), PATIENCE_S)
        async with stream_to(address_of(here, "tcp")), stream_to(address_of(here, "tcp")) as refused:
            with contextlib.suppress(ConnectionError):
                assert await refused.end() == b""
            assert here.transports.stats.connections_refused == 1
            here.transports.send(options(), "tcp", (HOST, free_port()), here.failed)
            await until(lambda: bool(here.failures), PATIENCE_S)
            assert here.failures[0].endswith("too many connections")
            assert here.transports.connections == 2
        await until(lambda: here.transports.connections == 1, PATIENCE_S)


async def test_a_receiver_that_fails_is_told_of_and_the_next_message_is_taken() -> None:
    async with transports() as here, stream_to(address_of(here, "tcp")) as stream:
        with capture_logs() as logs:
            here.transports.receiver = None
            stream.writer.write(options())
            await counted(here, "received")
            here.transports.receiver = Failing(here)
            stream.writer.write(options(1) + options(2))
            await here.taken(1)
        assert [(log["event"], log["protocol"]) for log in logs] == [("sip_message_failed", "tcp")]
        assert here.messages[0][0].cseq.number == 2


class Failing:
    """Fails for the first message."""

    def __init__(self, taker: Taker) -> None:
        self._taker = taker

    def on_message(self, message: object, source: object) -> None:
        self._taker.transports.receiver = self._taker
        raise ZeroDivisionError

    on_bad = on_message


async def test_at_the_end_connections_take_what_waits_and_those_in_the_making_are_given_up() -> None:
    async with tcp_peer() as (address, streams):
        async with transports() as here:
            here.transports.send(options(), "tcp", address, here.failed)
            await until(lambda: bool(streams), PATIENCE_S)
            await streams[0].message()
            here.transports.send(b"x" * 50_000, "tcp", address, here.failed)
            here.transports.send(options(), "tcp", (HOST, free_port()), here.failed)
            reading = asyncio.create_task(streams[0].end())
        assert len(await reading) == 50_000
        assert here.transports.connections == 0
        await until(lambda: len(here.failures) == 1, PATIENCE_S)


async def test_at_the_end_a_peer_that_does_not_read_is_not_waited_for() -> None:
    async with tcp_peer() as (address, streams):
        async with transports(Limits(queue_bytes=10**8)) as here:
            here.transports.send(b"x" * 10_000_000, "tcp", address, here.failed)
            await until(lambda: bool(streams), PATIENCE_S)
        assert here.transports.connections == 0
        await until(lambda: bool(here.failures), PATIENCE_S)
