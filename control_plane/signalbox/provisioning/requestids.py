"""Request ids (AIP-155): a request that comes again gets the first answer.

The answer is written in the same commit as what the request wrote, under a lease, at a key made of the caller's tenant
and the id. Of two that come together one commits; the other then finds the answer. Kept with it is a digest of the
request, to tell another request with the same id. A request that failed has written nothing, and leaves nothing behind.

Etags in an answer are the revision of the very commit that writes it, which is not known before. They are kept as
PENDING, and read as the revision of the entry.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

from signalbox.errors import FieldViolation, InvalidFieldError, RequestIdReusedError
from signalbox.provisioning.draft import PENDING
from signalbox.store import keys
from signalbox.store.base import Compare, Put

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from signalbox.provisioning.draft import Draft
    from signalbox.store.base import Store

KEPT_S = 24 * 3600
LEASE_SHARED_S = 3600
"""Requests of this long share a lease, which lives so much longer: a lease for each would be a commit for each."""

_ID = re.compile(r"[!-~]{1,64}")
_DIGEST_BYTES = 32

Answer = TypeVar("Answer", bound="Message")


def check(request_id: str) -> None:
    """Raise InvalidFieldError unless it is at most 64 printable ASCII characters."""
    if request_id and not _ID.fullmatch(request_id):
        reason = "must be at most 64 printable ASCII characters without spaces"
        raise InvalidFieldError(FieldViolation("request_id", reason))


class Leases:
    """The lease that answers are kept under."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lease = 0
        self._granted = 0.0
        self._lock = asyncio.Lock()

    async def current(self) -> int:
        """A lease that lives for KEPT_S from now at least."""
        async with self._lock:
            if not self._lease or time.monotonic() - self._granted > LEASE_SHARED_S:
                granted = time.monotonic()
                self._lease = await self._store.grant_lease(KEPT_S + LEASE_SHARED_S)
                self._granted = granted
            return self._lease

    def lost(self) -> None:
        """The lease has ended before its time: the next one is new."""
        self._lease = 0


class Memory:
    """Remembers the answer to one request with an id."""

    def __init__(self, leases: Leases, tenant: str, method: str, request: Any) -> None:
        """``tenant``: the caller's; "" for the operator. Callers of two tenants may use the same id."""
        self._leases = leases
        self._id: str = request.request_id
        self._key = keys.request(tenant, hashlib.sha256(self._id.encode()).hexdigest())
        content = method.encode() + b"\0" + request.SerializeToString(deterministic=True)
        self._digest = hashlib.sha256(content).digest()

    async def recall(self, draft: Draft, kind: type[Answer]) -> Answer | None:
        """The first answer, if the request came before. Raises RequestIdReusedError if it was another request."""
        entry = await draft.get(self._key)
        if entry is None:
            return None
        if entry.value[:_DIGEST_BYTES] != self._digest:
            raise RequestIdReusedError(self._id)
        answer = kind.FromString(entry.value[_DIGEST_BYTES:])
        settle(answer, entry.revision)
        return answer

    async def keep(self, draft: Draft, answer: Message) -> None:
        """Write the answer with everything else in the draft."""
        value = self._digest + answer.SerializeToString(deterministic=True)
        draft.add([Compare(self._key, 0)], [Put(self._key, value, await self._leases.current())])


def settle(message: Any, revision: int, depth: int = 2) -> None:
    """Put the revision of the commit in place of PENDING in the etags of an answer; 0: nothing was written.

    ``depth``: the objects of an answer are in fields of its fields at most.
    """
    for field, value in message.ListFields():
        if field.name == "etag" and value == str(PENDING):
            message.etag = str(revision) if revision else ""
        elif depth and field.message_type is not None:
            for part in value if field.is_repeated else (value,):
                settle(part, revision, depth - 1)
