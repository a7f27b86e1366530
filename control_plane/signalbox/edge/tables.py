"""Kamailio's tables (db_text) from a snapshot, and the snapshot's validity.

Kamailio compares modification times in whole seconds and takes a file that is not newer for unchanged, so a table is
always written with a time at least one second later than the one before (db_text, ``dbt_check_mtime``).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from signalbox import address
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.objects import HealthCheck, Target, Transport
from signalbox.edge.kamailio_config import TABLES
from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from signalbox.api.routing.v1.routing_pb2 import WatchEdgeResponse

GROUP_TRUNKS = 1
GROUP_DISABLED = 2
GROUP_VOICE = 3
VOICE = "_voice"
"""Id of the trunk whose addresses are those of the workers with voice; no other id begins so."""

MAX_NODE = 65_535
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_CONTROL = re.compile(r"udp6?:(?:\[[0-9a-f:.]+\]|[0-9.]+):[0-9]{1,5}")
_ESCAPES = str.maketrans({"\\": "\\\\", ":": "\\:", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


@dataclass(frozen=True)
class Node:
    """An rtpengine as the proxy sees it: set number, ng address, and whether it may be used.

    ``gone``: its sidecar does not report any more; it is kept for the calls that it may carry.
    """

    number: int
    url: str
    enabled: bool
    takes_calls: bool
    gone: bool = False


@dataclass(frozen=True)
class Contents:
    """A snapshot ready to be taken over."""

    version: str
    revision: int
    files: Mapping[str, str]
    nodes: tuple[Node, ...]
    bans: Mapping[str, float]
    checks: Mapping[Target, HealthCheck]
    """Targets of trunks that are to be asked whether they live."""


def contents(snapshot: WatchEdgeResponse) -> Contents:
    """Check a snapshot and turn it into tables.

    Raises InvalidFieldError that names what the proxy could not take.
    """
    nodes = _nodes(snapshot)
    files = {
        "address": _table("address", _addresses(snapshot)),
        "domain": _table("domain", ((host, host, 0) for host in _hosts(snapshot))),
        "rtpengine": _node_table(nodes),
    }
    bans: dict[str, float] = {}
    for number, ban in enumerate(snapshot.bans):
        try:
            source = ipaddress.ip_address(ban.address)
        except ValueError as error:
            raise _invalid(f"bans[{number}].address", str(error)) from error
        bans[str(source)] = ban.expire_time.ToMilliseconds() / 1000
    return Contents(snapshot.version, snapshot.revision, files, nodes, bans, _checks(snapshot))


def with_gone(found: Contents, gone: Iterable[Node]) -> Contents:
    """The same with nodes that the snapshot has no more."""
    nodes = (*found.nodes, *gone)
    return replace(found, files={**found.files, "rtpengine": _node_table(nodes)}, nodes=nodes)


def write(directory: Path, files: Mapping[str, str]) -> set[str]:
    """Write the tables whose text differs from what is on disk; returns their names. Raises OSError."""
    changed = {
        name for name, text in files.items() if not (directory / name).exists() or read(directory, [name])[name] != text
    }
    for name in changed:
        _write(directory / name, files[name])
    return changed


def read(directory: Path, names: Iterable[str]) -> dict[str, str]:
    """The tables as they are on disk; one that is not there is empty."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = (directory / name).read_text()
        except (FileNotFoundError, UnicodeDecodeError):
            found[name] = _table(name, ())
    return found


def _write(path: Path, text: str) -> None:
    modified = int(time.time())
    with contextlib.suppress(FileNotFoundError):
        modified = max(modified, int(path.stat().st_mtime) + 1)
    write_atomically(path, text.encode(), modified)


def _table(name: str, rows: Iterable[tuple[object, ...]]) -> str:
    """Text of a table: header, then ``id:column:column…`` with colons escaped."""
    lines = [TABLES[name][0]]
    for number, row in enumerate(rows, start=1):
        lines.append(":".join([str(number), *(str(value).translate(_ESCAPES) for value in row)]))
    return "\n".join(lines) + "\n"


def _node_table(nodes: Iterable[Node]) -> str:
    return _table("rtpengine", ((node.number, node.url, 1, int(not node.enabled), 0) for node in nodes))


def _addresses(snapshot: WatchEdgeResponse) -> Iterable[tuple[object, ...]]:
    """Rows of ``address``: group, address, mask, any port, tag."""
    for number, trunk in enumerate(snapshot.trunks):
        if trunk.id != VOICE and not _ID.fullmatch(trunk.id):
            raise _invalid(f"trunks[{number}].id", "not an identifier")
        group = GROUP_VOICE if trunk.id == VOICE else GROUP_DISABLED if trunk.disabled else GROUP_TRUNKS
        for position, text in enumerate(trunk.source_addresses):
            try:
                network = ipaddress.ip_network(text)
            except ValueError as error:
                raise _invalid(f"trunks[{number}].source_addresses[{position}]", str(error)) from error
            yield group, network.network_address, network.prefixlen, 0, trunk.id


def _checks(snapshot: WatchEdgeResponse) -> dict[Target, HealthCheck]:
    """A target that several trunks have is asked as often, and believed as soon, as one of them wants it."""
    found: dict[Target, HealthCheck] = {}
    for number, trunk in enumerate(snapshot.trunks):
        wanted = trunk.health_check
        check = HealthCheck(wanted.interval.seconds, wanted.failures, wanted.successes)
        if trunk.targets and min(check.interval_s, check.failures, check.successes) < 1:
            raise _invalid(f"trunks[{number}].health_check", "a value is missing")
        for position, one in enumerate(trunk.targets):
            field = f"trunks[{number}].targets[{position}]"
            try:
                ipaddress.ip_address(one.host)
            except ValueError as error:
                raise _invalid(f"{field}.host", str(error)) from error
            if not 1 <= one.port <= 65_535:
                raise _invalid(f"{field}.port", "not 1 to 65535")
            tcp = one.transport == types_pb2.SIP_TRANSPORT_TCP
            target = Target(one.host, one.port, Transport.TCP if tcp else Transport.UDP)
            other = found.get(target, check)
            found[target] = HealthCheck(
                min(check.interval_s, other.interval_s),
                min(check.failures, other.failures),
                min(check.successes, other.successes),
            )
    return found


def _hosts(snapshot: WatchEdgeResponse) -> list[str]:
    """Hosts of all proxies, as they stand in a URI and as a source address."""
    hosts: dict[str, None] = {}
    for number, peer in enumerate(snapshot.peers):
        for position, text in enumerate(peer.advertised_addresses):
            try:
                host, _ = address.endpoint(text)
            except ValueError as error:
                raise _invalid(f"peers[{number}].advertised_addresses[{position}]", str(error)) from error
            hosts[str(host)] = None
            hosts[address.bracketed(host)] = None
    return list(hosts)


def _nodes(snapshot: WatchEdgeResponse) -> tuple[Node, ...]:
    nodes: dict[int, Node] = {}
    for position, node in enumerate(snapshot.media_nodes):
        field = f"media_nodes[{position}]"
        if not 1 <= node.number <= MAX_NODE or node.number in nodes:
            raise _invalid(f"{field}.number", "not 1 to 65535, or there twice")
        if not _CONTROL.fullmatch(node.control_address):
            raise _invalid(f"{field}.control_address", "not udp:address:port")
        takes_calls = node.healthy and not node.draining
        nodes[node.number] = Node(node.number, node.control_address, node.healthy, takes_calls)
    return tuple(nodes.values())


def _invalid(field: str, reason: str) -> InvalidFieldError:
    return InvalidFieldError(FieldViolation(field, reason))
