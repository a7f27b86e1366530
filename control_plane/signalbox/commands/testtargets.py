"""Where test calls go: every address of every proxy, and of which nodes nobody is there to answer."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from signalbox import address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.sip.source import Address

OPTION = "--proxy"
_NO_ADDRESS = (socket.EAI_NONAME, socket.EAI_NODATA)


@dataclass(frozen=True, slots=True)
class Target:
    """A proxy. ``node``: the name of the node that it runs on, if it was given."""

    at: Address
    node: str = ""

    def __str__(self) -> str:
        return f"{self.node} {address.join(*self.at)}".lstrip()


@dataclass(frozen=True, slots=True)
class Ready:
    """Addresses that a name has: those of proxies that are ready."""

    name: str
    hosts: frozenset[str]

    def lacks(self, targets: Sequence[Target]) -> list[Target]:
        """Proxies that are known not to be ready.

        None, if an address belongs to no target: a proxy may listen at another address of its node than the one that
        the name has, and then it cannot be told which one is missing.
        """
        if not self.hosts <= {target.at[0] for target in targets}:
            return []
        return [target for target in targets if target.at[0] not in self.hosts]


def resolve(texts: Sequence[str]) -> list[Target]:
    """Every address of every proxy, ``[NODE=]HOST:PORT``, once. Raises BadParameter."""
    found: dict[Address, Target] = {}
    for text in texts:
        node, _, where = text.rpartition("=")
        try:
            host, port = address.split(where)
        except ValueError as error:
            raise click.BadParameter(f"{text!r} {error}", param_hint=OPTION) from error
        for there in _addresses(host, text):
            found.setdefault((there, port), Target((there, port), node))
    return list(found.values())


def ready(name: str) -> Ready:
    """Who is ready, by the name that has their addresses. Raises BadParameter if it has none."""
    return Ready(name, frozenset(_addresses(name, name, option="--ready")))


def _addresses(host: str, text: str, *, option: str = OPTION) -> list[str]:
    """In order, each once."""
    try:
        told = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        why = "has no address: is any proxy ready?" if error.errno in _NO_ADDRESS else error.strerror
        raise click.BadParameter(f"{text!r}: {why}", param_hint=option) from error
    except (OSError, UnicodeError) as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint=option) from error
    # A link-local address keeps its zone, which ipaddress writes as it stands.
    return list(dict.fromkeys(str(ipaddress.ip_address(str(there[0]))) for *_, there in told))
