"""Session descriptions in messages: the one body that calls have here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.sip.errors import MessageError
from signalbox.sip.sdp import DescriptionError, SessionDescription

if TYPE_CHECKING:
    from signalbox.sip.message import Message

TYPE = "application/sdp"


def description(message: Message) -> SessionDescription | None:
    """The description that a message carries, None if it has no body.

    Raises MessageError: with code 415 for a body of another type or in an encoding (RFC 3261 section 21.4.13), 400 for
    a description that is none.
    """
    if not message.body:
        return None
    kind = (message.headers.get("Content-Type") or "").partition(";")[0].strip(" \t").lower()
    if kind != TYPE:
        raise MessageError("Content-Type", f"must be {TYPE}", code=415, headers=[("Accept", TYPE)])
    encoding = (message.headers.get("Content-Encoding") or "identity").strip(" \t").lower()
    if encoding != "identity":
        raise MessageError("Content-Encoding", "must be none", code=415, headers=[("Accept-Encoding", "identity")])
    try:
        return SessionDescription.parse(message.body)
    except DescriptionError as error:
        raise MessageError("message", f"has a session description that is none: {error}") from error


def carry(message: Message, carried: SessionDescription) -> None:
    """Put a description into a message."""
    message.headers.set("Content-Type", TYPE)
    message.body = carried.encode()
