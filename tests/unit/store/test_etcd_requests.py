"""Answers of etcd that real servers hardly ever give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from signalbox.errors import StoreUnavailableError
from signalbox.settings import EtcdSettings
from signalbox.store.etcd import EtcdStore
from signalbox.store.etcdpb import rpc_pb2, rpc_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class OddEtcd(rpc_pb2_grpc.KVServicer, rpc_pb2_grpc.LeaseServicer):
    """Forgets every revision before it can be read, and ends renewals without an answer."""

    def __init__(self) -> None:
        self.ranges = 0
        self.failures: list[grpc.StatusCode] = []

    async def Range(self, request: rpc_pb2.RangeRequest, context: Any) -> rpc_pb2.RangeResponse:
        self.ranges += 1
        if self.failures:
            await context.abort(self.failures.pop(0), "as told")
        if request.revision:
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "compacted")
        return rpc_pb2.RangeResponse(header=rpc_pb2.ResponseHeader(revision=7))

    async def Txn(self, request: rpc_pb2.TxnRequest, context: Any) -> rpc_pb2.TxnResponse:
        return await context.abort(self.failures.pop(0), "as told")

    async def Compact(self, request: rpc_pb2.CompactionRequest, context: Any) -> rpc_pb2.CompactionResponse:
        raise NotImplementedError

    async def LeaseGrant(self, request: rpc_pb2.LeaseGrantRequest, context: Any) -> rpc_pb2.LeaseGrantResponse:
        raise NotImplementedError

    async def LeaseRevoke(self, request: rpc_pb2.LeaseRevokeRequest, context: Any) -> rpc_pb2.LeaseRevokeResponse:
        raise NotImplementedError

    async def LeaseKeepAlive(
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[rpc_pb2.LeaseKeepAliveResponse]:
        async for _ in request_iterator:
            return
        yield rpc_pb2.LeaseKeepAliveResponse()


@pytest.fixture
async def etcd() -> AsyncIterator[OddEtcd]:
    """The odd server; its port is in ``etcd.port``."""
    servicer = OddEtcd()
    server = grpc.aio.server()
    rpc_pb2_grpc.add_KVServicer_to_server(servicer, server)
    rpc_pb2_grpc.add_LeaseServicer_to_server(servicer, server)
    servicer.port = server.add_insecure_port("127.0.0.1:0")  # type: ignore[attr-defined]
    await server.start()
    yield servicer
    await server.stop(None)


@pytest.fixture
async def store(etcd: OddEtcd) -> AsyncIterator[EtcdStore]:
    """A store on the odd server."""
    store = EtcdStore.open(EtcdSettings(endpoints=[f"127.0.0.1:{etcd.port}"]))  # type: ignore[attr-defined]
    yield store
    await store.close()


async def test_revisions_that_are_always_forgotten_end_a_listing(store: EtcdStore) -> None:
    with pytest.raises(StoreUnavailableError, match="forgets revisions faster"):
        await store.list("p/")


async def test_a_renewal_without_an_answer_is_an_error(store: EtcdStore) -> None:
    with pytest.raises(StoreUnavailableError, match="without an answer"):
        await store.keep_lease(1)


async def test_a_read_is_tried_three_times(etcd: OddEtcd, store: EtcdStore) -> None:
    etcd.failures = [grpc.StatusCode.UNAVAILABLE] * 2
    assert await store.revision() == 7
    assert etcd.ranges == 3
    etcd.failures = [grpc.StatusCode.UNAVAILABLE] * 4
    with pytest.raises(StoreUnavailableError):
        await store.revision()
    assert etcd.ranges == 6


async def test_a_commit_is_tried_once_for_it_may_have_been_done(etcd: OddEtcd, store: EtcdStore) -> None:
    etcd.failures = [grpc.StatusCode.UNAVAILABLE] * 2
    with pytest.raises(StoreUnavailableError):
        await store.commit([], [])
    assert len(etcd.failures) == 1
