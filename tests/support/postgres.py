"""A real PostgreSQL for tests, on a free loopback port, ended by its own pid.

::

    server = PostgresServer.make()
    settings = server.database()     # a new, empty one
    server.kill(); server.start()
    server.remove()

It asks for TLS and a password only of the user ``strict``. Nothing that it wrote outlives a failure of the machine.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.settings.shared import DatabaseSettings

from support.etcd import TlsFiles, make_tls
from support.ports import free_port
from support.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 30.0
USER = "signalbox"
STRICT = "strict"
PASSWORD = "correct horse"
NAME = "postgres.test"
"""Name in the server's certificate."""

_ACCESS = f"""\
host    all {USER} 127.0.0.1/32 trust
hostssl all {STRICT} 127.0.0.1/32 scram-sha-256
"""
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_wal_size": "64MB",
    "ssl": "on",
}


def _program(name: str) -> str:
    """Debian keeps the server's programs out of the path, a directory for each version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return str(found[-1]) if found else shutil.which(name) or name


def _as_whom() -> dict[str, Any]:
    """The server refuses to be root; the package brings a user."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}


@dataclass
class PostgresServer(ServerProcess):
    """One server. Its directory is not below pytest's, which other users may not enter."""

    directory: Path
    tls: TlsFiles
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), init=False, repr=False)

    @classmethod
    def make(cls) -> PostgresServer:
        """A new server, started."""
        directory = Path(tempfile.mkdtemp(prefix="signalbox-postgres-"))
        try:
            server = cls(directory, make_tls(directory / "tls", NAME))
            server._fill()
            return server.start()
        except BaseException:
            shutil.rmtree(directory)
            raise

    def _fill(self) -> None:
        if os.getuid() == 0:
            for path in (self.directory, *self.directory.rglob("*")):
                shutil.chown(path, "postgres", "postgres")
        # An order of letters that is not that of their bytes, as databases of people have.
        command = [_program("initdb"), "-D", str(self.data), "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8"]
        command += ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **_as_whom())
        (self.data / "pg_hba.conf").write_text(_ACCESS)

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.directory / "log"

    def start(self) -> PostgresServer:
        """Start, and wait until it takes connections."""
        command = [_program("postgres"), "-D", str(self.data), "-p", str(self.port)]
        options = {**_OPTIONS, "ssl_cert_file": self.tls.cert, "ssl_key_file": self.tls.key}
        command += [f"--{name}={value}" for name, value in options.items()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **_as_whom())
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"PostgreSQL does not take connections: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)
        return self

    def _ready(self) -> bool:
        # Its last line: by then it takes connections.
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        assert self._process is not None
        return len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"

    def kill(self) -> None:
        """End at once, with all that serve connections; what was written is recovered at the next start."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """End in order, without waiting for those who are connected."""
        self._end(signal.SIGINT)

    def remove(self) -> None:
        """End, and leave nothing behind."""
        self.kill()
        shutil.rmtree(self.directory)

    def sql(self, statement: str, database: str = "postgres") -> None:
        """Run a statement."""
        url = f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"
        command = [_program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, url]
        subprocess.run(command, check=True, capture_output=True)

    def database(self, **settings: Any) -> DatabaseSettings:
        """A new, empty database."""
        name = f"test{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return DatabaseSettings(url=f"postgresql://{USER}@127.0.0.1:{self.port}/{name}", **settings)


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the tests of a module. A test that ends it starts it again."""
    server = PostgresServer.make()
    yield server
    server.remove()
