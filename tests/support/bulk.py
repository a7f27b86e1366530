"""The bulk service in this process over any store, and rows for it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
from signalbox import rpc
from signalbox.api.provisioning.v1 import bulk_pb2, bulk_pb2_grpc
from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.bulk import BulkService
from signalbox.provisioning.collection import utc_now
from signalbox.provisioning.credentials import Authenticator

from support import provisioning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from signalbox.provisioning.collection import Clock
    from signalbox.store.base import Store

Stub = bulk_pb2_grpc.BulkServiceStub
OUTCOMES = {value: name.removeprefix("IMPORT_OUTCOME_").lower() for name, value in bulk_pb2.ImportOutcome.items()}


class Site:
    """The provisioning service and the bulk service over one store."""

    def __init__(self, store: Store, service: BulkService, channel: grpc.aio.Channel) -> None:
        self.store = store
        self.service = service
        self.bulk: Any = Stub(channel)
        self.rules: Any = provisioning.Stub(channel)

    async def results(
        self, rows: Iterable[bulk_pb2.NumberRow], size: int = 1000, bulk: Any = None, **options: Any
    ) -> list[bulk_pb2.ImportResult]:
        """What becomes of rows that are sent so many at once."""
        results: list[bulk_pb2.ImportResult] = []
        async for response in self.responses(list(rows), size, bulk, **options):
            results += response.results
            assert response.rows_done == len(results)
        return results

    async def responses(
        self, rows: Sequence[bulk_pb2.NumberRow], size: int = 1000, bulk: Any = None, **options: Any
    ) -> AsyncIterator[bulk_pb2.ImportNumbersResponse]:
        """The responses to rows, each request sent when the one before is answered.

        For grpc.aio tells no status of a stream that ends while a request is on its way.
        """
        call = (bulk or self.bulk).ImportNumbers()
        sent = 0
        for request in requests(rows, size, **options):
            await call.write(request)
            sent, done = sent + len(request.rows), sent
            while done < sent:
                response = await call.read()
                if response is grpc.aio.EOF:
                    break
                done = response.rows_done
                yield response
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF

    async def outcomes(self, rows: Iterable[bulk_pb2.NumberRow], **arguments: Any) -> list[str]:
        """The names of the outcomes of rows."""
        return [OUTCOMES[result.outcome] for result in await self.results(rows, **arguments)]

    async def exported(self, **fields: Any) -> list[bulk_pb2.NumberRow]:
        """All rows of an export."""
        call = self.bulk.ExportNumbers(bulk_pb2.ExportNumbersRequest(**fields))
        return [row async for response in call for row in response.rows]


@asynccontextmanager
async def serving(store: Store, clock: Clock = utc_now, **arguments: Any) -> AsyncIterator[Site]:
    """Clients of both services over a store; their callers are the operator unless they show an API key."""
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    provisioning.service(store, clock).add_to(server)
    authenticator = Authenticator(store, clock, anonymous=Principal(OPERATOR))
    bulk = BulkService(store, authenticator, clock=clock, **arguments)
    bulk.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Site(store, bulk, channel)
    finally:
        await server.stop(None)


def requests(
    rows: Sequence[bulk_pb2.NumberRow], size: int = 1000, **options: Any
) -> Iterable[bulk_pb2.ImportNumbersRequest]:
    """The requests of an import."""
    given = bulk_pb2.ImportOptions(**options)
    yield bulk_pb2.ImportNumbersRequest(options=given, rows=rows[:size])
    for start in range(size, len(rows), size):
        yield bulk_pb2.ImportNumbersRequest(rows=rows[start : start + size])


def row(digits: str, *lines: str, tenant: str = "acme", **fields: Any) -> bulk_pb2.NumberRow:
    """A number that rings lines one after the other; those that are digits come with it, as telephone numbers."""
    stages = [types_pb2.DialStage(lines=[f"t{line}" if line.isdigit() else line]) for line in lines]
    return bulk_pb2.NumberRow(
        number=types_pb2.Number(**{"number": digits, "tenant": tenant, "stages": stages, **fields}),
        lines=[types_pb2.Line(id=f"t{line}", user=line) for line in lines if line.isdigit()],
    )


def many(count: int, tenants: int = 1) -> list[bulk_pb2.NumberRow]:
    """Consecutive numbers of tenants t0, t1 and so on, each with a line of its own."""
    each = -(-count // tenants)
    return [row(f"400{n:07d}", f"138{n:08d}", tenant=f"t{n // each}") for n in range(count)]
