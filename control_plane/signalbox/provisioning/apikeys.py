"""API keys: secrets that their bearers show in place of a client certificate.

A secret is ``sb.<tenant or _>.<id>.<256 random bits>``, the last part in base64url (RFC 4648 section 5). It names its
key, so that it is found without a search; of the secret itself only the SHA-256 is kept, enough for what cannot be
guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.flow_check import Kind
from signalbox.errors import FieldViolation
from signalbox.provisioning import flow_references, validate
from signalbox.provisioning.collection import Owned
from signalbox.store import codec, keys

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from signalbox.provisioning.writer import Reader
    from signalbox.store.base import Entry

_BEGINNING = "sb"
_SECRET_BYTES = 32
_PARTS = 4


class ApiKeys(Owned[types_pb2.ApiKey]):
    """All API keys, of tenants and of the operator (tenant ""). One that signs requests of a flow cannot be deleted."""

    resource = "api_key"
    message = types_pb2.ApiKey
    shared = True

    async def issue(self, given: types_pb2.ApiKey) -> pb.CreateApiKeyResponse:
        """Create a key and its secret, which is told this once."""
        owner = given.tenant or keys.OPERATOR
        secret = ".".join((_BEGINNING, owner, given.id, secrets.token_urlsafe(_SECRET_BYTES)))
        hashed = types_pb2.ApiKey()
        hashed.CopyFrom(given)
        hashed.secret_hash = _hash(secret)
        return pb.CreateApiKeyResponse(api_key=_told(await self.create(hashed)), secret=secret)

    async def get(self, identity: types_pb2.ApiKey) -> types_pb2.ApiKey:
        """The key without its secret's hash."""
        return _told(await super().get(identity))

    def read(self, entry: Entry) -> types_pb2.ApiKey:
        """The key of an entry, without its secret's hash."""
        return _told(super().read(entry))

    async def _user(self, rule: types_pb2.ApiKey) -> str:
        if not rule.tenant:
            return ""
        return await flow_references.user(self._store, Kind.API_KEY, rule.tenant, rule.id, self._clock())

    def _violations(self, rule: types_pb2.ApiKey) -> Iterable[FieldViolation]:
        yield from validate.api_key(rule)
        if rule.HasField("expire_time"):
            try:
                past = codec.seconds(rule.expire_time) <= self._clock().timestamp()
            except ValueError:
                yield FieldViolation("api_key.expire_time", "is no time")
            else:
                if past:
                    yield FieldViolation("api_key.expire_time", "must be in the future")


async def bearer(store: Reader, secret: str, now: datetime) -> types_pb2.ApiKey | None:
    """The key that a secret is of; None if it is of none, or of one that has expired."""
    parts = secret.split(".")
    if len(parts) != _PARTS or parts[0] != _BEGINNING:
        return None
    _, owner, id, _ = parts
    tenant = "" if owner == keys.OPERATOR else owner
    if [*validate.identifier(id, "id"), *(validate.identifier(tenant, "tenant") if tenant else ())]:
        return None
    entry = await store.get(keys.api_key(tenant, id))
    if entry is None:
        return None
    key = codec.decode(types_pb2.ApiKey, entry)
    # Constant in time, whatever the first difference is.
    good = hmac.compare_digest(key.secret_hash, _hash(secret))
    expired = key.HasField("expire_time") and codec.seconds(key.expire_time) <= now.timestamp()
    return key if good and not expired else None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _told(key: types_pb2.ApiKey) -> types_pb2.ApiKey:
    """A key as it is told: without the hash."""
    told = types_pb2.ApiKey()
    told.CopyFrom(key)
    told.ClearField("secret_hash")
    return told
