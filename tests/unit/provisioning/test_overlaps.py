"""Overlaps of one trunk's addresses with all others', against the plain way of finding them."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning import validate
from signalbox.provisioning.trunks import overlaps


def networks(*, version: int) -> st.SearchStrategy[str]:
    """Networks of some sizes in a small part of the address space, so that many overlap."""
    base = ipaddress.ip_address("192.0.2.0" if version == 4 else "2001:db8::")
    return st.tuples(st.integers(0, 63), st.integers(0, 4)).map(
        lambda drawn: (
            str(ipaddress.ip_network((int(base) + drawn[0], base.max_prefixlen - drawn[1]), strict=False))
            if version == 4
            else str(ipaddress.IPv6Network((int(base) + drawn[0], 128 - drawn[1]), strict=False))
        )
    )


addresses = st.lists(st.one_of(networks(version=4), networks(version=6)), max_size=12)


@given(addresses, addresses)
def test_overlaps_are_those_of_the_plain_way(own: list[str], taken: list[str]) -> None:
    others: list[types_pb2.Trunk] = []
    kept = []
    for position, text in enumerate(taken):
        network = validate.source_network(text)
        # Stored trunks never overlap each other.
        if not any(validate.overlap(network, other) for other in kept):
            kept.append(network)
            others.append(types_pb2.Trunk(id=f"t{position}", source_addresses=[text]))
    trunk = types_pb2.Trunk(id="own", source_addresses=own)
    expected = {
        f"trunk.source_addresses[{position}]"
        for position, text in enumerate(own)
        if any(validate.overlap(validate.source_network(text), other) for other in kept)
    }
    assert {violation.field for violation in overlaps(trunk, others)} == expected
