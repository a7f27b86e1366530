"""Ports for clusters that live side by side."""

from __future__ import annotations

import socket

import pytest
from signalbox_local import ports
from support.ports import BLOCKS, free_port


def test_two_clusters_get_different_blocks() -> None:
    first, second = ports.reserve(), ports.reserve()
    try:
        assert first.number != second.number
        assert first.media_host(1) != second.media_host(1)
        assert not {first.take() for _ in range(20)} & {second.take() for _ in range(20)}
    finally:
        first.release()
        second.release()


def test_a_released_block_can_be_had_again() -> None:
    for _ in range(20):
        block = ports.reserve()
        block.release()
        again = ports.reserve()
        again.release()
        if again.number == block.number:
            return
    pytest.fail("somebody else takes it every time")


def test_a_block_with_a_port_in_use_is_passed_over() -> None:
    block = ports.reserve()
    block.release()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((ports.HOST, ports.first_port(block.number) + 7))
        next_block = ports.reserve()
        next_block.release()
    assert next_block.number > block.number


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_preferred_port_is_given_unless_somebody_has_it(kind: socket.SocketKind) -> None:
    # The preferred port is one of a second block: the kernel gives none of those to anybody else meanwhile.
    block, elsewhere = ports.reserve(), ports.reserve()
    try:
        port = elsewhere.take()
        with socket.socket(socket.AF_INET, kind) as other:
            if kind == socket.SOCK_STREAM:
                # Connections that have just ended keep nobody from the port, somebody who listens does.
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind((ports.HOST, port))
            if kind == socket.SOCK_STREAM:
                other.listen()
            assert block.take(port) in range(
                ports.first_port(block.number), ports.first_port(block.number) + ports.BLOCK_SIZE
            )
        assert block.take(port) == port
        assert block.take(port) != port
    finally:
        block.release()
        elsewhere.release()


def test_an_exhausted_block_says_so() -> None:
    block = ports.reserve()
    try:
        for _ in range(ports.BLOCK_SIZE):
            block.take()
        with pytest.raises(ports.NoFreePortsError, match="no port left"):
            block.take()
    finally:
        block.release()


def test_tests_are_given_a_port_again_only_after_many_others() -> None:
    given = [free_port() for _ in range(3 * ports.BLOCK_SIZE)]
    assert len(set(given)) == len(given)
    given += [free_port() for _ in range(2 * BLOCKS * ports.BLOCK_SIZE)]
    assert len(set(given)) <= BLOCKS * ports.BLOCK_SIZE


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9"])
def test_tests_are_given_no_port_that_somebody_has(host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((host, free_port(host)))
        assert other.getsockname()[1] not in [free_port(host) for _ in range(BLOCKS * ports.BLOCK_SIZE)]


def test_tests_are_given_ports_that_lie_together() -> None:
    for _ in range(ports.BLOCK_SIZE):
        first = free_port(span=4)
        assert all(ports.is_free(port) for port in range(first, first + 4))
