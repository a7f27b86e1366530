"""Explain: asks a routing replica why a call would be decided so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_status import rpc_status

from signalbox import rpc
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.errors import NotFoundError, PassedOnError, RoutingUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.provisioning.access import Principal
    from signalbox.settings import ClientTlsSettings

TIMEOUT_S = 2.0


class Explainer:
    """Asks the routing replicas in turn until one answers."""

    def __init__(self, replicas: Sequence[str], tls: ClientTlsSettings) -> None:
        """``replicas``: host:port each, or dns:name:port for all addresses of a name.

        To be called within the event loop. Raises ConfigurationError if a file cannot be read.
        """
        self._channels = [rpc.channel(replica, tls) for replica in replicas]

    async def explain(self, principal: Principal, request: routing_pb2.ExplainRequest) -> routing_pb2.ExplainResponse:
        """What the routing service answers.

        A call to a number of another tenant is to a tenant as one to no number at all. Which number was dialled is the
        routing service's to say, so it is asked first. Raises NotFoundError, PassedOnError, RoutingUnavailableError.
        """
        answer = await self._ask(request)
        if not principal.is_operator and answer.decision.tenant != principal.tenant:
            raise NotFoundError("number", request.request.called)
        return answer

    async def close(self) -> None:
        """Close connections."""
        for channel in self._channels:
            await channel.close()

    async def _ask(self, request: routing_pb2.ExplainRequest) -> routing_pb2.ExplainResponse:
        for channel in self._channels:
            try:
                return await routing_pb2_grpc.RoutingServiceStub(channel).Explain(request, timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    continue
                passed = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has what is needed
                if passed is None:
                    raise
                raise PassedOnError(error.code(), passed) from error
        raise RoutingUnavailableError("no routing service answers")
