"""Requests signed with API keys of tenants, by what the store keeps of their secrets."""

from __future__ import annotations

import asyncio
import hmac
import time
from typing import TYPE_CHECKING, NamedTuple

import structlog

from signalbox.api.types.v1 import types_pb2
from signalbox.errors import StoreUnavailableError
from signalbox.ivr.ports import RequestFailedError
from signalbox.store import codec, keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)

FRESH_S = 5.0
"""A key that was deleted or made again counts so soon."""
WAIT_S = 0.5
"""For the store, when what was read before would do."""
KEYS_MAX = 4_096
"""Keys that are remembered."""


def signature(secret_hash: bytes, now: int, body: bytes) -> str:
    """Value of the header Signalbox-Signature; ``now``: seconds since the epoch."""
    return f"t={now},v1={hmac.digest(secret_hash, b'%d.' % now + body, 'sha256').hex()}"


class _Read(NamedTuple):
    secret_hash: bytes
    expires: float
    """Seconds since the epoch."""
    at: float
    """When the store was asked, or did not answer, last."""


class Secrets:
    """SHA-256 of the secrets of API keys. While the store is away those that were read before are good."""

    def __init__(
        self, store: Store, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._known: dict[tuple[str, str], _Read] = {}

    async def of(self, tenant: str, id: str) -> bytes:
        """The hash of a tenant's key. Raises RequestFailedError if there is no such key, or it has expired."""
        known = self._known.get((tenant, id))
        if known is None or self._monotonic() - known.at >= FRESH_S:
            known = await self._read(tenant, id, known)
        if known.expires <= self._clock():
            raise RequestFailedError(f"API key {id} has expired")
        return known.secret_hash

    async def _read(self, tenant: str, id: str, before: _Read | None) -> _Read:
        try:
            async with asyncio.timeout(WAIT_S if before else None):
                found = await self._asked(tenant, id)
        except (StoreUnavailableError, TimeoutError) as error:
            if before is None:
                raise RequestFailedError(f"API key {id}: {error}") from error
            logger.warning("api_key_not_read", tenant=tenant, api_key=id, reason=str(error) or "the store is slow")
            found = before._replace(at=self._monotonic())
        except RequestFailedError:
            self._known.pop((tenant, id), None)
            raise
        # What was read last comes last: the first is forgotten first.
        self._known.pop((tenant, id), None)
        while len(self._known) >= KEYS_MAX:
            del self._known[next(iter(self._known))]
        self._known[tenant, id] = found
        return found

    async def _asked(self, tenant: str, id: str) -> _Read:
        entry = await self._store.get(keys.api_key(tenant, id))
        if entry is None:
            raise RequestFailedError(f"API key {id} does not exist")
        try:
            key = codec.decode(types_pb2.ApiKey, entry)
        except codec.DamagedValueError as error:
            raise RequestFailedError(str(error)) from error
        if not key.secret_hash:
            raise RequestFailedError(f"API key {id} has no secret")
        expires = codec.seconds(key.expire_time) if key.HasField("expire_time") else float("inf")
        return _Read(key.secret_hash, expires, self._monotonic())
