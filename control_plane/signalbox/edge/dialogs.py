"""What is known of the dialogs of answered calls, kept in redis so that any edge can end any call.

The design is in ``docs/design/ending-calls.md``, the keys are described in ``dialogs.lua``.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from signalbox.api.events.v1 import events_pb2
from signalbox.errors import SignalboxError
from signalbox.redis_client import Script, obey_cancellation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

Operation = list[object]
"""Name and arguments of one of the script's operations."""

TIMEOUT_S = 2.0
"""Time for one round trip: no call waits for it."""

_SCRIPT = Script(__package__, "dialogs.lua")
_PARTIES = {events_pb2.PARTY_CALLER: "caller", events_pb2.PARTY_LINE: "line"}
_ROUTE = re.compile(r"<[^<>]*>[^,<]*")
_ADDRESS = re.compile(r"<([^<>]*)>")


class DialogsUnavailableError(SignalboxError):
    """redis cannot be reached or took too long. What was to be done may have been done."""


@dataclass(frozen=True, slots=True)
class Dialog:
    """One dialog of a call, as it must be known to send requests in the name of both parties.

    ``from_header`` and ``to_header`` have the tags of caller and line. ``routes`` are the Record-Route entries in the
    order of the line's reply. ``caller_cseq`` and ``line_cseq`` are the highest numbers seen (0: none).
    """

    call_id: str
    line_tag: str
    sip_call_id: str
    from_header: str
    to_header: str
    caller_contact: str
    line_contact: str
    routes: tuple[str, ...]
    caller_cseq: int
    line_cseq: int


@dataclass(frozen=True, slots=True)
class Ending:
    """A call that was claimed in order to end it, and why."""

    call_id: str
    why: str
    dialogs: tuple[Dialog, ...]


def operation(event: events_pb2.CallEvent) -> Operation | None:
    """What an event changes here; None if nothing."""
    match event.WhichOneof("event"):
        case "connected":
            connected = event.connected
            facts = {
                "call_id": connected.sip_call_id,
                "from": _one_line(connected.from_header),
                "to": _one_line(connected.to_header),
                "caller": _uri(connected.caller_contact),
                "line": _uri(connected.line_contact),
                "routes": [route.strip() for route in _ROUTE.findall(_one_line(connected.record_route))],
            }
            deadline = 0
            if connected.max_duration_s:
                deadline = event.time.seconds + connected.max_duration_s
            return ["connected", event.call_id, connected.line_tag, json.dumps(facts), connected.cseq, deadline]
        case "dialog_changed":
            changed = event.dialog_changed
            party = _PARTIES[changed.party]
            return ["changed", event.call_id, changed.line_tag, party, changed.cseq, _uri(changed.contact)]
        case "hung_up" if event.hung_up.party in _PARTIES:
            return ["ended", event.call_id, event.hung_up.line_tag]
    return None


class Dialogs:
    """The adapter to redis: converts its errors to DialogsUnavailableError."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    async def apply(self, operations: Sequence[Operation]) -> None:
        """Take changes over, in their order. Applying them again changes nothing."""
        await self._run(operations)

    async def due(self, limit: int, why: str) -> list[Ending]:
        """Claim calls whose time is over: nobody else is given them for 40 s, and then again if they still live."""
        (claimed,) = await self._run([["due", limit, why]])
        return [ending for id, known in claimed if (ending := _ending(id, known)) is not None]

    async def claim(self, call_id: str, why: str) -> Ending | None:
        """Claim one call, whenever it would be due; None if it is not known."""
        (known,) = await self._run([["claim", call_id, why]])
        return _ending(call_id.encode(), known)

    async def ended(self, dialog: Dialog) -> None:
        """A dialog is over."""
        await self._run([["ended", dialog.call_id, dialog.line_tag]])

    async def close(self) -> None:
        """End the connections."""
        await self._redis.aclose()

    async def _run(self, operations: Sequence[Operation]) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await _SCRIPT.run(self._redis, self._prefix, json.dumps(operations))
        except (RedisError, OSError, TimeoutError) as error:
            raise DialogsUnavailableError(str(error) or type(error).__name__) from error
        finally:
            obey_cancellation()


def _ending(id: bytes, known: Sequence[bytes]) -> Ending | None:
    values = dict(zip(map(bytes.decode, known[::2]), map(bytes.decode, known[1::2]), strict=True))
    call_id = id.decode()
    dialogs = tuple(_dialog(call_id, tag, values) for tag in values if "/" not in tag)
    return Ending(call_id, values["/why"], dialogs) if dialogs else None


def _dialog(call_id: str, tag: str, values: Mapping[str, str]) -> Dialog:
    facts = json.loads(values[tag])
    return Dialog(
        call_id=call_id,
        line_tag=tag,
        sip_call_id=facts["call_id"],
        from_header=facts["from"],
        to_header=facts["to"],
        caller_contact=values.get(f"{tag}/caller/contact", facts["caller"]),
        line_contact=values.get(f"{tag}/line/contact", facts["line"]),
        routes=tuple(facts["routes"]),
        caller_cseq=int(values.get(f"{tag}/caller", 0)),
        line_cseq=int(values.get(f"{tag}/line", 0)),
    )


def _uri(contact: str) -> str:
    """The URI of a Contact: without angle brackets, parameters belong to the header (RFC 3261 section 20.10)."""
    found = _ADDRESS.search(contact)
    return "".join((found[1] if found else contact.partition(";")[0]).split())


def _one_line(header: str) -> str:
    """A header value without folding, so that it can be put into a message again."""
    if not header.isprintable():
        header = "".join(c if c.isprintable() else " " for c in header)
    return " ".join(header.split())
