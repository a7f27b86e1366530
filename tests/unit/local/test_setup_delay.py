"""The time between INVITE in and INVITE out."""

from __future__ import annotations

import socket
import time

import pytest
from signalbox_local import setup_delay
from signalbox_local.setup_delay import Invite
from support.packets import ipv4
from support.wait import until

PROXY, CALLER, LINE = ("192.0.2.1", 5060), ("192.0.2.2", 5060), ("192.0.2.3", 5060)


def to_proxy(payload: bytes) -> bytes:
    """From the caller to the proxy."""
    return ipv4(payload, source=CALLER, destination=PROXY)


def test_the_delay_is_from_the_first_invite_in_to_the_first_out() -> None:
    invites = [
        Invite(1.000, CALLER, PROXY, b"a"),
        Invite(1.001, CALLER, PROXY, b"b"),
        Invite(1.004, PROXY, LINE, b"a"),
        Invite(1.005, CALLER, PROXY, b"a"),
        Invite(1.006, PROXY, LINE, b"a"),
    ]
    assert setup_delay.delays_ms(invites, PROXY) == [pytest.approx(4.0)]


def test_an_invite_that_was_never_seen_coming_in_counts_for_nothing() -> None:
    assert setup_delay.delays_ms([Invite(1.0, PROXY, LINE, b"a"), Invite(1.1, LINE, CALLER, b"b")], PROXY) == []


@pytest.mark.parametrize("name", [b"Call-ID", b"call-id", b"i"])
def test_an_invite_is_known_by_its_call_id(name: bytes) -> None:
    packet = to_proxy(b"INVITE sip:x SIP/2.0\r\nVia: x\r\n" + name + b" : one@two\r\n\r\n")
    assert setup_delay.parse(packet, 7.0) == Invite(7.0, CALLER, PROXY, b"one@two")


@pytest.mark.parametrize(
    "packet", [b"", to_proxy(b"BYE sip:x SIP/2.0\r\nCall-ID: a\r\n\r\n"), to_proxy(b"INVITE sip:x SIP/2.0\r\n\r\n")]
)
def test_anything_else_is_passed_over(packet: bytes) -> None:
    assert setup_delay.parse(packet, 7.0) is None


async def test_invites_are_captured_with_the_time_of_their_arrival() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        setup_delay.capture() as capture,
    ):
        receiver.bind(("127.0.0.1", 0))
        sender.connect(receiver.getsockname())
        before = time.time()
        for n in range(20):
            sender.send(b"SIP/2.0 200 OK\r\nCall-ID: no\r\n\r\n")
            sender.send(b"INVITE sip:x SIP/2.0\r\nCall-ID: %d\r\n\r\n" % n)
        after = time.time()

        def mine() -> list[Invite]:
            return [invite for invite in capture.packets if invite.destination == receiver.getsockname()]

        await until(lambda: len(mine()) >= 20)
        assert [invite.call_id for invite in mine()] == [b"%d" % n for n in range(20)]
        # The two clocks are one, but time.time() is read in steps that the kernel's timestamps do not have.
        assert all(before - 0.001 <= invite.arrival <= after + 0.001 for invite in mine())
