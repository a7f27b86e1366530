"""Digest credentials of a client (RFC 7616; in SIP RFC 3261 section 22.4 and RFC 8760)."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.sip import grammar
from signalbox.sip.errors import MessageError, SipError
from signalbox.sip.headers import split_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.sip.message import Request, Response

HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "SHA-512-256": lambda data: hashlib.new("sha512_256", data).hexdigest(),
}
COUNT_MAX = 0xFFFFFFFF
"""Most requests with one nonce: its count has eight hexadecimal digits."""

_FIELDS = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}
_PARAM = re.compile(rf"({grammar.TOKEN}){grammar.WS}={grammar.WS}({grammar.TOKEN}|{grammar.QUOTED})")


class CredentialsError(SipError):
    """A challenge can't be answered: none that we know, or what we answered was not taken."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server asks for. ``algorithm`` with ``-sess`` if so told; ``qop`` () for a server of RFC 2069."""

    realm: str
    nonce: str
    algorithm: str = "MD5"
    qop: tuple[str, ...] = ()
    opaque: str | None = None
    stale: bool = False
    userhash: bool = False

    @classmethod
    def parse(cls, text: str, field: str = "WWW-Authenticate") -> Challenge | None:
        """None for another scheme than Digest. Raises MessageError."""
        scheme, *rest = text.split(maxsplit=1) or [""]
        if scheme.lower() != "digest":
            return None
        params: dict[str, str] = {}
        for value in split_values(rest[0] if rest else "", field):
            found = _PARAM.fullmatch(value)
            if found is None or found[1].lower() in params:
                raise MessageError(field, "must be Digest and parameters, each once")
            params[found[1].lower()] = grammar.unquote(found[2])
        for name in ("realm", "nonce"):
            if name not in params:
                raise MessageError(field, f"must have {name}")
        return cls(
            params["realm"],
            params["nonce"],
            params.get("algorithm", "MD5"),
            tuple(one.strip().lower() for one in params.get("qop", "").split(",") if one.strip()),
            params.get("opaque"),
            params.get("stale", "").lower() == "true",
            params.get("userhash", "").lower() == "true",
        )

    @property
    def is_known(self) -> bool:
        """We can compute what it asks for."""
        return self.hash_name in HASHES and (not self.qop or "auth" in self.qop or "auth-int" in self.qop)

    @property
    def hash_name(self) -> str:
        return self.algorithm.upper().removesuffix("-SESS")

    @property
    def is_session(self) -> bool:
        return self.algorithm.upper().endswith("-SESS")


def credentials(
    challenge: Challenge, request: Request, username: str, password: str, *, cnonce: str, count: int
) -> str:
    """The value of Authorization or Proxy-Authorization (RFC 7616 section 3.4). ``count``: the how manieth request with
    this nonce. Quality ``auth`` is taken if offered, for proxies may change a body that ``auth-int`` would protect."""
    digest = HASHES[challenge.hash_name]

    def hashed(*parts: str) -> str:
        return digest(":".join(parts).encode())

    qop = "" if not challenge.qop else "auth" if "auth" in challenge.qop else "auth-int"
    secret = hashed(username, challenge.realm, password)
    if challenge.is_session:
        secret = hashed(secret, challenge.nonce, cnonce)
    asked = (request.method, request.uri, digest(request.body)) if qop == "auth-int" else (request.method, request.uri)
    counted = (f"{count:08x}", cnonce, qop) if qop else ()
    user = hashed(username, challenge.realm) if challenge.userhash else username
    fields = [
        f"username={grammar.quote(user)}",
        f"realm={grammar.quote(challenge.realm)}",
        f"nonce={grammar.quote(challenge.nonce)}",
        f"uri={grammar.quote(request.uri)}",
        f'response="{hashed(secret, challenge.nonce, *counted, hashed(*asked))}"',
        f"algorithm={challenge.algorithm}",
    ]
    if qop or challenge.is_session:
        fields.append(f"cnonce={grammar.quote(cnonce)}")
    if qop:
        fields += [f"qop={qop}", f"nc={count:08x}"]
    if challenge.opaque is not None:
        fields.append(f"opaque={grammar.quote(challenge.opaque)}")
    if challenge.userhash:
        fields.append("userhash=true")
    return "Digest " + ", ".join(fields)


@dataclass(slots=True)
class _Answered:
    """A challenge in use, with the client's nonce for it."""

    challenge: Challenge
    cnonce: str
    count: int = 0


class DigestClient:
    """User name and password, and the challenges that they answered: later requests carry credentials at once."""

    __slots__ = ("_answered", "_cnonce", "_password", "_username")

    def __init__(self, username: str, password: str, cnonce: Callable[[], str] = secrets.token_hex) -> None:
        self._username = username
        self._password = password
        self._cnonce = cnonce
        self._answered: dict[tuple[str, str], _Answered] = {}

    def authorize(self, request: Request) -> None:
        """Sets the credentials of a request that is about to be sent, for all challenges known so far."""
        for _, name in _FIELDS.values():
            request.headers.remove(name)
        for (name, _), known in list(self._answered.items()):
            if known.count >= COUNT_MAX:
                del self._answered[name, known.challenge.realm]
                continue
            known.count += 1
            value = credentials(
                known.challenge, request, self._username, self._password, cnonce=known.cnonce, count=known.count
            )
            request.headers.add(name, value)

    def challenged(self, request: Request, response: Response) -> None:
        """Takes the challenges of a 401 or 407 to ``request``; :meth:`authorize` answers them.

        Of several for a realm the strongest is taken, the first of equal ones: RFC 8760 section 2.4 would take the
        first of all unless a policy says otherwise, and that lets who is on the path have MD5. A nonce that was used
        before may have become stale without a word of it, a fresh one not. Raises CredentialsError if a realm refuses
        what was answered, or if no challenge is known; MessageError if one is malformed.
        """
        asked_in, told_in = _FIELDS[response.status]
        chosen: dict[str, Challenge] = {}
        for text in response.headers.all(asked_in):
            one = Challenge.parse(text, asked_in)
            if one is None or not one.is_known:
                continue
            other = chosen.get(one.realm)
            if other is None or (other.hash_name == "MD5" and one.hash_name != "MD5"):
                chosen[one.realm] = one
        if not chosen:
            raise CredentialsError(f"{response.status} without a challenge that can be answered")
        told = {found.realm for found in map(_told, request.headers.all(told_in)) if found}
        for realm, one in chosen.items():
            known = self._answered.get((told_in, realm))
            if realm in told and known is not None and known.count <= 1 and (not one.stale or known.challenge.stale):
                raise CredentialsError(f"{realm} refuses the credentials")
        for realm, one in chosen.items():
            self._answered[told_in, realm] = _Answered(one, self._cnonce())


def _told(value: str) -> Challenge | None:
    """Credentials of ours have a challenge's realm and nonce."""
    return Challenge.parse(value, "Authorization")
