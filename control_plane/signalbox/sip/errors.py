"""What can be wrong with SIP: errors of the core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.errors import SignalboxError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.sip.message import Request


class SipError(SignalboxError):
    """Base of all errors of the SIP core. They never reach gRPC."""


class MessageError(SipError):
    """A message, or a part of one, is not what its grammar or its meaning allow.

    ``field``: the header field, or ``Request-Line``, ``Request-URI``, ``Status-Line``, ``message``.
    ``why``: what is wrong with it, as it follows the field's name in a sentence.
    ``code``: what a request is answered with, and ``headers`` what that answer carries besides.
    ``request_head``: the request without its body if it came so far that it can be answered.
    """

    def __init__(self, field: str, why: str, *, code: int = 400, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(f"{field} {why}", field=field, reason=why)
        self.field = field
        self.why = why
        self.code = code
        self.headers = tuple(headers)
        self.request_head: Request | None = None

    @property
    def phrase(self) -> str:
        """The reason phrase of the answer: one line that names the field."""
        return str(self)
