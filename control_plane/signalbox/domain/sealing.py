"""Fields as text that only we can make: what a worker carries between questions, and hands back as it is.

The text is base64url (RFC 4648 section 5, without padding) of the fields and their HMAC-SHA256 (RFC 2104), cut to 16
bytes. Its first field is the form of the others, so that a text of one kind is never taken for one of another.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAC_BYTES = 16
_SEPARATOR = "\n"


class SealError(ValueError):
    """The text is none of ours."""


def seal(fields: Sequence[str], key: bytes, most: int) -> str:
    """The fields, of which none has control characters, as text; "" if that would be longer than ``most``
    characters."""
    body = _SEPARATOR.join(fields).encode()
    text = _text(_mac(body, key) + body)
    return text if len(text) <= most else ""


def open_(text: str, key: bytes) -> list[str]:
    """The fields that a text was made of. Raises SealError if it is damaged, forged or of another key."""
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise SealError("not base64url") from error
    if _text(sealed) != text:
        raise SealError("bits to spare are set")
    mac, body = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(body, key)):
        raise SealError("not signed with this key")
    return body.decode().split(_SEPARATOR)


def _mac(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:_MAC_BYTES]


def _text(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
