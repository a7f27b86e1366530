"""Where a call is in its flow and what it has set, as text that only we can make (see sealing.py).

A worker hands it back as it is; nobody can make one, or change one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.domain import sealing
from signalbox.domain.numbering import Caller, CallerKind

if TYPE_CHECKING:
    from signalbox.domain.variables import Values

MAX_TEXT = 512
"""Longest cursor that a call is handed over with: it stands in a SIP header."""
MAX_CONTINUED = 8_192
"""Longest cursor that a worker gets with a step."""

_FORM = "1"
"""First field: form of the others. Texts of another form are not read."""
_FORM_VALUES = "2"
"""The form of cursors of calls that have set something: names and values follow the other fields in turn."""
_FIELDS = 11


class CursorError(sealing.SealError):
    """The text is no cursor of ours."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A call at a node of the revision of a flow that it began with, and the variables that it has set.

    ``step`` counts how often it was continued; ``priority``: the caller goes to the front of queues. No text in it has
    control characters.
    """

    call_id: str
    tenant: str
    number: str
    flow: str
    revision: int
    node: str
    caller: Caller
    priority: bool = False
    step: int = 0
    values: Values = ()


def seal(cursor: Cursor, key: bytes, most: int = MAX_TEXT) -> str:
    """The cursor as text; "" if that would be longer than ``most`` characters."""
    fields = (
        _FORM_VALUES if cursor.values else _FORM,
        cursor.call_id, cursor.tenant, cursor.number, cursor.flow, str(cursor.revision), cursor.node,
        cursor.caller.kind.value, cursor.caller.number, "1" if cursor.priority else "", str(cursor.step),
        *[text for pair in cursor.values for text in pair],
    )  # fmt: skip
    return sealing.seal(fields, key, most)


def open_(text: str, key: bytes) -> Cursor:
    """The cursor that a text was made of. Raises CursorError if it is damaged, forged or of another key or form."""
    try:
        fields = sealing.open_(text, key)
    except sealing.SealError as error:
        raise CursorError(str(error)) from error
    rest = fields[_FIELDS:]
    if len(fields) < _FIELDS or fields[0] != (_FORM_VALUES if rest else _FORM) or len(rest) % 2:
        raise CursorError("of another form")
    _, call_id, tenant, number, flow, revision, node, kind, calling, priority, step = fields[:_FIELDS]
    caller = Caller(CallerKind(kind), calling)
    values = tuple(zip(rest[::2], rest[1::2], strict=True))
    return Cursor(call_id, tenant, number, flow, int(revision), node, caller, bool(priority), int(step), values)
