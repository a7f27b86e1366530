"""Watching etcd, against a scripted server that does what real ones do only in bad moments."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from signalbox.errors import StoreUnavailableError
from signalbox.settings import EtcdSettings
from signalbox.store.base import CompactedError
from signalbox.store.etcd import EtcdStore
from signalbox.store.etcd_connection import Connection
from signalbox.store.etcd_keyspace import KeySpace
from signalbox.store.etcd_watch import Watcher
from signalbox.store.etcdpb import rpc_pb2, rpc_pb2_grpc
from structlog.testing import capture_logs

INTERVAL_S = 0.1

Script = Callable[[rpc_pb2.WatchCreateRequest], AsyncIterator[rpc_pb2.WatchResponse]]


class ScriptedEtcd(rpc_pb2_grpc.WatchServicer, rpc_pb2_grpc.KVServicer):
    """Each watch gets the next script; progress requests are counted, and answered if ``answers`` has any left."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.created: list[rpc_pb2.WatchCreateRequest] = []
        self.answers: list[int] = []
        self.asked = 0
        self.revision = 1_000

    async def Range(self, request: rpc_pb2.RangeRequest, context: Any) -> rpc_pb2.RangeResponse:
        return rpc_pb2.RangeResponse(header=rpc_pb2.ResponseHeader(revision=self.revision))

    async def Txn(self, request: rpc_pb2.TxnRequest, context: Any) -> rpc_pb2.TxnResponse:
        raise NotImplementedError

    async def Compact(self, request: rpc_pb2.CompactionRequest, context: Any) -> rpc_pb2.CompactionResponse:
        raise NotImplementedError

    async def Watch(self, request_iterator: Any, context: Any) -> AsyncIterator[rpc_pb2.WatchResponse]:
        responses: asyncio.Queue[rpc_pb2.WatchResponse | None] = asyncio.Queue()

        async def play(create: rpc_pb2.WatchCreateRequest) -> None:
            async for response in self.scripts.pop(0)(create):
                await responses.put(response)
            await responses.put(None)

        async def listen() -> None:
            async for request in request_iterator:
                if request.HasField("create_request"):
                    self.created.append(request.create_request)
                    playing.append(asyncio.create_task(play(request.create_request)))
                else:
                    self.asked += 1
                    if self.answers:
                        await responses.put(progress(self.answers.pop(0)))

        playing = [asyncio.create_task(listen())]
        try:
            while (response := await responses.get()) is not None:
                yield response
        finally:
            for task in playing:
                task.cancel()


def progress(revision: int, watch_id: int = -1) -> rpc_pb2.WatchResponse:
    return rpc_pb2.WatchResponse(header=rpc_pb2.ResponseHeader(revision=revision), watch_id=watch_id)


def created(**more: Any) -> rpc_pb2.WatchResponse:
    return rpc_pb2.WatchResponse(header=rpc_pb2.ResponseHeader(revision=1_000), created=True, **more)


def events(*revisions: int, fragment: bool = False) -> rpc_pb2.WatchResponse:
    return rpc_pb2.WatchResponse(
        # The header is ahead of the events, as it may be.
        header=rpc_pb2.ResponseHeader(revision=revisions[-1] + 100),
        fragment=fragment,
        events=[
            rpc_pb2.Event(kv=rpc_pb2.KeyValue(key=b"/x/p/%d" % r, mod_revision=r, create_revision=r)) for r in revisions
        ],
    )


def script(*responses: rpc_pb2.WatchResponse, stay: bool = True) -> Script:
    """These responses, then silence, or the end of the stream."""

    async def play(_: rpc_pb2.WatchCreateRequest) -> AsyncIterator[rpc_pb2.WatchResponse]:
        for response in responses:
            yield response
        if stay:
            await asyncio.Event().wait()

    return play


@pytest.fixture
async def etcd() -> AsyncIterator[ScriptedEtcd]:
    """The scripted server; its port is in ``etcd.port``."""
    servicer = ScriptedEtcd()
    server = grpc.aio.server()
    rpc_pb2_grpc.add_WatchServicer_to_server(servicer, server)
    rpc_pb2_grpc.add_KVServicer_to_server(servicer, server)
    servicer.port = server.add_insecure_port("127.0.0.1:0")  # type: ignore[attr-defined]
    await server.start()
    yield servicer
    await server.stop(None)


@pytest.fixture
async def store(etcd: ScriptedEtcd) -> AsyncIterator[EtcdStore]:
    """A store on the scripted server."""
    settings = EtcdSettings(endpoints=[f"127.0.0.1:{etcd.port}"], prefix="/x/", request_timeout_s=0.3)  # type: ignore[attr-defined]
    store = EtcdStore.open(settings, progress_interval_s=INTERVAL_S)
    yield store
    await store.close()


async def take(store: EtcdStore, count: int, from_revision: int = 11) -> list[tuple[list[int], int]]:
    """The first batches of a watch: revisions of the changes, revision reached."""
    taken: list[tuple[list[int], int]] = []
    async with asyncio.timeout(10), aclosing(store.watch("p/", from_revision)) as batches:
        async for changes, revision in batches:
            taken.append(([change.revision for change in changes], revision))
            if len(taken) == count:
                return taken
    raise AssertionError("the watch ended")


async def test_it_resumes_after_the_last_event_and_not_after_the_header(etcd: ScriptedEtcd, store: EtcdStore) -> None:
    etcd.scripts = [
        script(created(), events(11, 12), stay=False),
        script(created(), stay=False),
        script(created(), events(13)),
    ]
    assert await take(store, 2) == [([11, 12], 12), ([13], 13)]
    assert [create.start_revision for create in etcd.created] == [11, 13, 13]
    assert (etcd.created[0].key, etcd.created[0].range_end) == (b"/x/p/", b"/x/p0")


async def test_pieces_of_an_answer_are_put_together(etcd: ScriptedEtcd, store: EtcdStore) -> None:
    etcd.scripts = [script(created(), events(11, 11, fragment=True), events(11, fragment=True), events(11, 12))]
    assert await take(store, 1) == [([11, 11, 11, 11, 12], 12)]


async def test_an_answer_cut_off_between_pieces_is_fetched_again_whole(etcd: ScriptedEtcd, store: EtcdStore) -> None:
    etcd.scripts = [script(created(), events(11, fragment=True), stay=False), script(created(), events(11, 11))]
    assert await take(store, 1) == [([11, 11], 11)]


async def test_a_compacted_watch_is_noticed_though_the_stream_stays_open(etcd: ScriptedEtcd, store: EtcdStore) -> None:
    etcd.scripts = [script(created(), rpc_pb2.WatchResponse(canceled=True, compact_revision=500))]
    with pytest.raises(CompactedError, match="500"):
        await take(store, 1)


async def test_progress_counts_when_the_next_answer_has_not_contradicted_it(
    etcd: ScriptedEtcd, store: EtcdStore
) -> None:
    etcd.scripts = [script(created())]
    etcd.answers = [20, 30, 40]
    assert await take(store, 2) == [([], 20), ([], 30)]


async def test_progress_that_ran_ahead_of_its_events_is_not_believed(etcd: ScriptedEtcd, store: EtcdStore) -> None:
    async def late(_: rpc_pb2.WatchCreateRequest) -> AsyncIterator[rpc_pb2.WatchResponse]:
        yield created()
        yield progress(20)
        yield events(15)
        yield progress(20)
        yield progress(25)
        await asyncio.Event().wait()

    etcd.scripts = [late]
    assert await take(store, 2) == [([15], 15), ([], 20)]


async def test_the_servers_own_notification_is_in_order(etcd: ScriptedEtcd, store: EtcdStore) -> None:
    etcd.scripts = [script(created(), progress(20, watch_id=0))]
    assert await take(store, 1) == [([], 20)]


async def test_a_silent_stream_is_replaced_and_silence_for_good_is_an_error(
    etcd: ScriptedEtcd, store: EtcdStore
) -> None:
    etcd.scripts = [script(), script(created(), events(11)), *[script(created())] * 10]
    taken = asyncio.create_task(take(store, 2))
    with pytest.raises(StoreUnavailableError, match="silent"):
        await taken
    assert [create.start_revision for create in etcd.created[:3]] == [11, 11, 12]
    assert etcd.asked > 2


async def test_a_watch_cancelled_for_another_reason_is_begun_again(etcd: ScriptedEtcd, store: EtcdStore) -> None:
    etcd.scripts = [
        script(created(canceled=True, cancel_reason="etcdserver: permission denied")),
        script(created(), events(11)),
    ]
    assert await take(store, 1) == [([11], 11)]


async def test_a_store_that_has_gone_back_is_noticed_between_streams(etcd: ScriptedEtcd, store: EtcdStore) -> None:
    async def end(_: rpc_pb2.WatchCreateRequest) -> AsyncIterator[rpc_pb2.WatchResponse]:
        yield created()
        yield events(900)
        etcd.revision = 7

    etcd.scripts = [end]
    with pytest.raises(CompactedError, match="has not reached revision 900"):
        await take(store, 2)


async def test_a_slow_consumer_loses_nothing_and_is_not_taken_for_silence(etcd: ScriptedEtcd, store: EtcdStore) -> None:
    etcd.scripts = [script(created(), *(events(n) for n in range(11, 111)))]
    seen: list[int] = []
    async with asyncio.timeout(10), aclosing(store.watch("p/", 11)) as batches:
        async for changes, _ in batches:
            if not seen:
                await asyncio.sleep(1.0)
            seen += [change.revision for change in changes]
            if len(seen) == 100:
                break
    assert seen == list(range(11, 111))
    assert len(etcd.created) == 1


async def test_a_server_that_takes_no_requests_is_an_error() -> None:
    async def header() -> rpc_pb2.ResponseHeader:
        return rpc_pb2.ResponseHeader(revision=1_000)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
        connection = Connection(EtcdSettings(endpoints=[endpoint], request_timeout_s=0.2))
        watcher = Watcher(connection, KeySpace("/x/"), header, INTERVAL_S)
        async with asyncio.timeout(10), aclosing(watcher.watch("p/", 11)) as batches:
            with capture_logs() as logs, pytest.raises(StoreUnavailableError):
                await anext(batches)
        await connection.close()
    assert ("watch_broken", "etcd takes no requests") in [(log["event"], log["error"]) for log in logs]
