"""Probes against servers that answer well, badly or not at all."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from signalbox_local import probes
from signalbox_local.probes import NotReadyError
from support.ports import free_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HTTP = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"


def http(status: int, body: bytes) -> bytes:
    return HTTP % (status, len(body), body)


@contextmanager
def tcp(answer: bytes) -> Iterator[str]:
    """Takes one connection, reads once, answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5.0)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield "{}:{}".format(*server.getsockname())
        thread.join()


@contextmanager
def udp(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """Answers one datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5.0)

        def serve() -> None:
            request, peer = server.recvfrom(4096)
            server.sendto(answer(request), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield "{}:{}".format(*server.getsockname())
        thread.join()


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    return free_address()


def test_a_ready_process_tells_its_facts() -> None:
    with tcp(http(200, b'{"ready": true, "calls": 3}')) as address:
        assert probes.readyz(address) == {"ready": True, "calls": 3}


def test_a_process_that_is_not_ready_says_why() -> None:
    with tcp(http(503, b'{"ready": false, "store": "away"}')) as address, pytest.raises(NotReadyError, match="away"):
        probes.readyz(address)


def test_facts_are_told_ready_or_not_and_none_by_nobody(nobody: str) -> None:
    with tcp(http(503, b'{"ready": false, "calls": 1}')) as address:
        assert probes.facts(address)["calls"] == 1
    assert probes.facts(nobody) == {}


@pytest.mark.parametrize("answer", [http(200, b"<html>"), http(200, b"[1]"), b"garbage\r\n\r\n", b""])
def test_an_answer_that_makes_no_sense_is_not_ready(answer: bytes) -> None:
    with tcp(answer) as address, pytest.raises(NotReadyError):
        probes.readyz(address)


@pytest.mark.parametrize("probe", [probes.readyz, probes.etcd, probes.redis, probes.rtpengine, probes.sip])
def test_nobody_there_is_not_ready(probe: probes.Probe, nobody: str) -> None:
    with pytest.raises(NotReadyError, match="refused"):
        probe(nobody)  # type: ignore[call-arg]


@pytest.mark.parametrize("body", [b'{"health": "true"}', b'{"health": true}'])
def test_etcd_is_healthy_in_the_words_of_both_versions(body: bytes) -> None:
    with tcp(http(200, body)) as address:
        probes.etcd(address)


def test_etcd_without_a_leader_is_not_ready() -> None:
    with tcp(http(503, b'{"health": "false"}')) as address, pytest.raises(NotReadyError, match="false"):
        probes.etcd(address)


def test_redis_that_loads_is_not_ready() -> None:
    with tcp(b"+PONG\r\n") as address:
        probes.redis(address)
    with tcp(b"-LOADING Redis is loading\r\n") as address, pytest.raises(NotReadyError, match="LOADING"):
        probes.redis(address)


def test_rtpengine_answers_the_ping() -> None:
    with udp(lambda request: request.split()[0] + b" d6:result4:ponge") as address:
        probes.rtpengine(address)
    with udp(lambda request: b"x d6:result5:errore") as address, pytest.raises(NotReadyError, match="error"):
        probes.rtpengine(address)


def test_a_proxy_is_ready_when_options_gets_200() -> None:
    with udp(lambda request: b"SIP/2.0 200 OK\r\n\r\n") as address:
        probes.sip(address)
    with udp(lambda request: b"SIP/2.0 503 Starting\r\n\r\n") as address, pytest.raises(NotReadyError, match="503"):
        probes.sip(address)
