"""Which addresses are asked for tenants."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.ivr.outside.reach import Reach, is_public

NOWHERE_ELSE = Reach([], [])


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "223.255.255.255",
        "2400:3200::1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
    ],
)
def test_public_addresses_are_asked(address: str) -> None:
    assert NOWHERE_ELSE.permits(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "localhost",
        "",
    ],
)
def test_other_addresses_are_not(address: str) -> None:
    assert not NOWHERE_ELSE.permits(address)


@given(st.ip_addresses(v=4).filter(lambda address: address.is_private or address.is_multicast or address.is_reserved))
def test_no_address_is_asked_that_python_calls_private(address: ipaddress.IPv4Address) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_disguise_is_what_it_is(address: ipaddress.IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        disguised = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(address))
        assert is_public(disguised) == is_public(address)


def test_what_the_operator_allows_is_asked_in_every_form() -> None:
    reach = Reach(["10.1.0.0/16", "fd00:1::/32"], [])
    assert reach.permits("10.1.2.3")
    assert reach.permits("::ffff:10.1.2.3")
    assert reach.permits("fd00:1::9")
    assert not reach.permits("10.2.0.1")
    assert not reach.permits("fd00:2::9")


def test_what_the_operator_refuses_is_never_asked() -> None:
    reach = Reach(["10.0.0.0/8"], ["10.9.0.0/16", "8.8.0.0/16", "64:ff9b::/96"])
    assert reach.permits("10.8.0.1")
    assert not reach.permits("10.9.0.1")
    assert not reach.permits("8.8.8.8")
    assert not reach.permits("::ffff:8.8.8.8")
    assert not reach.permits("64:ff9b::909:909")
