"""Names of header fields in their usual capitals, their compact forms, and the usual reason phrases."""

from __future__ import annotations

from functools import lru_cache

from signalbox.sip import grammar
from signalbox.sip.errors import MessageError

REMEMBERED_LENGTH_MAX = 64

COMPACT = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
"""RFC 3261 section 7.3.3 and the registry of header fields that it began."""

_CAPITALS = (
    "Call-ID",
    "CSeq",
    "MIME-Version",
    "Min-SE",
    "RAck",
    "RSeq",
    "SIP-ETag",
    "SIP-If-Match",
    "WWW-Authenticate",
)
"""Those whose words do not just begin with a capital."""

_USUAL = (
    "Accept",
    "Allow",
    "Contact",
    "Content-Length",
    "Content-Type",
    "Date",
    "Expires",
    "From",
    "Max-Forwards",
    "P-Asserted-Identity",
    "Record-Route",
    "Require",
    "Route",
    "Session-Expires",
    "Supported",
    "To",
    "User-Agent",
    "Via",
)

KNOWN = {spelling: name for name in (*_CAPITALS, *_USUAL) for spelling in (name, name.lower())}
KNOWN |= {spelling: name for letter, name in COMPACT.items() for spelling in (letter, letter.upper())}
"""Usual capitals by the spellings that are seen most."""

REASONS = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    433: "Anonymity Disallowed",
    469: "Bad Info Package",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
    607: "Unwanted",
    608: "Rejected",
}


def canonical(name: str) -> str:
    """The name in its usual capitals, of any capitals or of its compact form. Raises MessageError if it is no token."""
    known = KNOWN.get(name)
    if known is None:
        # Long names are not remembered: who sends them could fill the memory.
        known = _remembered(name) if len(name) <= REMEMBERED_LENGTH_MAX else _other(name)
    return known


def _other(name: str) -> str:
    known = KNOWN.get(name.lower())
    if known is not None:
        return known
    if not grammar.is_token(name):
        raise MessageError("message", "has a header field whose name is no token")
    return "-".join([part.capitalize() for part in name.split("-")])


_remembered = lru_cache(maxsize=1024)(_other)
