"""Real etcd servers for tests: on free loopback ports, each in a directory of its own, ended by their own pid.

::

    server = EtcdServer(tmp_path / "etcd").start()
    ... server.endpoint ...
    server.kill(); server.restart()
    server.stop()

Starting and stopping block; in a coroutine call them through ``asyncio.to_thread``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from support.ports import free_port
from support.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

START_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of a test authority and one certificate for server and client, made by :func:`make_tls`."""

    ca: Path
    cert: Path
    key: Path


def make_tls(directory: Path, name: str = "etcd.test") -> TlsFiles:
    """A throw-away authority and a certificate for the DNS name ``name`` (and no address)."""
    directory.mkdir(parents=True, exist_ok=True)
    files = TlsFiles(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")
    ca_key, request, extensions = directory / "ca-key.pem", directory / "cert.csr", directory / "ext.cnf"
    extensions.write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth,clientAuth\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    signer = ["-CA", files.ca, "-CAkey", ca_key, "-CAcreateserial"]
    for arguments in (
        ["req", "-x509", *new_key, "-subj", "/CN=test authority", "-days", "2", "-keyout", ca_key, "-out", files.ca],
        ["req", *new_key, "-subj", f"/CN={name}", "-keyout", files.key, "-out", request],
        ["x509", "-req", "-in", request, "-extfile", extensions, "-days", "2", *signer, "-out", files.cert],
    ):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    return files


@dataclass
class EtcdServer(ServerProcess):
    """One etcd member. ``peers`` (name → peer port) is given for members of a cluster; see :func:`start_cluster`."""

    data_dir: Path
    name: str = "m1"
    tls: TlsFiles | None = None
    quota_bytes: int = 0
    peers: dict[str, int] | None = None
    extra: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    pid: int = field(default=0, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _health_port: int = field(default_factory=free_port, init=False, repr=False)

    @property
    def endpoint(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the server writes to its standard error."""
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    def start(self, *, wait: bool = True) -> EtcdServer:
        """Start, and wait until it serves unless told otherwise (a member of a cluster serves once it has a quorum)."""
        self._launch()
        if wait:
            try:
                self.wait_healthy()
            except TimeoutError:
                self.kill()
                raise
        return self

    def _launch(self) -> None:
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self.peers = self.peers or {self.name: free_port()}
        scheme = "https" if self.tls else "http"
        command = [
            shutil.which("etcd") or "/usr/bin/etcd",
            f"--name={self.name}",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={scheme}://{self.endpoint}",
            f"--advertise-client-urls={scheme}://{self.endpoint}",
            f"--listen-peer-urls=http://127.0.0.1:{self.peers[self.name]}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{self.peers[self.name]}",
            "--initial-cluster=" + ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in self.peers.items()),
            f"--initial-cluster-token={self.data_dir.parent}",
            f"--listen-metrics-urls=http://127.0.0.1:{self._health_port}",
            "--heartbeat-interval=50",
            f"--election-timeout={250 if len(self.peers) == 1 else 500}",
            f"--quota-backend-bytes={self.quota_bytes}",
            "--logger=zap",
            "--log-outputs=stderr",
            *self.extra,
        ]
        if self.tls:
            command += ["--client-cert-auth", f"--trusted-ca-file={self.tls.ca}"]
            command += [f"--cert-file={self.tls.cert}", f"--key-file={self.tls.key}"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.pid = self._process.pid

    def wait_healthy(self) -> None:
        """Wait until it serves linearizable requests. Raises ChildProcessError if it dies, else TimeoutError."""
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ChildProcessError(f"etcd exited with {self._process.returncode}: {self._log_end()}")
            with (
                contextlib.suppress(urllib.error.URLError, OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{self._health_port}/health", timeout=2) as answer,
            ):
                if b'"true"' in answer.read():
                    return
            time.sleep(0.02)
        raise TimeoutError(f"etcd {self.name} is not healthy: {self._log_end()}")

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])

    def restart(self) -> EtcdServer:
        """Start again on the same ports and data; ends the process first if it still runs."""
        self.stop()
        return self.start()

    def restore(self, backup: Path, directory: Path) -> None:
        """Go on with a backup, as docs/etcd.md says: from a new directory, under a token of its name."""
        self.stop()
        assert self.peers is not None
        peer = f"http://127.0.0.1:{self.peers[self.name]}"
        self.etcdctl(
            *("snapshot", "restore", str(backup), "--name", self.name, "--data-dir", str(directory)),
            *("--initial-cluster", f"{self.name}={peer}", "--initial-advertise-peer-urls", peer),
            *("--initial-cluster-token", directory.name),
        )
        self.data_dir = directory
        self.start()

    def etcdctl(self, *arguments: str) -> str:
        """Run Debian's etcdctl (API version 3) against this member; returns its output."""
        command = ["etcdctl", f"--endpoints={self.endpoint}"]
        if self.tls:
            command += [f"--cacert={self.tls.ca}", f"--cert={self.tls.cert}", f"--key={self.tls.key}"]
        done = subprocess.run(
            [*command, *arguments], env={**os.environ, "ETCDCTL_API": "3"}, check=True, capture_output=True, text=True
        )
        return done.stdout


def start_cluster(directory: Path, members: int = 3) -> list[EtcdServer]:
    """A cluster with a quorum. The caller stops each member."""
    peers = {f"m{n}": free_port() for n in range(1, members + 1)}
    servers = [EtcdServer(directory / name, name=name, peers=peers) for name in peers]
    try:
        for server in servers:
            server.start(wait=False)
        for server in servers:
            server.wait_healthy()
    except BaseException:
        for server in servers:
            server.kill()
        raise
    return servers


@pytest.fixture(scope="module")
def etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """One member, shared by the tests of a module: use a key prefix of your own, and don't stop it."""
    server = EtcdServer(tmp_path_factory.mktemp("etcd") / "m1").start()
    yield server
    server.stop()


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    """One member for one test, which may kill it."""
    server = EtcdServer(tmp_path / "m1").start()
    yield server
    server.stop()


@pytest.fixture
def etcd_cluster(tmp_path: Path) -> Iterator[list[EtcdServer]]:
    """Three members for one test, which may kill them."""
    servers = start_cluster(tmp_path)
    yield servers
    for server in servers:
        server.stop()
