"""etcd as the store: an asyncio client of the parts of its v3 API that we need.

Written against etcd 3.4 and 3.5; what they do unexpectedly is noted where it is dealt with.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from signalbox.errors import StoreUnavailableError
from signalbox.store.base import (
    MAX_OPERATIONS,
    PROGRESS_INTERVAL_S,
    CompactedError,
    CompareFailedError,
    Entry,
    LeaseLostError,
    Listing,
    Put,
    Revisions,
    check_commit,
)
from signalbox.store.etcd_connection import Connection, Metadata, Stubs
from signalbox.store.etcd_keyspace import KeySpace
from signalbox.store.etcd_watch import Watcher
from signalbox.store.etcdpb import rpc_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from signalbox.settings import EtcdSettings
    from signalbox.store.base import AtOrAfter, Batch, Compare, Delete

FIRST_PAGE_KEYS = 128
PAGE_KEYS = 2_000
PAGE_REVISIONS = 5_000
PAGE_BYTES = 1_000_000
"""About the size of an answer while listing: small enough that taking it apart does not hold the event loop up."""

LIST_ATTEMPTS = 3
PARALLEL_PIECES = 4


class EtcdStore:
    """See Store. Keys are kept below ``settings.prefix``."""

    def __init__(self, connection: Connection, keyspace: KeySpace, progress_interval_s: float) -> None:
        self._connection = connection
        self._timeout_s = connection.timeout_s
        self._keys = keyspace
        self._watcher = Watcher(connection, keyspace, self._header, progress_interval_s)

    @classmethod
    def open(cls, settings: EtcdSettings, *, progress_interval_s: float = PROGRESS_INTERVAL_S) -> EtcdStore:
        """A store that connects when it is first used, so that etcd may be away at the start.

        To be called within the event loop. Raises ConfigurationError for wrong endpoints or files that can't be read.
        """
        return cls(Connection(settings), KeySpace(settings.prefix), progress_interval_s)

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        return (await self.get_many([key]))[0]

    async def get_many(self, keys: Sequence[str | AtOrAfter], revision: int = 0) -> list[Entry | None]:
        """See SeekingStore."""
        if len(keys) > MAX_OPERATIONS:
            raise ValueError(f"{len(keys)} keys at once, at most {MAX_OPERATIONS}")
        found = await self._ranges([self._single(key, revision) for key in keys])
        return [self._keys.entry(answer.kvs[0]) if answer.kvs else None for answer in found]

    def _single(self, key: str | AtOrAfter, revision: int) -> rpc_pb2.RangeRequest:
        if isinstance(key, str):
            return rpc_pb2.RangeRequest(key=self._keys.key(key), revision=revision)
        # Forwards only: to read backwards etcd fetches the whole range with its values, and then sorts it.
        start, end = self._keys.bounds(key.prefix)
        return rpc_pb2.RangeRequest(key=max(start, self._keys.key(key.key)), range_end=end, limit=1, revision=revision)

    async def revision(self) -> int:
        """See Store."""
        return (await self._header()).revision

    async def cluster(self) -> int:
        """See Store. etcd makes it of its members' addresses and of the token that the cluster was made with."""
        return (await self._header()).cluster_id

    async def _header(self) -> rpc_pb2.ResponseHeader:
        # Any linearizable read has it; that of a key which cannot exist costs least.
        return (await self._range(rpc_pb2.RangeRequest(key=self._keys.key("\0")))).header

    async def list(self, prefix: str) -> Listing:
        """See Store."""
        return await self._read(prefix)

    async def revisions(self, prefix: str) -> Revisions:
        """See Store."""
        found = await self._read(prefix, keys_only=True)
        return Revisions({entry.key: entry.revision for entry in found.entries}, found.revision)

    async def _read(self, prefix: str, *, keys_only: bool = False) -> Listing:
        for _ in range(LIST_ATTEMPTS):
            try:
                return await self._read_at_once(prefix, keys_only)
            except CompactedError as error:
                # The revision was forgotten while its pages were read: begin again at a new one.
                cause = error
        raise StoreUnavailableError(f"etcd forgets revisions faster than {prefix} can be read") from cause

    async def _read_at_once(self, prefix: str, keys_only: bool) -> Listing:
        """Read all pages at the revision of the first answer, some ranges at a time."""
        revision = await self.revision()
        pieces = self._keys.pieces(prefix)
        found: dict[int, Sequence[Entry]] = {}
        pending = iter(enumerate(pieces))

        async def worker() -> None:
            for number, (start, end) in pending:
                found[number] = await self._read_piece(start, end, revision, keys_only)

        tasks = [asyncio.create_task(worker(), name="etcd-list") for _ in range(PARALLEL_PIECES)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return Listing([entry for number in range(len(pieces)) for entry in found[number]], revision)

    async def _read_piece(self, start: bytes, end: bytes, revision: int, keys_only: bool) -> Sequence[Entry]:
        entries: list[Entry] = []
        limit = PAGE_REVISIONS if keys_only else FIRST_PAGE_KEYS
        more = True
        while more:
            request = rpc_pb2.RangeRequest(
                key=start, range_end=end, limit=limit, revision=revision, keys_only=keys_only
            )
            answer = await self._range(request)
            entries += map(self._keys.entry, answer.kvs)
            more = answer.more
            if more:
                start = answer.kvs[-1].key + b"\0"
                if not keys_only:
                    size = sum(len(kv.value) for kv in answer.kvs) or 1
                    limit = max(1, min(PAGE_KEYS, len(answer.kvs) * PAGE_BYTES // size))
        return entries

    async def page(self, prefix: str, after: str, limit: int, revision: int = 0) -> Sequence[Entry]:
        """See Store."""
        start = self._keys.key(after) + b"\0"
        pieces = [(max(first, start), end) for first, end in self._keys.pieces(prefix) if start < end]
        entries: list[Entry] = []
        take = 1
        # One piece may fill the page, or all of them may be nearly empty: ask for twice as many each time.
        while pieces and len(entries) < limit:
            wanted, pieces = pieces[:take], pieces[take:]
            take = min(2 * take, MAX_OPERATIONS)
            left = limit - len(entries)
            ranges = [
                rpc_pb2.RangeRequest(key=first, range_end=end, limit=left, revision=revision) for first, end in wanted
            ]
            for answer in await self._ranges(ranges):
                entries += map(self._keys.entry, answer.kvs)
        return entries[:limit]

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        """See Store."""
        check_commit(compares, writes)
        request = rpc_pb2.TxnRequest(
            compare=[
                rpc_pb2.Compare(
                    key=self._keys.key(compare.key),
                    target=rpc_pb2.Compare.MOD,
                    result=rpc_pb2.Compare.EQUAL,
                    mod_revision=compare.revision,
                )
                for compare in compares
            ],
            success=[self._write(write) for write in writes],
        )
        # Not repeated: the first try may have been done though its answer was lost.
        answer = await self._txn(request, repeatable=False)
        if not answer.succeeded:
            raise CompareFailedError(f"one of {', '.join(compare.key for compare in compares)} has changed")
        return answer.header.revision

    def _write(self, write: Put | Delete) -> rpc_pb2.RequestOp:
        key = self._keys.key(write.key)
        if isinstance(write, Put):
            return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=write.value, lease=write.lease))
        return rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key))

    def watch(self, prefix: str, from_revision: int, cluster: int = 0) -> AsyncGenerator[Batch, None]:
        """See Store."""
        return self._watcher.watch(prefix, from_revision, cluster)

    async def grant_lease(self, ttl_s: int) -> int:
        """See Store."""
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl_s)

        async def attempt(stubs: Stubs, metadata: Metadata) -> rpc_pb2.LeaseGrantResponse:
            return await stubs.lease.LeaseGrant(request, timeout=self._timeout_s, metadata=metadata)

        # A lease whose answer was lost runs out by itself.
        return (await self._connection.call(attempt)).ID

    async def keep_lease(self, lease: int) -> None:
        """See Store."""

        async def attempt(stubs: Stubs, metadata: Metadata) -> int:
            call = stubs.lease.LeaseKeepAlive(timeout=self._timeout_s, metadata=metadata)
            try:
                await call.write(rpc_pb2.LeaseKeepAliveRequest(ID=lease))
                await call.done_writing()
                async for answer in call:
                    return answer.TTL
            finally:
                call.cancel()
            raise StoreUnavailableError("etcd ended the renewal of a lease without an answer")

        if await self._connection.call(attempt) <= 0:
            raise LeaseLostError(f"lease {lease} has ended")

    async def revoke_lease(self, lease: int) -> None:
        """See Store."""
        request = rpc_pb2.LeaseRevokeRequest(ID=lease)

        async def attempt(stubs: Stubs, metadata: Metadata) -> rpc_pb2.LeaseRevokeResponse:
            return await stubs.lease.LeaseRevoke(request, timeout=self._timeout_s, metadata=metadata)

        with contextlib.suppress(LeaseLostError):
            await self._connection.call(attempt)

    async def close(self) -> None:
        """See Store."""
        await self._connection.close()

    async def _range(self, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        async def attempt(stubs: Stubs, metadata: Metadata) -> rpc_pb2.RangeResponse:
            return await stubs.kv.Range(request, timeout=self._timeout_s, metadata=metadata)

        return await self._connection.call(attempt)

    async def _ranges(self, requests: Sequence[rpc_pb2.RangeRequest]) -> Sequence[rpc_pb2.RangeResponse]:
        """Several reads at one revision."""
        request = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_range=request) for request in requests])
        return [response.response_range for response in (await self._txn(request)).responses]

    async def _txn(self, request: rpc_pb2.TxnRequest, *, repeatable: bool = True) -> rpc_pb2.TxnResponse:
        async def attempt(stubs: Stubs, metadata: Metadata) -> rpc_pb2.TxnResponse:
            return await stubs.kv.Txn(request, timeout=self._timeout_s, metadata=metadata)

        return await self._connection.call(attempt, repeatable=repeatable)
