"""A recorder for tests of those who tell it of promises: it remembers what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc

from support.ports import free_address

if TYPE_CHECKING:
    from collections.abc import Sequence


class RecorderFake(recording_pb2_grpc.PromiseServiceServicer):
    """One recorder on a free loopback port."""

    def __init__(self) -> None:
        self.address = free_address()
        self.promises: list[recording_pb2.Promise] = []
        """Those that it has taken, in their order."""
        self.messages: list[int] = []
        """Promises of each message that it has taken."""
        self.status: grpc.StatusCode | None = None
        """What it answers instead of taking anything."""
        self.refused: set[str] = set()
        """A message with a promise of one of these calls is refused for good."""
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> RecorderFake:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after :meth:`stop` on the same address again."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        recording_pb2_grpc.add_PromiseServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        """End at once."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    @property
    def sequences(self) -> Sequence[int]:
        """Of the promises that it has taken."""
        return [promise.sequence for promise in self.promises]

    async def ReportPromises(
        self, request: recording_pb2.ReportPromisesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> recording_pb2.ReportPromisesResponse:
        """Takes a message, or refuses it as it is told to."""
        if self.status is not None:
            await context.abort(self.status, "as told")
        for promise in request.promises:
            if promise.facts.call_id in self.refused:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, promise.facts.call_id)
        self.promises.extend(request.promises)
        self.messages.append(len(request.promises))
        return recording_pb2.ReportPromisesResponse()
