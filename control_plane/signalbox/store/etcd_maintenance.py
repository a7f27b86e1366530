"""The care of etcd's members, one by one: their sizes, defragmentation, copies of their data.

Sizes: a member's file only ever grows, up to its quota (--quota-backend-bytes), where the whole cluster raises the
alarm NOSPACE and refuses writes. What compaction makes free stays in the file and is used again; defragmentation alone
makes the file smaller. So there is room for what is not in use, as long as the file itself stays away from the quota.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from signalbox.errors import StoreUnavailableError
from signalbox.store.etcd_connection import Connection, to_error
from signalbox.store.etcdpb import rpc_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from signalbox.settings import EtcdSettings
    from signalbox.store.etcd_connection import Metadata, Stubs

DEFRAGMENT_S = 600.0
"""Longest time for one member: some seconds for each GiB in use on a good disk."""
CATCH_UP_S = 120.0
CATCH_UP_ENTRIES = 1_000
"""A member this little behind the others is with them."""
LOOK_S = 0.2
_DIGEST_BYTES = 32


class DamagedCopyError(Exception):
    """A copy is not what the member had."""


@dataclass(frozen=True)
class Member:
    """How a member is."""

    endpoint: str
    version: str
    size_bytes: int
    """Its file."""
    used_bytes: int
    """Of it what is not free."""
    quota_bytes: int
    """Its quota, if it tells it (3.6); else 0."""
    leads: bool
    has_leader: bool
    applied: int
    """Index of the last entry of the log that it has carried out."""
    revision: int
    alarms: tuple[str, ...]


class Maintenance:
    """All members that the settings name. To be made within the event loop."""

    def __init__(self, settings: EtcdSettings) -> None:
        """Raises ConfigurationError."""
        self._timeout_s = settings.request_timeout_s
        self._connections = {
            endpoint: Connection(settings.model_copy(update={"endpoints": [endpoint]}))
            for endpoint in settings.endpoints
        }

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Of all members."""
        return tuple(self._connections)

    async def status(self, endpoint: str) -> Member:
        """How a member is. Raises StoreUnavailableError."""

        async def attempt(stubs: Stubs, metadata: Metadata) -> rpc_pb2.StatusResponse:
            return await stubs.maintenance.Status(rpc_pb2.StatusRequest(), timeout=self._timeout_s, metadata=metadata)

        told = await self._connections[endpoint].call(attempt)
        return Member(
            endpoint,
            told.version,
            told.dbSize,
            told.dbSizeInUse,
            told.dbSizeQuota,
            leads=told.leader == told.header.member_id,
            has_leader=bool(told.leader),
            applied=told.raftAppliedIndex,
            revision=told.header.revision,
            alarms=tuple(name for name in ("NOSPACE", "CORRUPT") if any(name in error for error in told.errors)),
        )

    async def all(self) -> dict[str, Member | StoreUnavailableError]:
        """How all members are."""

        async def one(endpoint: str) -> Member | StoreUnavailableError:
            try:
                return await self.status(endpoint)
            except StoreUnavailableError as error:
                return error

        return dict(zip(self.endpoints, await asyncio.gather(*map(one, self.endpoints)), strict=True))

    async def defragment(self, endpoint: str) -> None:
        """Defragment a member and wait until it is with the others again. It serves nobody meanwhile.

        Raises StoreUnavailableError.
        """

        async def attempt(stubs: Stubs, metadata: Metadata) -> rpc_pb2.DefragmentResponse:
            request = rpc_pb2.DefragmentRequest()
            return await stubs.maintenance.Defragment(request, timeout=DEFRAGMENT_S, metadata=metadata)

        await self._connections[endpoint].call(attempt, repeatable=False)
        await self._with_the_others(endpoint)

    async def _with_the_others(self, endpoint: str) -> None:
        end = time.monotonic() + CATCH_UP_S
        while time.monotonic() < end:
            members = await self.all()
            own = members[endpoint]
            applied = [member.applied for member in members.values() if isinstance(member, Member)]
            if isinstance(own, Member) and own.has_leader and own.applied >= max(applied) - CATCH_UP_ENTRIES:
                return
            await asyncio.sleep(LOOK_S)
        raise StoreUnavailableError(f"{endpoint} was defragmented and has not caught up in {CATCH_UP_S:.0f} s")

    async def snapshot(self, endpoint: str) -> AsyncGenerator[bytes, None]:
        """A copy of a member's data, piece by piece: what ``etcdctl snapshot save`` writes.

        Raises StoreUnavailableError, and DamagedCopyError at the end if the pieces are not what the member sent.
        """
        stubs, metadata, _ = await self._connections[endpoint].ready()
        digest = hashlib.sha256()
        held = b""
        try:
            async for piece in stubs.maintenance.Snapshot(rpc_pb2.SnapshotRequest(), metadata=metadata):
                yield piece.blob
                # The last bytes are the digest of all others.
                held += piece.blob
                digest.update(held[:-_DIGEST_BYTES])
                held = held[-_DIGEST_BYTES:]
        except grpc.aio.AioRpcError as error:
            raise to_error(error) from error
        if held != digest.digest():
            raise DamagedCopyError(f"the copy of {endpoint} is not complete")

    async def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            await connection.close()


class Quota:
    """Knows whether etcd has room for more, from looking at its members once in a while."""

    LOOK_S = 1.0
    """Time between two looks."""
    KNOWN_S = 5.0
    """What was seen this long ago is still believed while a look takes long, because a member does not answer."""
    FILE_FULL = 0.95
    """Share of the quota that no file should come above."""

    def __init__(
        self,
        maintenance: Maintenance,
        quota_bytes: int,
        full: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``quota_bytes``: that of members that do not tell it. ``full``: share of it that may be in use."""
        self._maintenance = maintenance
        self._quota = quota_bytes
        self._full = full
        self._now = now
        self._looked = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._reason = ""

    async def lacking(self) -> str:
        """Why nothing more should be written, for people; "" if there is room, or no member answers."""
        age = self._now() - self._looked
        if age >= self.LOOK_S and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look(), name="etcd-quota")
        if age >= self.KNOWN_S and self._looking is not None:
            await asyncio.shield(self._looking)
        return self._reason

    async def _look(self) -> None:
        members = (await self._maintenance.all()).values()
        reasons = [self._lacks(member) for member in members if isinstance(member, Member)]
        self._reason = next(filter(None, reasons), "")
        self._looked = self._now()

    def _lacks(self, member: Member) -> str:
        quota = member.quota_bytes or self._quota
        if "NOSPACE" in member.alarms:
            return f"etcd has the alarm NOSPACE ({member.endpoint}): compact, defragment, and switch it off"
        if member.used_bytes > self._full * quota:
            share = f"{mebibytes(member.used_bytes)} of {mebibytes(quota)} MiB"
            return f"etcd has {share} of its quota in use ({member.endpoint})"
        if member.size_bytes > self.FILE_FULL * quota:
            share = f"{mebibytes(member.size_bytes)} MiB, its quota is {mebibytes(quota)} MiB"
            return f"etcd's file is of {share} ({member.endpoint}): defragment it"
        return ""


def mebibytes(size: int) -> int:
    """Bytes in MiB, rounded up."""
    return -(-size // 1024**2)
