"""Who asks: told by the client's certificate, or by an API key in the metadata of the call.

A certificate of the cluster's authority names its bearer in a URI among its subject's alternative names (RFC 5280
section 4.2.1.6): ``signalbox://operator``, ``signalbox://tenants/<tenant>/administrator`` or
``signalbox://tenants/<tenant>/reader``. One without such a URI is the operator's. An API key counts before the
certificate.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from signalbox.errors import CredentialsRefusedError
from signalbox.provisioning import apikeys
from signalbox.provisioning.access import ADMINISTRATOR, OPERATOR, READER, Principal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import grpc

    from signalbox.provisioning.collection import Clock
    from signalbox.provisioning.writer import Reader

SCHEME = "signalbox://"

_NAMED = re.compile(r"tenants/(?P<tenant>[a-z][a-z0-9-]{0,62})/(?P<role>administrator|reader)")
_ROLES = {"administrator": ADMINISTRATOR, "reader": READER}
_COMMON_NAME = "x509_common_name"
_ALTERNATIVE_NAME = "x509_subject_alternative_name"


class Authenticator:
    """Finds out who makes a call."""

    def __init__(self, store: Reader, clock: Clock, *, anonymous: Principal | None = None) -> None:
        """``anonymous``: who asks without any credentials; None: such calls are refused."""
        self._store = store
        self._clock = clock
        self._anonymous = anonymous

    async def principal(self, context: grpc.aio.ServicerContext[Any, Any]) -> Principal:
        """Who makes this call. Raises CredentialsRefusedError."""
        return replace(await self._found(context), peer=peer(context))

    async def _found(self, context: grpc.aio.ServicerContext[Any, Any]) -> Principal:
        for name, value in context.invocation_metadata() or ():
            if name == "authorization":
                return await self._bearer(value if isinstance(value, str) else value.decode(errors="replace"))
        properties = context.auth_context()
        if _COMMON_NAME in properties or _ALTERNATIVE_NAME in properties:
            return of_certificate(properties)
        if self._anonymous is None:
            raise CredentialsRefusedError("a client certificate or an API key is needed")
        return self._anonymous

    async def _bearer(self, header: str) -> Principal:
        """RFC 6750 section 2.1: ``Bearer`` and the secret."""
        kind, _, secret = header.partition(" ")
        key = await apikeys.bearer(self._store, secret.strip(), self._clock()) if kind.lower() == "bearer" else None
        if key is None:
            raise CredentialsRefusedError("the API key is not good")
        name = f"api-key {key.tenant or 'operator'}/{key.id}"
        return Principal(key.role, key.tenant, name, name)


def peer(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Where a call comes from: "ipv4:192.0.2.7:40112"."""
    return unquote(str(context.peer() or ""))


def of_certificate(properties: Mapping[str, Iterable[bytes]]) -> Principal:
    """Whose certificate it is; ``properties`` are those of grpc's auth context. Raises CredentialsRefusedError."""
    names = [name.decode(errors="replace") for name in properties.get(_ALTERNATIVE_NAME, ())]
    told = [name.removeprefix(SCHEME) for name in names if name.startswith(SCHEME)]
    common = next((name.decode(errors="replace") for name in properties.get(_COMMON_NAME, ())), "")
    if told in ([], ["operator"]):
        return Principal(OPERATOR, name=common, actor=f"certificate {common}")
    match = _NAMED.fullmatch(told[0]) if len(told) == 1 else None
    if match is None:
        raise CredentialsRefusedError("the certificate does not say clearly whose it is")
    return Principal(_ROLES[match["role"]], match["tenant"], common, f"certificate {common}")
