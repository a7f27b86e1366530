"""Passwords that callers key, as flows keep them: sealed under a key that is not in the store.

A few digits are soon guessed from any hash of them, however slow it is. So what is kept is HMAC-SHA-256 (RFC 2104)
under a secret of the cluster, with the tenant and a salt in it: who reads a flow, or the store, can try nothing without
it.
"""

from __future__ import annotations

import base64
import hmac
import re

FEWEST, MOST = 4, 20
"""Digits of a password."""

_SALT = 8
_MAC = 16
_SEAL = re.compile(r"[A-Za-z0-9_-]{32}")
"""base64url (RFC 4648 section 5) of salt and HMAC."""


def seal(key: bytes, tenant: str, place: str, digits: str) -> str:
    """What is kept of a password. Equal for equal arguments: writing a flow again changes nothing.

    ``place`` is where it stands, so that equal passwords don't look so.
    """
    salt = hmac.digest(key, "\n".join(("salt", tenant, place, digits)).encode(), "sha256")[:_SALT]
    return base64.urlsafe_b64encode(salt + _mac(key, tenant, salt, digits)).decode()


def is_seal(text: str) -> bool:
    """True for what :func:`seal` may have made."""
    return _SEAL.fullmatch(text) is not None


def fits(key: bytes, tenant: str, sealed: str, digits: str) -> bool:
    """True for the digits of a seal of this key and tenant."""
    if not is_seal(sealed):
        return False
    raw = base64.urlsafe_b64decode(sealed)
    return hmac.compare_digest(raw[_SALT:], _mac(key, tenant, raw[:_SALT], digits))


def _mac(key: bytes, tenant: str, salt: bytes, digits: str) -> bytes:
    body = b"\n".join((b"password", tenant.encode(), base64.b64encode(salt), digits.encode()))
    return hmac.digest(key, body, "sha256")[:_MAC]
