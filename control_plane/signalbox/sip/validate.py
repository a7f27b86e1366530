"""Which messages are refused (RFC 3261 sections 8.1.1, 8.1.3 and 8.2; RFC 4475 sections 3.1.2 and 3.3)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from signalbox.sip import grammar, usual
from signalbox.sip.errors import MessageError
from signalbox.sip.grammar import PARAMS, TOKEN, WS
from signalbox.sip.headers import MAGIC, RSEQ_MAX, NameAddr, RAck
from signalbox.sip.message import Message, Request, max_forwards

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from signalbox.sip.message import Response
    from signalbox.sip.uri import Uri

SUPPORTED = frozenset({"100rel", "timer"})
"""Option tags that the core knows what to do with (RFC 3262, RFC 4028)."""
SCHEMES = frozenset({"sip", "sips", "tel"})
"""Of a Request-URI."""

_TOKENS = re.compile(rf"(?:{TOKEN}(?>(?:{WS},{WS}{TOKEN})*))?")
_MEDIA_TYPE = re.compile(rf"{TOKEN}{WS}/{WS}{TOKEN}{PARAMS}")
_PLAIN_SECONDS = re.compile(r"([0-9]++)")
_SECONDS = re.compile(rf"([0-9]++){PARAMS}")
_RETRY_AFTER = re.compile(rf"([0-9]++){WS}(?:\((?>(?:[^()\\]++|\\.)*)\))?{PARAMS}")
_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] "
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} [0-2][0-9]:[0-5][0-9]:[0-6][0-9] GMT"
)


def check(message: Request | Response, *, supported: Container[str] = SUPPORTED) -> None:
    """Raises MessageError for a message that is not to be processed.

    A request is then answered with the error's ``code`` and ``headers``: 400; 416 for a scheme of the Request-URI that
    is none of a telephone's or of SIP's; 420 if it requires what is not ``supported``. (The parser tells 505 and 513.)
    A response is dropped, and judged by less: what its transaction and its dialog need.

    What a request asks for is judged by the user agent: 405, 415, 481, 501, and 483, for a request with no hop left is
    served here and not sent on (RFC 4475 section 3.3.11). Fields that RFC 2543 did not know may be missing: a tag, a
    branch, Max-Forwards (section 3.4.1).
    """
    if isinstance(message, Request):
        _check_request(message, supported)
    else:
        _check_response(message)


def _check_request(request: Request, supported: Container[str]) -> None:
    if not usual.is_uri(request.uri):
        _check_target(request.target)
    _check_all(request, _REQUEST_RULES)
    if request.cseq.method != request.method:
        raise MessageError("CSeq", "has another method than the request")
    if request.body and "Content-Type" not in request.headers:
        raise MessageError("Content-Type", "is missing")
    if "Require" in request.headers and request.method not in ("ACK", "CANCEL"):
        unknown = [tag for tag in request.headers.values("Require") if tag.lower() not in supported]
        if unknown:
            raise MessageError(
                "Require", "asks for what is not supported", code=420, headers=[("Unsupported", ", ".join(unknown))]
            )


def _check_target(target: Uri) -> None:
    if target.scheme not in SCHEMES:
        raise MessageError("Request-URI", f"has the scheme {target.scheme[:20]}, which is not spoken here", code=416)
    if target.headers:
        raise MessageError("Request-URI", "has header fields")


def _check_response(response: Response) -> None:
    _check_all(response, _DIALOG_RULES if 100 < response.status < 300 else {})
    # Workers forward nothing: a second value is one of somebody else's (section 8.1.3.3).
    vias = response.headers.lines("Via")
    if len(vias) != 1 or ("," in vias[0] and len(response.vias) != 1):
        raise MessageError("Via", "has more than one value in a response")


def _check_all(message: Message, rules: dict[str, Callable[[Message], object]]) -> None:
    """What every message has, and what the rules say of other fields."""
    headers = message.headers
    via = message.via
    vias = headers.lines("Via")
    if "," in vias[0] or (len(vias) > 1 and not usual.all_match(usual.VIA, vias[1:])):
        _ = message.vias
    if via.params.get("branch") == MAGIC:
        raise MessageError("Via", "has a branch that names no transaction")
    if usual.tag(headers.line("From")) is None:
        _check_tag("From", message.from_)
    if usual.tag(headers.line("To")) is None:
        _check_tag("To", message.to)
    _ = message.call_id, message.cseq
    for name in headers.names():
        rule = rules.get(name)
        if rule is not None:
            rule(message)


def _check_tag(field: str, address: NameAddr) -> None:
    if "tag" in address.params and not grammar.is_token(address.tag):
        raise MessageError(field, "has a tag that is no token")


def _contact(message: Message) -> None:
    lines = message.headers.lines("Contact")
    if (len(lines) == 1 and usual.tag(lines[0]) is not None) or message.contacts:
        return
    if not (isinstance(message, Request) and message.method == "REGISTER"):
        raise MessageError("Contact", "must be an address")


def _max_forwards(message: Message) -> None:
    _ = message.headers.one("Max-Forwards", max_forwards)


def _record_route(message: Message) -> None:
    if not usual.all_match(usual.ADDRESS, message.headers.lines("Record-Route")):
        _ = message.record_routes


def _once(field: str, parse: Callable[[str, str], object]) -> Callable[[Message], object]:
    """The rule of a field that is there once and can be parsed."""
    return lambda message: parse(message.headers.line(field), field)


def _matching(pattern: re.Pattern[str], must: str) -> Callable[[str, str], object]:
    """A parser that knows only whether it matches."""

    def parse(text: str, field: str) -> str:
        if not pattern.fullmatch(text):
            raise MessageError(field, must)
        return text

    return parse


def _seconds(pattern: re.Pattern[str]) -> Callable[[str, str], int]:
    """A parser of delta-seconds at the begin of what the pattern matches."""

    def parse(text: str, field: str) -> int:
        match = pattern.fullmatch(text)
        if match is None:
            raise MessageError(field, "must be a number of seconds")
        return grammar.number(match[1], field, grammar.SECONDS_MAX)

    return parse


def _option_tags(field: str) -> Callable[[Message], None]:
    def rule(message: Message) -> None:
        for line in message.headers.all(field):
            if not _TOKENS.fullmatch(line):
                raise MessageError(field, "must be option tags")

    return rule


_DIALOG_RULES: dict[str, Callable[[Message], object]] = {
    "Contact": _contact,
    "Record-Route": _record_route,
    "RSeq": _once("RSeq", lambda text, field: grammar.number(text, field, RSEQ_MAX)),
}
_REQUEST_RULES: dict[str, Callable[[Message], object]] = {
    "Contact": _contact,
    "Record-Route": _record_route,
    "Max-Forwards": _max_forwards,
    "Content-Type": _once("Content-Type", _matching(_MEDIA_TYPE, "must be a type, a slash, a subtype and parameters")),
    "Date": _once("Date", _matching(_DATE, "must be a date of RFC 1123 in GMT")),
    "Expires": _once("Expires", _seconds(_PLAIN_SECONDS)),
    "Retry-After": _once("Retry-After", _seconds(_RETRY_AFTER)),
    "Session-Expires": _once("Session-Expires", _seconds(_SECONDS)),
    "Min-SE": _once("Min-SE", _seconds(_SECONDS)),
    "RAck": _once("RAck", RAck.parse),
    "Refer-To": _once("Refer-To", NameAddr.parse),
    "Require": _option_tags("Require"),
    "Supported": _option_tags("Supported"),
}
