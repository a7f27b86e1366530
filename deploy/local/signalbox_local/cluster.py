"""The whole cluster on loopback as one object: start it, find it, break it, end it.

::

    with Cluster(directory) as cluster:
        channel = cluster.provisioning_channel()
        cluster.kill("routing-1")
        cluster.start_process("routing-1")
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import grpc

from signalbox_local import interrupts, manifest, ports, probes
from signalbox_local.cpu import group_cpu_seconds
from signalbox_local.layout import Layout, Options, plan
from signalbox_local.manifest import Kind, Manifest, ProcessEntry
from signalbox_local.runner import ProcessState, Program, Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

READY_TIMEOUT_S = 30.0
POLL_S = 0.05
LOG_TAIL_LINES = 25

_PROBES: dict[Kind, tuple[Callable[[str], probes.Facts], str]] = {
    "etcd": (probes.etcd, "client"),
    "redis": (probes.redis, "redis"),
    "rtpengine": (probes.rtpengine, "ng"),
    "media": (probes.readyz, "metrics"),
    "recorder": (probes.readyz, "metrics"),
    "routing": (probes.readyz, "metrics"),
    "ivr": (probes.readyz, "metrics"),
    "provisioning": (probes.readyz, "metrics"),
    "kamailio": (probes.sip, "sip"),
    "edge": (probes.readyz, "metrics"),
}
"""How a kind of process is asked whether it is ready, and at which of its addresses."""


class ClusterError(Exception):
    """The cluster could not be started, or a process of it is not what it should be."""


class NotReadyError(ClusterError):
    """A process did not become ready; says which one, what it last answered and how its log ends."""

    def __init__(self, entry: ProcessEntry, saw: str) -> None:
        self.name = entry.name
        super().__init__(f"{entry.name} did not become ready: {saw}\n--- end of {entry.log}\n{log_tail(entry)}")


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


class Cluster:
    """A cluster whose files are all below ``directory``.

    It ends with the process that started it, however that ends, unless it was started ``detached``.
    """

    caller_host = "127.0.0.2"
    """Address that callers have: a trunk's."""
    line_host = "127.0.0.3"
    """Address that lines have."""
    media_host = "127.0.0.1"
    """Address for the sound of telephones."""
    ready_timeout_s = READY_TIMEOUT_S
    """All are ready so long after the start, and one after its own, seconds."""

    def __init__(self, directory: Path, options: Options | None = None) -> None:
        self.directory = directory.resolve()
        self.options = options or Options()
        self.entries: dict[str, ProcessEntry] = {}
        """Processes by name; their pids are in :meth:`states`."""
        self.credentials: dict[str, str] = {}
        self._ports: ports.Addresses | None = None
        self._runner = Runner(self.directory / "run")

    @classmethod
    def attach(cls, directory: Path) -> Cluster | None:
        """The cluster that runs in ``directory``, or None. Raises ManifestError for a damaged ``cluster.json``."""
        found = manifest.read(directory)
        self = cls(directory)
        if found is None or not self.running:
            return None
        self.options = Options(name=found.name)
        self.entries = {entry.name: entry for entry in found.processes}
        self.credentials = dict(found.credentials)
        return self

    @property
    def running(self) -> bool:
        """True while the runner of the cluster's processes lives, even if all of them were killed."""
        return self._runner.running

    # --- all of it ---------------------------------------------------------------------------------------------

    def start(self, *, detached: bool = False, on_ready: Callable[[str, float], None] | None = None) -> None:
        """Start everything and wait until it is ready; ``on_ready`` is told each name and the seconds it took.

        Raises ClusterError, NotReadyError, RunnerError; nothing is left running then.
        """
        if self.running:
            raise ClusterError(f"a cluster is running in {self.directory}")
        manifest.remove(self.directory)
        try:
            self._start(detached, on_ready or (lambda name, seconds: None))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process; returns when nothing is left. Again is no error. Interrupts wait until it is done."""
        with interrupts.deferred():
            manifest.remove(self.directory)
            self._runner.shutdown()
            if self._ports is not None:
                self._ports.release()
                self._ports = None

    def remaining(self) -> list[int]:
        """Pids of all processes of this cluster and of their children."""
        return self._runner.remaining()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, detached: bool, on_ready: Callable[[str, float], None]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._ports = self._reserve()
        layout = self._plan(self._ports)
        self.entries = {process.entry.name: process.entry for process in layout.processes}
        self.credentials = dict(layout.credentials)
        programs = [Program(p.entry.name, p.command, Path(p.entry.log)) for p in layout.processes]
        for program in programs:
            program.log.unlink(missing_ok=True)
        self._runner.launch(programs, detached=detached)
        self._start_processes(on_ready)
        self._write_manifest()
        if detached:
            # The ports in use now keep others away; the lock would end with us anyway.
            self._ports.release()

    def _start_processes(self, on_ready: Callable[[str, float], None]) -> None:
        """All at once, for each copes with what is not there yet; but Kamailio as the last, so that it finds the tables
        that its edge has written: it loads new media nodes at most every 10 s."""
        begun = time.monotonic()
        deadline = begun + self.ready_timeout_s

        def tell(name: str) -> None:
            on_ready(name, time.monotonic() - begun)

        edges, proxies = self.names("edge"), self.names("kamailio")
        others = [name for name in self.entries if name not in {*edges, *proxies}]
        for name in (*others, *edges):
            self._runner.start(name)
        self._wait(others, deadline, tell)
        self._wait(edges, deadline, lambda name: None, self._ask_for_tables)
        for name in proxies:
            self._runner.start(name)
        self._wait((*proxies, *edges), deadline, tell)

    # --- one process -------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """SIGKILL to the process and its children; returns when they are gone."""
        self._runner.kill(name)
        self._write_manifest()

    def stop_process(self, name: str) -> None:
        """SIGTERM; returns when the process has ended."""
        self._runner.stop(name)
        self._write_manifest()

    def start_process(self, name: str, *, wait: bool = True) -> None:
        """Start one that is down, and wait until it is ready. Raises NotReadyError."""
        self._runner.start(name)
        self._write_manifest()
        if wait:
            self.wait_ready(name, timeout_s=self.ready_timeout_s)

    def wait_ready(self, *names: str, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until these (none named: all) are ready. Raises NotReadyError."""
        self._wait(list(names or self.entries), time.monotonic() + timeout_s, lambda name: None)

    def is_ready(self, name: str) -> bool:
        """True if the process says so when asked now."""
        try:
            self._ask(self.entries[name])
        except probes.NotReadyError:
            return False
        return True

    def wait_for_rules(self, revision: int | str, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until every replica has the rules of an etcd revision (an etag will do), and every proxy what follows
        from them for it: trunks, peers, media nodes. Raises ClusterError with what was seen last."""
        deadline = time.monotonic() + timeout_s
        while True:
            replicas = {name: self.facts(name) for name in self.names("routing")}
            edges = {name: self.facts(name).get("snapshot_version") for name in self.names("edge")}
            behind = [name for name, facts in replicas.items() if _number(facts.get("rule_revision")) < int(revision)]
            if not behind and len({facts.get("edge_version") for facts in replicas.values()} | {*edges.values()}) == 1:
                return
            if time.monotonic() > deadline:
                raise ClusterError(f"revision {revision} has not reached everybody: {replicas} {edges}")
            time.sleep(POLL_S)

    def address(self, name: str, what: str) -> str:
        """``host:port`` of a process: ``address("kamailio-1", "sip")``."""
        return self.entries[name].addresses[what]

    def pid(self, name: str) -> int:
        """Process id; 0: down."""
        return self._runner.state(name).pid

    def states(self) -> dict[str, ProcessState]:
        """All processes by name."""
        return self._runner.states()

    def log(self, name: str) -> Path:
        """Log file of a process."""
        return Path(self.entries[name].log)

    def journal(self, name: str) -> Path:
        """Journal directory of an edge, or a worker with voice."""
        journal = self.entries[name].journal
        if journal is None:
            raise ClusterError(f"{name} keeps no journal")
        return Path(journal)

    def facts(self, name: str) -> probes.Facts:
        """What one of our processes says of itself at /readyz, ready or not; empty if it does not answer."""
        return probes.facts(self.address(name, "metrics"))

    def cpu_seconds(self, name: str) -> float:
        """Processor time that a process and its children have used since they were started, seconds."""
        return group_cpu_seconds(self.pid(name))

    def names(self, kind: Kind) -> list[str]:
        """Names of the processes of a kind, in order."""
        return [entry.name for entry in self.entries.values() if entry.kind == kind]

    # --- gRPC --------------------------------------------------------------------------------------------------

    def provisioning_channel(self) -> grpc.Channel:
        """A channel to the provisioning service as the client whose credentials ``cluster.json`` names."""
        ca, cert, key = (Path(self.credentials[name]).read_bytes() for name in ("ca", "cert", "key"))
        return grpc.secure_channel(self.address("provisioning", "grpc"), grpc.ssl_channel_credentials(ca, key, cert))

    def routing_channel(self, name: str = "routing-1") -> grpc.Channel:
        """A channel to a routing replica."""
        return grpc.insecure_channel(self.address(name, "grpc"))

    # --- inside ------------------------------------------------------------------------------------------------

    def _reserve(self) -> ports.Addresses:
        """Addresses that nobody else uses."""
        return ports.reserve()

    def _plan(self, addresses: ports.Addresses) -> Layout:
        """What is to be started, and how."""
        return plan(self.directory, self.options, addresses)

    def _ask(self, entry: ProcessEntry) -> None:
        """Is it ready? Raises probes.NotReadyError."""
        probe, what = _PROBES[entry.kind]
        probe(entry.addresses[what])

    def _ask_for_tables(self, entry: ProcessEntry) -> None:
        """The edge has what the replicas tell edges now, so it has written the tables that its proxy starts with."""
        wanted = {self.facts(name).get("edge_version") for name in self.names("routing")}
        has = probes.facts(entry.addresses["metrics"]).get("wanted_version")
        if {has} != wanted:
            raise probes.NotReadyError(f"it has the snapshot {has}, the routing replicas tell {wanted}")

    def _wait(
        self,
        names: Iterable[str],
        deadline: float,
        on_ready: Callable[[str], None],
        ask: Callable[[ProcessEntry], None] | None = None,
    ) -> None:
        ask = ask or self._ask
        waiting = dict.fromkeys(names, "not asked yet")
        while waiting:
            states = self._runner.states()
            for name in list(waiting):
                entry = self.entries[name]
                if not states[name].pid:
                    raise NotReadyError(entry, f"it ended ({states[name].description})")
                try:
                    ask(entry)
                except probes.NotReadyError as error:
                    waiting[name] = str(error)
                    if time.monotonic() > deadline:
                        raise NotReadyError(entry, waiting[name]) from error
                else:
                    del waiting[name]
                    on_ready(name)
            if waiting:
                time.sleep(POLL_S)

    def _write_manifest(self) -> None:
        states = self._runner.states()
        entries = [dataclasses.replace(entry, pid=states[name].pid) for name, entry in self.entries.items()]
        services = {
            kind: [entry.addresses["grpc"] for entry in entries if entry.kind == kind]
            for kind in ("routing", "provisioning")
        }
        manifest.write(self.directory, Manifest(self.options.name, entries, services, self.credentials))


def log_tail(entry: ProcessEntry, lines: int = LOG_TAIL_LINES) -> str:
    """The end of a process's log."""
    with contextlib.suppress(OSError):
        return "\n".join(Path(entry.log).read_text(errors="replace").splitlines()[-lines:])
    return ""
