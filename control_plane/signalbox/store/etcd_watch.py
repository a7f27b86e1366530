"""Watching etcd: one stream at a time, begun again where it broke off, with proof of life while nothing changes.

What etcd does, and what is done about it:

* A stream resumes at the revision after the last *event* seen. The revision in a response's header is the store's,
  which may be ahead of the events still under way.
* A compacted watch is created, then cancelled with ``compact_revision``, then the stream stays open and silent.
* etcd before 3.4.25 and 3.5.8 answers a progress request with the store's revision even while events up to it are still
  queued for this stream. So an answer counts only when the next one arrives and no event has contradicted it meanwhile.
* A store that was restored from a copy has gone back: a watch from a revision that it has not reached waits silently.
  Where it has gone on to other changes it would send these. So every answer must be of the cluster that was first.
* A frozen member, or a network that swallows packets, keeps the connection open: silence ends a stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from contextlib import aclosing
from typing import TYPE_CHECKING

import grpc
import structlog

from signalbox.errors import SignalboxError, StoreUnavailableError
from signalbox.store.base import Change, CompactedError
from signalbox.store.etcd_connection import to_error
from signalbox.store.etcdpb import rpc_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from signalbox.store.base import Batch
    from signalbox.store.etcd_connection import Connection
    from signalbox.store.etcd_keyspace import KeySpace

    WatchCall = grpc.aio.StreamStreamCall[rpc_pb2.WatchRequest, rpc_pb2.WatchResponse]

logger = structlog.get_logger(__name__)

RETRY_S = 0.1
RETRY_MAX_S = 1.0
QUEUE = 16
"""Responses taken from the stream ahead of the consumer."""


class Watcher:
    """Makes the watches of one store."""

    def __init__(
        self,
        connection: Connection,
        keyspace: KeySpace,
        header: Callable[[], Awaitable[rpc_pb2.ResponseHeader]],
        progress_interval_s: float,
    ) -> None:
        """``header`` is that of a linearizable read."""
        self._connection = connection
        self._keyspace = keyspace
        self._header = header
        self._interval_s = progress_interval_s
        self._silence_s = 2 * progress_interval_s + connection.timeout_s
        self._away_s = 2 * connection.timeout_s

    async def watch(self, prefix: str, from_revision: int, cluster: int = 0) -> AsyncGenerator[Batch, None]:
        """See Store."""
        loop = asyncio.get_running_loop()
        heard = loop.time()
        next_revision = from_revision
        retry_s = RETRY_S
        while True:
            try:
                # This also gets a new token, if the old one is refused.
                header = await self._header()
                cluster = cluster or header.cluster_id
                _check_cluster(header, cluster)
                if header.revision + 1 < next_revision:
                    raise CompactedError(f"etcd has not reached revision {next_revision - 1}: it has gone back")
                async with aclosing(self._stream(prefix, next_revision, cluster)) as stream:
                    async for changes, revision in stream:
                        if changes:
                            next_revision = changes[-1].revision + 1
                        yield changes, revision
                        heard, retry_s = loop.time(), RETRY_S
            except StoreUnavailableError as error:
                if loop.time() - heard > self._away_s:
                    raise
                logger.info("watch_broken", prefix=prefix, next_revision=next_revision, error=str(error))
            await asyncio.sleep(retry_s * random.uniform(0.5, 1.5))
            retry_s = min(2 * retry_s, RETRY_MAX_S)

    async def _stream(self, prefix: str, from_revision: int, cluster: int) -> AsyncGenerator[Batch, None]:
        """The batches of one stream. Raises StoreUnavailableError when it breaks, CompactedError."""
        reached = from_revision - 1
        promised = 0
        events: list[rpc_pb2.Event] = []
        async with aclosing(self._responses(prefix, from_revision)) as responses:
            async for response in responses:
                _check_cluster(response.header, cluster)
                events += response.events
                if response.fragment or response.created:
                    continue
                if events:
                    changes = [self._change(event) for event in events]
                    events = []
                    if changes[0].revision <= promised:
                        promised = 0
                    reached = max(reached, changes[-1].revision)
                    yield changes, reached
                    continue
                # A notification of the server's own accord (with our watcher's number) is in order with the events.
                kept = response.header.revision if response.watch_id >= 0 else promised
                promised = response.header.revision
                if kept:
                    reached = max(reached, kept)
                    yield (), reached

    def _change(self, event: rpc_pb2.Event) -> Change:
        entry = self._keyspace.entry(event.kv)
        return Change(entry.key, entry if event.type == rpc_pb2.Event.PUT else None, entry.revision)

    async def _responses(self, prefix: str, from_revision: int) -> AsyncGenerator[rpc_pb2.WatchResponse, None]:
        """What the server sends, with a request for its progress at every interval."""
        stubs, metadata, _ = await self._connection.ready()
        call = stubs.watch.Watch(metadata=metadata)
        received: asyncio.Queue[rpc_pb2.WatchResponse | SignalboxError] = asyncio.Queue(QUEUE)
        # A read of its own task: cancelling a read, as a time limit does, would cancel the whole stream.
        reader = asyncio.create_task(_read(call, received), name="etcd-watch")
        start, end = self._keyspace.bounds(prefix)
        create = rpc_pb2.WatchCreateRequest(
            key=start, range_end=end, start_revision=from_revision, progress_notify=True, fragment=True
        )
        loop = asyncio.get_running_loop()
        try:
            await self._send(call, rpc_pb2.WatchRequest(create_request=create))
            heard = loop.time()
            ask_at = heard + self._silence_s
            while True:
                try:
                    async with asyncio.timeout_at(ask_at):
                        response = await received.get()
                except TimeoutError:
                    if loop.time() - heard >= self._silence_s:
                        raise StoreUnavailableError("etcd is silent") from None
                    await self._send(call, rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))
                    ask_at = loop.time() + self._interval_s
                    continue
                if isinstance(response, SignalboxError):
                    raise response
                if response.canceled:
                    raise _why(response)
                if response.created:
                    ask_at = loop.time()
                yield response
                heard = loop.time()
        except StoreUnavailableError:
            self._connection.failed(stubs)
            raise
        finally:
            reader.cancel()
            call.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _send(self, call: WatchCall, request: rpc_pb2.WatchRequest) -> None:
        try:
            async with asyncio.timeout(self._connection.timeout_s):
                # If the stream has ended the reader tells why.
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await call.write(request)
        except TimeoutError:
            raise StoreUnavailableError("etcd takes no requests") from None


async def _read(
    call: WatchCall,
    received: asyncio.Queue[rpc_pb2.WatchResponse | SignalboxError],
) -> None:
    """Move responses from the stream into the queue; the last element says why the stream ended."""
    try:
        async for response in call:
            await received.put(response)
        await received.put(StoreUnavailableError("etcd ended the watch"))
    except grpc.aio.AioRpcError as error:
        ended = to_error(error)
        ended.__cause__ = error
        await received.put(ended)


def _why(response: rpc_pb2.WatchResponse) -> SignalboxError:
    """The error of a cancelled watch."""
    if response.compact_revision:
        return CompactedError(f"etcd keeps nothing before revision {response.compact_revision}")
    return StoreUnavailableError(f"etcd cancelled the watch: {response.cancel_reason}")


def _check_cluster(header: rpc_pb2.ResponseHeader, cluster: int) -> None:
    """Raise CompactedError if an answer is of another cluster."""
    if header.cluster_id != cluster:
        raise CompactedError(
            f"etcd is cluster {header.cluster_id:x} now, not {cluster:x}: it was restored or exchanged"
        )
