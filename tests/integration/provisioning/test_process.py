"""The process: mutual TLS, health, reflection, metrics, etcd away and back, graceful stop."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from signalbox import pki
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from support.etcd import EtcdServer
from support.provisioning import Refusal, Stub

from .conftest import ProvisioningProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUEST_TIMEOUT_S = 1.0


def status_of(stub: Stub, timeout_s: float = 10.0) -> tuple[grpc.StatusCode, str]:
    """What GetTenant of a tenant that does not exist ends with: code, and reason if the service gave one."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetTenant(pb.GetTenantRequest(id="nobody"), timeout=timeout_s)
    if rpc_status.from_call(caught.value) is None:
        return caught.value.code(), ""
    refusal = Refusal()
    refusal.take(caught.value)
    return refusal.code, refusal.reason


def test_a_client_of_the_authority_is_served(provisioning: ProvisioningProcess) -> None:
    with provisioning.channel() as channel:
        tenant = Stub(channel).CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")), timeout=10)
    assert tenant.etag
    assert '"client": "client"' in provisioning.log.read_text(), "the log tells who wrote, by the certificate's name"


def test_a_certificate_says_whose_it_is(provisioning: ProvisioningProcess) -> None:
    request = pb.ListTenantsRequest()
    with provisioning.channel("signalbox://operator") as channel:
        Stub(channel).ListTenants(request, timeout=10)
    with provisioning.channel("signalbox://tenants/nobody/reader") as channel:
        assert status_of(Stub(channel)) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
        with pytest.raises(grpc.RpcError) as caught:
            Stub(channel).ListTenants(request, timeout=10)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    with provisioning.channel("signalbox://tenants/nobody") as channel:
        assert status_of(Stub(channel)) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_REFUSED")


def test_without_a_certificate_a_key_is_needed(provisioning: ProvisioningProcess) -> None:
    """On a port of its own: TLS of the server alone."""
    key = types_pb2.ApiKey(id="script", role=types_pb2.ROLE_OPERATOR)
    with provisioning.channel() as channel:
        secret = Stub(channel).CreateApiKey(pb.CreateApiKeyRequest(api_key=key), timeout=10).secret
    credentials = grpc.ssl_channel_credentials(provisioning.client.ca.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{provisioning.keys_port}", credentials) as channel:
        assert status_of(Stub(channel)) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_REFUSED")
        bearer = (("authorization", f"Bearer {secret}"),)
        Stub(channel).ListTenants(pb.ListTenantsRequest(), metadata=bearer, timeout=10)
    assert secret not in provisioning.log.read_text()


def test_no_certificate_is_refused(provisioning: ProvisioningProcess) -> None:
    credentials = grpc.ssl_channel_credentials(provisioning.client.ca.read_bytes())
    with grpc.secure_channel(provisioning.address, credentials) as channel:
        assert status_of(Stub(channel))[0] is grpc.StatusCode.UNAVAILABLE


def test_no_tls_is_refused(provisioning: ProvisioningProcess) -> None:
    with grpc.insecure_channel(provisioning.address) as channel:
        assert status_of(Stub(channel))[0] is grpc.StatusCode.UNAVAILABLE


def test_another_authoritys_certificate_is_refused(provisioning: ProvisioningProcess, tmp_path: Path) -> None:
    stranger = pki.issue(tmp_path, "client", server=False)
    credentials = grpc.ssl_channel_credentials(
        provisioning.client.ca.read_bytes(), stranger.key.read_bytes(), stranger.cert.read_bytes()
    )
    with grpc.secure_channel(provisioning.address, credentials) as channel:
        assert status_of(Stub(channel))[0] is grpc.StatusCode.UNAVAILABLE


def test_a_client_refuses_a_server_of_another_authority(provisioning: ProvisioningProcess, tmp_path: Path) -> None:
    authority = pki.make_authority(tmp_path)
    with grpc.secure_channel(
        provisioning.address,
        grpc.ssl_channel_credentials(
            authority.read_bytes(), provisioning.client.key.read_bytes(), provisioning.client.cert.read_bytes()
        ),
    ) as channel:
        assert status_of(Stub(channel))[0] is grpc.StatusCode.UNAVAILABLE


def test_health_and_reflection(provisioning: ProvisioningProcess) -> None:
    with provisioning.channel() as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "signalbox.api.provisioning.v1.ProvisioningService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]), timeout=10)
        names = {service.name for answer in answers for service in answer.list_services_response.service}
        assert "signalbox.api.provisioning.v1.ProvisioningService" in names


def test_metrics_and_liveness(provisioning: ProvisioningProcess) -> None:
    with provisioning.channel() as channel:
        assert status_of(Stub(channel)) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    metrics = provisioning.get("/metrics")
    assert 'signalbox_provisioning_requests_total{code="NOT_FOUND",method="GetTenant"}' in metrics
    assert 'signalbox_provisioning_request_seconds_count{method="GetTenant"}' in metrics
    assert "heartbeat_age_s" in provisioning.get("/healthz")


@pytest.fixture
def own(tmp_path: Path, own_etcd: EtcdServer) -> Iterator[ProvisioningProcess]:
    """A service of one's own, with an etcd that may be killed."""
    process = ProvisioningProcess(tmp_path, own_etcd.endpoint, request_timeout_s=REQUEST_TIMEOUT_S)
    yield process
    process.end()


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_etcd_away_and_back(own: ProvisioningProcess, own_etcd: EtcdServer, how: str) -> None:
    """Killed it refuses connections, frozen it is silent: both are UNAVAILABLE within the time limit."""
    own.start()
    own.wait_until(ready=True)
    with own.channel() as channel:
        stub = Stub(channel)
        getattr(own_etcd, how)()
        began = time.monotonic()
        assert status_of(stub) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        # Tries and their pauses come on top of the limit for one request.
        assert time.monotonic() - began < 2 * REQUEST_TIMEOUT_S + 1
        own.wait_until(ready=False)
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
        own_etcd.restart() if how == "kill" else own_etcd.resume()
        own.wait_until(ready=True)
        assert status_of(stub)[0] is grpc.StatusCode.NOT_FOUND


def test_many_writers_while_etcd_is_silent_all_end_in_time(own: ProvisioningProcess, own_etcd: EtcdServer) -> None:
    """They wait for each other at the tenant's fence: not each may take the whole time limit."""
    own.start()
    own.wait_until(ready=True)
    with own.channel() as channel:
        stub = Stub(channel)
        stub.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")), timeout=10)
        own_etcd.pause()
        began = time.monotonic()
        calls = [
            stub.CreateLine.future(
                pb.CreateLineRequest(line=types_pb2.Line(id=f"line-{n}", tenant="acme", user="100", host="192.0.2.7")),
                timeout=30,
            )
            for n in range(20)
        ]
        assert {call.code() for call in calls} == {grpc.StatusCode.UNAVAILABLE}
        assert time.monotonic() - began < 2 * REQUEST_TIMEOUT_S + 2
        own_etcd.resume()


def test_etcd_away_at_the_start(tmp_path: Path) -> None:
    etcd = EtcdServer(tmp_path / "m1")
    process = ProvisioningProcess(tmp_path, etcd.endpoint, request_timeout_s=REQUEST_TIMEOUT_S)
    try:
        process.start()
        told = process.wait_until(ready=False)
        assert told["store_reachable"] is False
        etcd.start()
        process.wait_until(ready=True)
    finally:
        process.end()
        etcd.stop()


def test_a_stop_ends_in_order(own: ProvisioningProcess) -> None:
    own.start()
    own.wait_until(ready=True)
    with own.channel() as channel:
        assert status_of(Stub(channel))[0] is grpc.StatusCode.NOT_FOUND
        assert own.terminate() == 0
        assert status_of(Stub(channel))[0] is grpc.StatusCode.UNAVAILABLE
    assert "Traceback" not in own.log.read_text()


def test_a_port_that_is_taken_ends_the_start(own: ProvisioningProcess) -> None:
    with socket.create_server(("127.0.0.1", own.port)):
        own.start()
        assert own.process is not None
        assert own.process.wait(20) == 2
    assert f"cannot listen on {own.address}" in own.log.read_text()


def test_without_tls_it_does_not_start() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "signalbox", "provisioning"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "provisioning.tls.ca_file" in done.stderr
