"""Whose a client's certificate is, for the services that our own processes call.

A certificate names its bearer in a URI among its subject's alternative names (RFC 5280 section 4.2.1.6):
``signalbox://edge/<id>``, ``signalbox://media/<id>``, ``signalbox://ivr/<id>``, ``signalbox://recorder/<id>`` or
``signalbox://operator``. One without such a URI is the operator's, as it is for provisioning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from signalbox.errors import CredentialsRefusedError, PermissionRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set
    from typing import Any

    import grpc

SCHEME = "signalbox://"

_NAMED = re.compile(r"(edge|media|ivr|recorder)/([a-z][a-z0-9-]{0,62})")
_COMMON_NAME = "x509_common_name"
_ALTERNATIVE_NAME = "x509_subject_alternative_name"


class Role(StrEnum):
    """What a process is."""

    EDGE = "edge"
    MEDIA = "media"
    IVR = "ivr"
    RECORDER = "recorder"
    OPERATOR = "operator"
    """Provisioning, and tools that ask for decisions."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who calls: ``id`` is that of the edge, media node, worker or recorder."""

    role: Role
    id: str = ""


class Access:
    """One table over the methods of a service: which roles may call each.

    ``certified``: every client has shown a certificate of the cluster's authority. Where clients need none, nobody is
    asked.
    """

    def __init__(self, table: Mapping[str, Set[Role]], *, certified: bool) -> None:
        self._table = table
        self._certified = certified

    def check(self, context: grpc.aio.ServicerContext[Any, Any], method: str) -> Peer | None:
        """Who calls; None if nobody is asked. Raises PermissionRefusedError, CredentialsRefusedError."""
        if not self._certified:
            return None
        peer = of_certificate(context.auth_context())
        if peer.role not in self._table[method]:
            raise PermissionRefusedError(method)
        return peer


def of_certificate(properties: Mapping[str, Iterable[bytes]]) -> Peer:
    """Whose certificate it is; ``properties`` are those of grpc's auth context. Raises CredentialsRefusedError."""
    if _COMMON_NAME not in properties and _ALTERNATIVE_NAME not in properties:
        raise CredentialsRefusedError("a client certificate with a name is needed")
    names = [name.decode(errors="replace") for name in properties.get(_ALTERNATIVE_NAME, ())]
    told = [name.removeprefix(SCHEME) for name in names if name.startswith(SCHEME)]
    if told in ([], ["operator"]):
        return Peer(Role.OPERATOR)
    match = _NAMED.fullmatch(told[0]) if len(told) == 1 else None
    if match is None:
        raise CredentialsRefusedError("the certificate does not say clearly whose it is")
    return Peer(Role(match[1]), match[2])
