"""A real redis (or valkey) for one test, on a free loopback port, ended by its own pid."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from support.ports import free_port
from support.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_TIMEOUT_S = 10.0


@dataclass
class RedisServer(ServerProcess):
    """Keeps nothing on disk, unless ``durable``: then what it has acknowledged outlives :meth:`kill`."""

    directory: Path
    port: int = field(default_factory=free_port)
    durable: bool = False
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> RedisServer:
        """Start, and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        assert binary is not None
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(self.directory)]
        options += ["--appendonly", "yes" if self.durable else "no"]
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([binary, *options], stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self.directory / "redis.log").read_text()
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(100).startswith(b"+PONG"):
                        return self
            except OSError:
                time.sleep(0.01)
        raise TimeoutError("redis does not answer")


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One server for one test, which may stop it."""
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.stop()
