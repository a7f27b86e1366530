"""Asks the sidecar of the media node that captures a call to pause, or to go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
from grpc_status import rpc_status

from signalbox import rpc
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.api.routing.v1 import routing_pb2
from signalbox.errors import MediaNodeUnavailableError, NotFoundError, NotRecordedError
from signalbox.store import codec, keys

if TYPE_CHECKING:
    from signalbox.settings import ClientTlsSettings
    from signalbox.store.base import Store

DEADLINE_S = 3.0

_WEIGHT = {MediaNodeUnavailableError: 0, NotRecordedError: 1, NotFoundError: 2}
"""Which of several nodes' answers counts: the least. A mistake of ours comes before all of them."""


class Captures:
    """The media nodes, as they are registered."""

    def __init__(self, store: Store, tls: ClientTlsSettings, deadline_s: float = DEADLINE_S) -> None:
        """``tls``: of connections to sidecars. Raises ConfigurationError if one of its files cannot be read."""
        if tls.enabled:
            rpc.channel_credentials(tls)
        self._store = store
        self._tls = tls
        self._deadline_s = deadline_s

    async def set_paused(self, node: int, call_id: str, paused: bool) -> None:
        """Stop capturing a call at the node of this number, or go on; when this returns it is so.

        Raises NotRecordedError, which is the node's word, MediaNodeUnavailableError, and what the store raises.
        """
        for found in await self._nodes():
            if found.number == node:
                if not found.captures_address:
                    raise MediaNodeUnavailableError(node, f"{found.id} captures nothing")
                try:
                    return await self._ask(found, call_id, paused)
                except NotFoundError as error:
                    raise NotRecordedError(call_id) from error
        raise MediaNodeUnavailableError(node, "it is not registered")

    async def set_paused_anywhere(self, call_id: str, paused: bool) -> None:
        """The same at whichever node has the call: all are asked.

        Raises NotFoundError if none has it, NotRecordedError if one has it and does not record it, and
        MediaNodeUnavailableError if one that does not answer may have it.
        """
        asked = [node for node in await self._nodes() if node.captures_address]
        if not asked:
            raise MediaNodeUnavailableError(0, "none is registered that captures")
        answers = await asyncio.gather(*(self._ask(one, call_id, paused) for one in asked), return_exceptions=True)
        if None in answers:
            return
        errors = [error for error in answers if error is not None]
        raise min(errors, key=lambda error: _WEIGHT.get(type(error), -1))

    async def _ask(self, node: routing_pb2.MediaNode, call_id: str, paused: bool) -> None:
        """Raises NotFoundError, NotRecordedError, MediaNodeUnavailableError."""
        # A connection for each: orders are rare, and one that is kept would wait before it tries a node that is back.
        async with rpc.channel(node.captures_address, self._tls) as channel:
            request = recording_pb2.SetPausedRequest(call_id=call_id, paused=paused)
            try:
                await recording_pb2_grpc.CaptureServiceStub(channel).SetPaused(request, timeout=self._deadline_s)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    raise NotFoundError("call", call_id) from error
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    raise NotRecordedError(call_id) from error
                status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has what is needed
                why = status.message if status is not None else str(error.details())
                told = f"{node.captures_address}: {why} ({error.code().name})"
                raise MediaNodeUnavailableError(node.number, told) from error

    async def _nodes(self) -> list[routing_pb2.MediaNode]:
        """Those that are registered."""
        entries = (await self._store.list(keys.LIVE_MEDIA)).entries
        return [codec.decode(routing_pb2.MediaNode, entry) for entry in entries]
