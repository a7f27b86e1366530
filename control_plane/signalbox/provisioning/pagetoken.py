"""Page tokens (AIP-158): opaque to the caller, bound to the request that gave them. Pure.

A token says where the next page begins. It holds that place and a check sum over it, the method and the parent, so that
a token that was damaged or comes from another request is told from a good one. It is no secret: it opens nothing that
the request itself would not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from signalbox.errors import FieldViolation, InvalidFieldError

_CHECK_BYTES = 9


def encode(method: str, parent: str, after: str) -> str:
    """Token of the page that begins after the id ``after`` in the list of ``method`` (for one ``parent``, or "")."""
    return base64.urlsafe_b64encode(_check(method, parent, after) + after.encode()).decode().rstrip("=")


def decode(method: str, parent: str, token: str, field: str = "page_token") -> str:
    """The id that the page begins after; "" for the first page, which has no token. Raises InvalidFieldError."""
    if not token:
        return ""
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        after = content[_CHECK_BYTES:].decode()
    except (binascii.Error, ValueError):
        raise _refused(field) from None
    # Made again and compared as a whole: several base64 texts stand for the same bytes.
    if not after or token != encode(method, parent, after):
        raise _refused(field)
    return after


def _refused(field: str) -> InvalidFieldError:
    return InvalidFieldError(FieldViolation(field, "was not given by a response to this request"))


def _check(method: str, parent: str, after: str) -> bytes:
    return hashlib.sha256("\0".join((method, parent, after)).encode()).digest()[:_CHECK_BYTES]
