"""What is known of the dialogs of answered calls, kept in redis so that any edge can end any call.

The design is in ``docs/design/ending-calls.md``, the keys are described in ``signalbox/dialogs.lua``.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import RedisError

from signalbox import dialogs_script
from signalbox.errors import SignalboxError
from signalbox.eventrow import EventRowError, decoded
from signalbox.redis_client import obey_cancellation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

    from signalbox.dialogs_script import Operation
    from signalbox.eventrow import Row

logger = structlog.get_logger(__name__)

BATCH = 128
"""Most operations in one run of the script: redis serves nobody else meanwhile, and calls wait for it."""

TIMEOUT_S = 2.0
"""Time for one round trip: no call waits for it."""

_PARTIES = ("caller", "line")
_FACTS = 6
"""SIP Call-ID, From, To, both Contacts, Record-Route, in base64 (kamailio/README.md, section 4)."""

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
    """A call that was claimed in order to end it, why, and how often it has been claimed by now."""

    call_id: str
    why: str
    dialogs: tuple[Dialog, ...]
    tries: int


def operation(row: Row) -> Operation | None:
    """What an event changes here; None if nothing.

    What a dialog is made of is kept as the proxy wrote it and read by who ends the call: few calls are ended by us.
    Raises EventRowError.
    """
    if row.code:
        return None
    letter, *fields = row.text.split(" ")
    try:
        if letter == "C":
            _, longest_s, cseq, tag, *facts = fields
            if len(facts) != _FACTS:
                raise ValueError(f"{len(facts)} facts")
            deadline = int(row.seconds) + int(longest_s) if int(longest_s) else 0
            node = _media_node(row.call_id, decoded(facts[-1]))
            return ["connected", row.call_id, tag, " ".join(facts), int(cseq), deadline, node]
        if letter == "U":
            party, tag, cseq, contact = fields
            return ["changed", row.call_id, tag, _party(party), int(cseq), _uri(decoded(contact))]
        if letter == "H":
            party, _, *tags = fields
            return ["ended", row.call_id, "".join(tags)] if party in _PARTIES else None
    except ValueError as error:
        raise EventRowError(f"{error}: {row.text[:200]!r}") from error
    return None


def _media_node(call_id: str, routes: str) -> str:
    """The number of the node that the dialog's media are at, as our signed Record-Route has it; "" if there is none."""
    _, _, ours = routes.partition(f";sb={call_id};mn=")
    return ours.partition(".")[0]


def _party(name: str) -> str:
    if name not in _PARTIES:
        raise ValueError(f"no party: {name!r}")
    return name


class Dialogs:
    """The adapter to redis: converts its errors to DialogsUnavailableError."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    async def apply(self, operations: Sequence[Operation]) -> None:
        """Take changes over, in their order. Applying them again changes nothing."""
        for start in range(0, len(operations), BATCH):
            await self._run(operations[start : start + BATCH])

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

    async def given_up(self, call_id: str) -> None:
        """A call cannot be ended: it is not due any more, and nothing is known of it."""
        await self._run([["given_up", call_id]])

    async def close(self) -> None:
        """End the connections."""
        await self._redis.aclose()

    async def _run(self, operations: Sequence[Operation]) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await dialogs_script.SCRIPT.run(self._redis, self._prefix, json.dumps(operations))
        except (RedisError, OSError, TimeoutError) as error:
            raise DialogsUnavailableError(str(error) or type(error).__name__) from error
        finally:
            obey_cancellation()


def _ending(id: bytes, known: Sequence[bytes]) -> Ending | None:
    values = dict(zip(map(bytes.decode, known[::2]), map(bytes.decode, known[1::2]), strict=True))
    call_id = id.decode()
    dialogs: list[Dialog] = []
    for tag in values:
        if "/" not in tag:
            try:
                dialogs.append(_dialog(call_id, tag, values))
            except ValueError as error:
                logger.error("dialog_unreadable", call_id=call_id, reason=str(error))
    return Ending(call_id, values["/why"], tuple(dialogs), int(values["/tries"])) if dialogs else None


def _dialog(call_id: str, tag: str, values: Mapping[str, str]) -> Dialog:
    """Raises ValueError."""
    sip_call_id, from_header, to_header, caller, line, routes = map(decoded, values[tag].split(" "))
    return Dialog(
        call_id=call_id,
        line_tag=tag,
        sip_call_id=sip_call_id,
        from_header=_one_line(from_header),
        to_header=_one_line(to_header),
        caller_contact=values.get(f"{tag}/caller/contact") or _uri(caller),
        line_contact=values.get(f"{tag}/line/contact") or _uri(line),
        routes=tuple(route.strip() for route in _ROUTE.findall(_one_line(routes))),
        caller_cseq=int(values.get(f"{tag}/caller", 0)),
        line_cseq=int(values.get(f"{tag}/line", 0)),
    )


def _uri(contact: str) -> str:
    """The URI of a Contact: without angle brackets, parameters belong to the header (RFC 3261 section 20.10)."""
    found = _ADDRESS.search(contact)
    return "".join(_one_line(found[1] if found else contact.partition(";")[0]).split())


def _one_line(header: str) -> str:
    """A header value without folding, so that it can be put into a message again."""
    if not header.isprintable():
        header = "".join(c if c.isprintable() else " " for c in header)
    return " ".join(header.split())
