"""Endpoints as gRPC targets, and statuses as errors."""

from __future__ import annotations

import grpc
import pytest
from signalbox.errors import ConfigurationError, SignalboxError, StoreFullError, StoreUnavailableError
from signalbox.store.base import CompactedError, LeaseLostError
from signalbox.store.etcd_connection import targets, to_error


@pytest.mark.parametrize(
    ("endpoints", "one_name", "expected"),
    [
        (["192.0.2.1:2379"], True, ["ipv4:192.0.2.1:2379"]),
        (["192.0.2.1:2379", "192.0.2.2:2379"], True, ["ipv4:192.0.2.1:2379,192.0.2.2:2379"]),
        (["192.0.2.1:2379", "192.0.2.2:2379"], False, ["ipv4:192.0.2.1:2379", "ipv4:192.0.2.2:2379"]),
        (["[2001:db8::1]:2379", "[2001:db8::2]:1"], True, ["ipv6:[2001:db8::1]:2379,[2001:db8::2]:1"]),
        (["etcd.example:2379"], True, ["dns:///etcd.example:2379"]),
        (
            ["a.example:1", "192.0.2.1:1", "b.example:1"],
            True,
            ["dns:///a.example:1", "dns:///b.example:1", "ipv4:192.0.2.1:1"],
        ),
    ],
)
def test_targets(endpoints: list[str], one_name: bool, expected: list[str]) -> None:
    assert targets(endpoints, one_name=one_name) == expected


@pytest.mark.parametrize("endpoint", ["", "etcd", "etcd:", ":2379", "https://etcd:2379", "etcd:2379/", "etcd:port"])
def test_what_is_not_host_and_port_is_a_wrong_setting(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match=r"etcd\.endpoints: .* must "):
        targets([endpoint], one_name=True)


def test_no_endpoints_are_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="none given"):
        targets([], one_name=True)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, StoreUnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, StoreUnavailableError),
        (grpc.StatusCode.PERMISSION_DENIED, StoreUnavailableError),
        (grpc.StatusCode.UNIMPLEMENTED, StoreUnavailableError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, StoreFullError),
        (grpc.StatusCode.OUT_OF_RANGE, CompactedError),
        (grpc.StatusCode.NOT_FOUND, LeaseLostError),
    ],
)
def test_statuses(code: grpc.StatusCode, expected: type[SignalboxError]) -> None:
    error = to_error(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "the details"))
    assert type(error) is expected
    assert str(error) == f"etcd: {code.name}: the details"
