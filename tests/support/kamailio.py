"""A real Kamailio on free loopback ports, as a process of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signalbox import eventrow
from signalbox.edge import kamailio_config
from signalbox.settings import EdgeSettings, KamailioSettings

from support.ports import free_port
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from signalbox.api.events.v1 import events_pb2

    from support.sip_agent import Call

TOKEN = "token-for-tests-0123456789"
CLUSTER_KEY = "cluster-key-for-tests-0123456789"
START_LIMIT_S = 15.0
WORKER_HOST = "127.0.0.7"
"""Where workers with voice call from."""
_numbers = itertools.count(1)


class Kamailio:
    """One proxy process, rendered from settings, with its files in a directory of its own."""

    def __init__(
        self,
        *,
        id: str = "edge-1",
        host: str = "127.0.0.1",
        static_destination: str | None = None,
        trunks: Iterable[tuple[str, str]] = (("127.0.0.1", "trunk-a"),),
        disabled_trunks: Iterable[str] = (),
        workers: Iterable[str] = (),
        peers: Iterable[str] = (),
        media_nodes: Iterable[tuple[int, str]] = (),
        cluster_keys: Sequence[str] = (CLUSTER_KEY,),
        transactions_stay_ms: int | None = None,
        **settings: Any,
    ) -> None:
        """``transactions_stay_ms``: so long beyond their end, instead of what the script says."""
        self.directory = Path(tempfile.mkdtemp(prefix="sbk-"))
        self.host, self.port, self.route_port, self.ask_port = host, free_port(host), free_port(), free_port()
        self.settings = EdgeSettings(
            id=id,
            ask_listen=f"127.0.0.1:{self.ask_port}",
            kamailio=KamailioSettings(
                listen=[f"{host}:{self.port}"],
                route_listen=f"127.0.0.1:{self.route_port}",
                runtime_dir=self.directory,
                event_dir=self.directory / "events",
                **{"shared_memory_mb": 256, **settings},
            ),
        )
        self.config = kamailio_config.write(
            self.settings, token=TOKEN, cluster_keys=cluster_keys, static_destination=static_destination
        )
        if transactions_stay_ms is not None:
            with self.config.open("a") as config:
                config.write(f'modparam("tm", "wt_timer", {transactions_stay_ms})\n')
        addresses = [(1, address, tag) for address, tag in trunks] + [
            (2, address, "off") for address in disabled_trunks
        ]
        addresses += [(3, address, "_voice") for address in workers]
        self.table(
            "address", [f"{n}:{g}:{a.replace(':', chr(92) + ':')}:32:0:{t}" for n, (g, a, t) in enumerate(addresses, 1)]
        )
        self.table("domain", [f"{n}:{peer}:{peer}:0" for n, peer in enumerate(peers, 1)])
        escaped = [(number, url.replace(":", "\\:")) for number, url in media_nodes]
        self.table("rtpengine", [f"{n}:{number}:{url}:1:0:0" for n, (number, url) in enumerate(escaped, 1)])
        self.log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def table(self, name: str, rows: list[str]) -> None:
        """Write a db_text table. db_text reads it again only if it is a second younger than before."""
        path = self.directory / "tables" / name
        moment = path.stat().st_mtime + 1
        path.write_text("\n".join([kamailio_config.TABLES[name][0], *rows]) + "\n")
        os.utime(path, (moment, moment))

    def start(self, *, marked: bool = True) -> None:
        """Start it and wait until it answers RPC. ``marked``: set the sidecar's mark of the state it has."""
        command = kamailio_config.command(self.settings, self.config)
        command[:1] = os.environ.get("KAMAILIO", "kamailio").split()  # another version, perhaps in a chroot
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        limit = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.rpc("core.uptime")
                break
            except OSError:
                if self._process.poll() is not None or time.monotonic() > limit:
                    raise AssertionError(f"Kamailio did not start:\n{self.log.read_text()[-3000:]}") from None
                time.sleep(0.05)
        if marked:
            self.rpc("htable.sets", "cfg", "version", "test")

    def __enter__(self) -> Kamailio:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it and remove its files."""
        self.kill(signal.SIGTERM)
        shutil.rmtree(self.directory)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the process and all its workers."""
        if self._process is None:
            return
        if number == signal.SIGTERM:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pids(self) -> list[int]:
        """Process ids of all its processes."""
        assert self._process is not None
        text = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [self._process.pid, *map(int, text.split())]

    def rpc(self, method: str, *params: Any) -> Any:
        """Call a JSON-RPC method on the control socket. Raises OSError if there is none."""
        path = self.directory / f"c{next(_numbers)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(str(path))
            try:
                client.settimeout(5)
                request = {"jsonrpc": "2.0", "method": method, "params": list(params), "id": 1}
                client.sendto(json.dumps(request).encode(), str(self.directory / "rpc.sock"))
                reply = json.loads(client.recv(1 << 20))
            finally:
                path.unlink()
        assert "result" in reply, reply
        return reply["result"]

    def counter(self, name: str) -> int:
        """One of our counters."""
        return int(self.rpc("cnt.get", "signalbox", name))

    def transactions(self) -> int:
        """Transactions in memory."""
        return int(self.rpc("tm.stats")["current"])

    def rows(self) -> list[str]:
        """All event rows so far, in order of time."""
        rows = [row for file in (self.directory / "events").iterdir() for row in file.read_text().splitlines()]
        return sorted(rows, key=lambda row: row.rsplit("|", 3)[1])

    def events(self, call: Call) -> list[events_pb2.CallEvent]:
        """The events of a call, in order of time."""
        return [eventrow.parse(row) for row in self.rows() if f"|{call.call_id}|" in row]

    async def events_until(self, call: Call, last: str) -> list[events_pb2.CallEvent]:
        """The events of a call, once the last of them is of that kind: a row follows its message by microseconds."""
        await until(lambda: any(event.WhichOneof("event") == last for event in self.events(call)))
        return self.events(call)
