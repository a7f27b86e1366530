"""A question of the proxy: one datagram, checked before anything of it goes further.

The wire contract is in ``kamailio/README.md``, section 1. Nothing malformed leaves this module: text is UTF-8,
printable and within the lengths that ``routing.v1.DecideRequest`` allows.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from signalbox.api.routing.v1.routing_pb2 import DecideRequest
from signalbox.domain import numbering

if TYPE_CHECKING:
    from signalbox.edge.replica import Replica

MAX_CALL_ID = 128
MAX_TRUNK = 63
MAX_USER = 64
MAX_SOURCE = 45
MAX_DIVERSIONS = 1000
MAX_LEG = 1024
_MAX_UINT32 = 0xFFFFFFFF

_LEG = re.compile(rf"[A-Za-z0-9_-]{{0,{MAX_LEG}}}")
_decode_base64 = binascii.a2b_base64
_loads = json.loads


class UnreadableError(Exception):
    """The datagram does not even say which transaction it is about."""


class MalformedError(Exception):
    """A value may not go further. The transaction is known, so the call can be refused.

    ``call_id`` is empty if there is none that is well formed.
    """

    def __init__(self, index: int, label: int, field: str, call_id: str) -> None:
        super().__init__(field)
        self.index = index
        self.label = label
        self.field = field
        self.call_id = call_id


class Question:
    """An open question: the suspended transaction, what is asked, and who was asked.

    ``asked_at`` is in seconds of the event loop's clock. ``first`` and ``second`` are the replicas whose answer is
    awaited; ``attempts`` counts how often it was put to any. ``target`` is the trunk and what was dialled there.
    ``anonymous``: no line may be told who calls.
    """

    __slots__ = (
        "anonymous", "asked_at", "attempts", "first", "id", "index", "label", "open", "request", "second", "target",
    )  # fmt: skip

    def __init__(self, index: int, label: int, request: DecideRequest) -> None:
        self.index = index
        self.label = label
        self.request = request
        self.target = request.trunk, request.called
        self.anonymous = _is_service_number(request.calling) or _is_service_number(request.asserted)
        self.id = 0
        self.asked_at = 0.0
        self.first: Replica | None = None
        self.second: Replica | None = None
        self.attempts = 0
        self.open = True


def parse(datagram: bytes) -> Question:
    """Read one datagram. Raises UnreadableError or MalformedError; nothing else."""
    try:
        fields = _loads(datagram.decode())
        index, label = fields["i"], fields["l"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnreadableError from error
    if not (type(index) is type(label) is int and 0 <= index <= _MAX_UINT32 and 0 <= label <= _MAX_UINT32):
        raise UnreadableError
    field = "v"
    try:
        if fields["v"] != 1:
            raise ValueError
        request = DecideRequest(
            call_id=_plain(fields[field := "id"], MAX_CALL_ID),
            trunk=_plain(fields[field := "tr"], MAX_TRUNK),
            called=_user(fields[field := "to"]),
            calling=_user(fields[field := "fr"]),
            asserted=_user(fields[field := "pa"]),
            source_address=_plain(fields[field := "src"], MAX_SOURCE),
            diversions=_count(fields[field := "dv"]),
        )
        request.leg = _leg(fields.get(field := "lg", ""))
        if fields.get(field := "pn", "") != "":
            request.parent = _plain(fields[field], MAX_CALL_ID)
        if not request.called:
            field = "to"
            raise ValueError
    except (ValueError, TypeError, KeyError) as error:
        raise MalformedError(index, label, field, _call_id(fields)) from error
    return Question(index, label, request)


def _is_service_number(user: str) -> bool:
    """A service number takes calls and is never shown as a caller's."""
    return user != "" and numbering.caller(user, "").kind is numbering.CallerKind.SERVICE


def _user(encoded: str) -> str:
    """The user part of a URI, from base64; it may be empty."""
    if encoded == "":
        return ""
    text = _decode_base64(encoded, strict_mode=True).decode()
    if len(text) > MAX_USER or not text.isprintable():
        raise ValueError
    return text


def _call_id(fields: dict[str, Any]) -> str:
    """The id of a call whose question is malformed; empty if that is malformed, too."""
    try:
        return _plain(fields.get("id"), MAX_CALL_ID)
    except ValueError:
        return ""


def _plain(text: Any, limit: int) -> str:
    """A value that the proxy made itself."""
    if type(text) is not str or not 0 < len(text) <= limit or not (text.isascii() and text.isprintable()):
        raise ValueError
    return text


def _leg(text: Any) -> str:
    """What a worker with voice has from the routing service; empty if it is no worker that calls."""
    if type(text) is not str or not _LEG.fullmatch(text):
        raise ValueError
    return text


def _count(number: Any) -> int:
    if type(number) is not int or not 0 <= number <= MAX_DIVERSIONS:
        raise ValueError
    return number
