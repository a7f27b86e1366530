"""Puts rules into a cluster through the provisioning API, as any provisioning system would."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import grpc
from google.protobuf import duration_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from signalbox.address import split
from signalbox.api.provisioning.v1 import provisioning_pb2, provisioning_pb2_grpc
from signalbox.api.types.v1 import types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from signalbox_local.cluster import Cluster

TIMEOUT_S = 5.0


class Rules:
    """The provisioning API of one cluster. Every method may raise grpc.RpcError."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)

    @classmethod
    @contextlib.contextmanager
    def of(cls, cluster: Cluster) -> Iterator[Rules]:
        """Rules over a connection that ends with the block."""
        with cluster.provisioning_channel() as channel:
            yield cls(channel)

    def tenant(self, id: str) -> types_pb2.Tenant:
        """Create a tenant."""
        request = provisioning_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(id=id))
        return self._stub.CreateTenant(request, timeout=TIMEOUT_S)

    def trunk(self, id: str, source_addresses: Sequence[str]) -> types_pb2.Trunk:
        """Create a trunk."""
        trunk = types_pb2.Trunk(id=id, source_addresses=source_addresses)
        return self._stub.CreateTrunk(provisioning_pb2.CreateTrunkRequest(trunk=trunk), timeout=TIMEOUT_S)

    def line(self, tenant: str, id: str, address: str, user: str = "") -> types_pb2.Line:
        """Create a line at ``host:port``; user part: the id by default."""
        host, port = split(address)
        line = types_pb2.Line(tenant=tenant, id=id, user=user or id, host=host, port=port)
        return self._stub.CreateLine(provisioning_pb2.CreateLineRequest(line=line), timeout=TIMEOUT_S)

    def number(
        self,
        tenant: str,
        number: str,
        stages: Sequence[Sequence[str]],
        *,
        ring_s: int = 30,
        anchored: bool = True,
        concurrent_calls: int = 0,
    ) -> types_pb2.Number:
        """Create a number that rings these lines, stage after stage.

        ``anchored``: RTP goes through an rtpengine. ``concurrent_calls``: so many at once, 0: any number.
        """
        value = types_pb2.Number(
            number=number,
            tenant=tenant,
            stages=_stages(stages, ring_s),
            media=types_pb2.MEDIA_MODE_ANCHOR if anchored else types_pb2.MEDIA_MODE_BYPASS,
            limits=types_pb2.Limits(concurrent_calls=concurrent_calls),
        )
        return self._stub.CreateNumber(provisioning_pb2.CreateNumberRequest(number=value), timeout=TIMEOUT_S)

    def get_number(self, number: str) -> types_pb2.Number:
        """A number as it is stored."""
        return self._stub.GetNumber(provisioning_pb2.GetNumberRequest(number=number), timeout=TIMEOUT_S)

    def change(
        self, number: types_pb2.Number, stages: Sequence[Sequence[str]], *, ring_s: int = 30
    ) -> types_pb2.Number:
        """Change what a number rings; ABORTED if somebody else has changed it since it was read."""
        value = types_pb2.Number(number=number.number, etag=number.etag, stages=_stages(stages, ring_s))
        request = provisioning_pb2.UpdateNumberRequest(number=value, update_mask=FieldMask(paths=["stages"]))
        return self._stub.UpdateNumber(request, timeout=TIMEOUT_S)


@contextlib.contextmanager
def existing_is_fine() -> Iterator[None]:
    """Within: what is to be created and exists already is left as it is."""
    try:
        yield
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise


def _stages(stages: Sequence[Sequence[str]], ring_s: int) -> list[types_pb2.DialStage]:
    ring_time = duration_pb2.Duration(seconds=ring_s)
    return [types_pb2.DialStage(lines=lines, ring_time=ring_time) for lines in stages]
