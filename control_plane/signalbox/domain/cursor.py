"""Where a call is in its flow, as text that only we can make.

The text is base64url (RFC 4648 section 5, without padding) of the fields and their HMAC-SHA256 (RFC 2104), cut to 16
bytes. A worker hands it back as it is; nobody can make one, or change one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

from signalbox.domain.numbering import Caller, CallerKind

MAX_TEXT = 512
"""Longest cursor."""

_MAC_BYTES = 16
_FORM = "1"
"""First field: form of the others. Texts of another form are not read."""
_SEPARATOR = "\n"
_FIELDS = 11


class CursorError(ValueError):
    """The text is no cursor of ours."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A call at a node of the revision of a flow that it began with.

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


def seal(cursor: Cursor, key: bytes) -> str:
    """The cursor as text; "" if that would be longer than :data:`MAX_TEXT`."""
    fields = (
        _FORM, cursor.call_id, cursor.tenant, cursor.number, cursor.flow, str(cursor.revision), cursor.node,
        cursor.caller.kind.value, cursor.caller.number, "1" if cursor.priority else "", str(cursor.step),
    )  # fmt: skip
    body = _SEPARATOR.join(fields).encode()
    text = _text(_mac(body, key) + body)
    return text if len(text) <= MAX_TEXT else ""


def open_(text: str, key: bytes) -> Cursor:
    """The cursor that a text was made of. Raises CursorError if it is damaged, forged or of another key or form."""
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise CursorError("not base64url") from error
    if _text(sealed) != text:
        raise CursorError("bits to spare are set")
    mac, body = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(body, key)):
        raise CursorError("not signed with this key")
    fields = body.decode().split(_SEPARATOR)
    if fields[0] != _FORM or len(fields) != _FIELDS:
        raise CursorError("of another form")
    _, call_id, tenant, number, flow, revision, node, kind, calling, priority, step = fields
    caller = Caller(CallerKind(kind), calling)
    return Cursor(call_id, tenant, number, flow, int(revision), node, caller, bool(priority), int(step))


def _mac(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:_MAC_BYTES]


def _text(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
