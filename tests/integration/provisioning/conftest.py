"""The provisioning process with real etcd and mutual TLS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox import pki
from support.etcd import etcd_server, own_etcd  # noqa: F401  (fixtures)
from support.ports import free_port
from support.provisioning import Stub
from support.routing_process import RoutingProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 20.0


def environment() -> dict[str, str]:
    """The environment of processes: without settings of whoever runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SIGNALBOX_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(sys.path)}


@dataclass
class ProvisioningProcess:
    """``signalbox provisioning`` on free ports, logging into a file."""

    directory: Path
    etcd: str
    request_timeout_s: float = 3.0
    settings: str = ""
    """More of the section [provisioning], in TOML."""
    database: str = ""
    """Where it is, if not in a file of its own."""
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.port, self.metrics_port, self.keys_port = free_port(), free_port(), free_port()
        self.routing_port = free_port()
        """Where the replica would be that it asks for explanations."""
        self.log = self.directory / "provisioning.log"
        self.server = pki.issue(self.directory / "pki", "provisioning", server=True)
        self.client = pki.issue(self.directory / "pki", "client", server=False)

    @property
    def address(self) -> str:
        """gRPC host:port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start; does not wait."""
        config = self.directory / "signalbox.toml"
        config.write_text(f"""
            [etcd]
            endpoints = ["{self.etcd}"]
            request_timeout_s = {self.request_timeout_s}
            [objects]
            location = "{self.directory / "objects"}"
            master_key_file = "{self.directory / "objects.key"}"
            [database]
            url = "{self.database or f"sqlite:///{self.directory / 'signalbox.db'}"}"
            [provisioning]
            listen = "{self.address}"
            keys_listen = "127.0.0.1:{self.keys_port}"
            routing = ["127.0.0.1:{self.routing_port}"]
            metrics.listen = "127.0.0.1:{self.metrics_port}"
            audit.directory = "{self.directory / "audit"}"
            tls.ca_file = "{self.server.ca}"
            tls.cert_file = "{self.server.cert}"
            tls.key_file = "{self.server.key}"
            {self.settings}
        """)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "signalbox", "provisioning", "--config", str(config)],
                stdout=log,
                stderr=log,
                env=environment(),
            )

    def wait_until(self, ready: bool) -> dict[str, object]:
        """Wait until /readyz says so; returns what it says."""
        deadline = monotonic() + DEADLINE_S
        while monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=2) as answer:
                    told = json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    told = json.load(error)
            except OSError:
                told = {}
            if told.get("ready") is ready:
                return told  # type: ignore[no-any-return]
            sleep(0.05)
        raise TimeoutError(f"not ready={ready}: {self.log.read_text()}")

    def get(self, path: str) -> str:
        """A page of the side door."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=5) as answer:
            return answer.read().decode()  # type: ignore[no-any-return]

    def channel(self, identity: str = "") -> grpc.Channel:
        """A channel with the client's certificate, or one of another identity."""
        name = f"client-{identity.replace('/', '-')}" if identity else "client"
        client = pki.issue(self.directory / "pki", name, server=False, identity=identity)
        ca, cert, key = (file.read_bytes() for file in (client.ca, client.cert, client.key))
        return grpc.secure_channel(self.address, grpc.ssl_channel_credentials(ca, key, cert))

    def stub(self, channel: grpc.Channel) -> Stub:
        """A client on it."""
        return Stub(channel)

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def kill(self) -> None:
        """As a crash does (SIGKILL)."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def provisioning(tmp_path_factory: pytest.TempPathFactory, etcd_server) -> Iterator[ProvisioningProcess]:  # type: ignore[no-untyped-def]  # noqa: F811
    """A running service, shared by the tests of a module."""
    process = ProvisioningProcess(tmp_path_factory.mktemp("provisioning"), etcd_server.endpoint)
    process.start()
    process.wait_until(ready=True)
    yield process
    process.end()


@pytest.fixture(scope="module")
def directory(provisioning: ProvisioningProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with the cluster file of the provisioning service and a routing replica."""
    directory = tmp_path_factory.mktemp("cluster")
    routing = RoutingProcess(directory, provisioning.etcd, port=provisioning.routing_port)
    client = provisioning.client
    cluster = {
        "version": 1,
        "name": "test",
        "processes": [],
        "grpc": {"routing": [routing.address], "provisioning": [provisioning.address]},
        "credentials": {"ca": str(client.ca), "cert": str(client.cert), "key": str(client.key)},
    }
    (directory / "var").mkdir()
    (directory / "var" / "cluster.json").write_text(json.dumps(cluster))
    routing.start()
    try:
        routing.wait_ready()
        yield directory
    finally:
        routing.stop()
