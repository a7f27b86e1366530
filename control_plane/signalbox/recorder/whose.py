"""Whose packets are whose."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signalbox.api.recording.v1.recording_pb2 import CallFacts, Side
    from signalbox.recorder.rtp import Endpoint


class Whose(NamedTuple):
    """The caller's ports of rtpengine; all others are the line's."""

    callers: frozenset[int]
    certain: bool


def decide(sources: Mapping[int, set[Endpoint]], facts: CallFacts, sides: Sequence[Side]) -> Whose:
    """Tells the sides of a call apart.

    ``sources``: where the packets to each port came from, ports in the order in which they were used. What rtpengine
    said of a port counts first (a tag that is not the caller's is of a line: forks and transfers have others), then the
    address and port that a party's SDP named, then its address alone if the other's is another one, then that of two
    ports the other one is taken. If nothing helps, the port that had the first packet is the caller's, and that is not
    certain.
    """
    known: dict[int, bool] = {}
    for side in sides:
        if side.local_port in sources and (side.tag == facts.caller_tag or (side.tag and facts.caller_tag)):
            known[side.local_port] = side.tag == facts.caller_tag
        elif side.local_port in sources and side.tag and side.tag == facts.line_tag:
            known[side.local_port] = False
    caller, line = endpoint(facts.caller_media), endpoint(facts.line_media)
    for port, ends in sources.items():
        if port not in known and (found := _by_address(ends, caller, line)) is not None:
            known[port] = found
    rest = [port for port in sources if port not in known]
    certain = True
    for port in rest:
        # Who is not the one that is known is the other; of two unknown ones the first is the caller.
        known[port] = True not in known.values()
        certain = certain and len(rest) == 1 and len(known) == 2
    return Whose(frozenset(port for port, caller_sent in known.items() if caller_sent), certain)


def _by_address(ends: set[Endpoint], caller: Endpoint | None, line: Endpoint | None) -> bool | None:
    """True: the caller's; False: the line's."""
    if caller == line:
        return None
    for end, is_caller in ((caller, True), (line, False)):
        if end in ends:
            return is_caller
    if caller is None or line is None or caller[0] == line[0]:
        return None
    addresses = {address for address, _ in ends}
    if (caller[0] in addresses) == (line[0] in addresses):
        return None
    return caller[0] in addresses


def endpoint(text: str) -> Endpoint | None:
    """``address:port``, an IPv6 address in brackets; None if that is not known."""
    address, _, port = text.rpartition(":")
    try:
        return str(ipaddress.ip_address(address.strip("[]"))), int(port)
    except ValueError:
        return None
