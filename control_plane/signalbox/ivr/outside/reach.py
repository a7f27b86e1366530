"""Which addresses are asked for tenants: public ones, and what the operator allows.

The table is our own, made of IANA's registries of special-purpose addresses (RFC 6890, as of 2025): what
``ipaddress.is_global`` says changes with the version of Python.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Network = IPv4Network | IPv6Network

_SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers' NAT (RFC 6598); a cloud's metadata are in it, too
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # public by its number, and yet the host's own service in a cloud (Azure)
        "169.254.0.0/16",  # link-local, the metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "3fff::/20",  # documentation
    )
)
_UNICAST = IPv6Network("2000::/3")
"""All of IPv6 that is public: loopback, link-local, unique local and multicast addresses lie outside."""
_NAT64 = IPv6Network("64:ff9b::/96")


class Reach:
    """Where requests may go. ``allowed``: networks that are asked though not public; ``refused``: never asked."""

    def __init__(self, allowed: Iterable[str], refused: Iterable[str]) -> None:
        self._allowed = tuple(map(ipaddress.ip_network, allowed))
        self._refused = tuple(map(ipaddress.ip_network, refused))

    def permits(self, address: str) -> bool:
        """True for an IP address that may be asked, whether as itself or by way of a translator to IPv4."""
        try:
            bare = ipaddress.ip_address(address)
        except ValueError:
            return False
        forms = {bare, _reached(bare)}
        if any(form in network for network in self._refused for form in forms):
            return False
        return any(form in network for network in self._allowed for form in forms) or is_public(bare)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """True for an address of a host on the public network. An IPv6 form of an IPv4 address is what that is."""
    reached = _reached(address)
    if isinstance(reached, IPv6Address) and reached not in _UNICAST:
        return False
    return not any(reached in network for network in _SPECIAL)


def _reached(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address that answers: the IPv4 one behind a mapped (RFC 4291) or translated form (NAT64, RFC 6052)."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
