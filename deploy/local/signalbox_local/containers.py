"""The cluster from its images: all in containers on a private network, each process or pair with its own address.

``make test-images`` repeats the demo in it. A proxy and its edge, an rtpengine and its sidecar share addresses and
process ids, as in a pod. Nothing may write but to its files, nobody has a capability, everybody is user 10001.
Linux and root are needed: the callers are on this machine, at the network's gateway.
"""

from __future__ import annotations

import importlib.metadata
import os
import secrets
import shlex
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from signalbox_local.cluster import Cluster, ClusterError
from signalbox_local.layout import Layout, Options, Process, plan
from signalbox_local.probes import NotReadyError
from signalbox_local.runner import STOP_TIMEOUT_S, RunnerError, find_executable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signalbox_local.manifest import Kind, ProcessEntry
    from signalbox_local.ports import Addresses

USER = 10_001
"""Of the images, user and group."""
SCRIPT = "/usr/share/signalbox/kamailio/kamailio.cfg"
"""Of the proxies, in their image."""
IMAGES: Mapping[Kind, str] = {
    "etcd": "signalbox-etcd",
    "redis": "signalbox-valkey",
    "kamailio": "signalbox-kamailio",
    "rtpengine": "signalbox-rtpengine",
}
"""Those of the processes that are not ours."""
OURS = "signalbox"
PAIRED: Mapping[Kind, str] = {"kamailio": "edge", "edge": "edge", "rtpengine": "media", "media": "media"}
"""Kinds that share an address with another one, and the name that the pair goes by."""
HEALTH: Mapping[Kind, tuple[str, str]] = {"kamailio": ("ready", "sip"), "rtpengine": ("ng", "ng")}
"""Kinds whose images have a health command: what it is asked, and at which address."""
FIRST_PORT = 7000
FIRST_HOST = 10
TRIES = 20
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Engine:
    """What runs containers."""

    tool: Sequence[str]
    """podman, docker, or a command that takes the same arguments."""
    options: Sequence[str] = ()
    """More for every ``run``."""
    prefix: str = ""
    """Before the name of an image."""
    tag: str = field(default_factory=lambda: importlib.metadata.version("signalbox"))

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Engine:
        """As IMAGE_TOOL, CONTAINER_OPTIONS, IMAGE_PREFIX and IMAGE_TAG say. Raises ClusterError, RunnerError."""
        try:
            tool = shlex.split(environment.get("IMAGE_TOOL", ""))
            options = shlex.split(environment.get("CONTAINER_OPTIONS", ""))
        except ValueError as error:
            raise ClusterError(f"IMAGE_TOOL, CONTAINER_OPTIONS: {error}") from error
        tool = tool or [find_executable("podman", "docker")]
        # Processes are started elsewhere than here.
        program = str(Path(tool[0]).resolve()) if "/" in tool[0] else find_executable(tool[0])
        tag = {"tag": environment["IMAGE_TAG"]} if environment.get("IMAGE_TAG") else {}
        return cls([program, *tool[1:]], options, environment.get("IMAGE_PREFIX", ""), **tag)

    def image(self, kind: Kind) -> str:
        """The image that has a kind of process."""
        return f"{self.prefix}{IMAGES.get(kind, OURS)}:{self.tag}"

    def do(self, *arguments: str) -> str:
        """Run a command of the tool; what it prints. Raises ClusterError."""
        command = [*self.tool, *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ClusterError(f"{shlex.join(command)}: {error}") from error
        if done.returncode:
            raise ClusterError(f"{shlex.join(command)}: {done.stderr.strip()[-1000:]}")
        return done.stdout


class Network:
    """A private network, and who has which address on it. It has no way out."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.name = name
        self.hosts: dict[str, str] = {}
        """Addresses by the names of processes or pairs."""
        self._engine = engine
        self._ports: dict[str, int] = {}
        self._now = ""
        self._subnet = self._make()

    @property
    def gateway(self) -> str:
        """Address of this machine."""
        return f"{self._subnet}.1"

    def host_of(self, name: str) -> str:
        """Address of a process, or of a pair that shares one."""
        return self.hosts.setdefault(name, f"{self._subnet}.{FIRST_HOST + len(self.hosts)}")

    def begin(self, name: str) -> None:
        """Whose the next ports are."""
        self._now = self.host_of(name)

    def take(self, preferred: int = 0) -> int:
        """The next port: nobody else is at this address."""
        port = self._ports.get(self._now, FIRST_PORT)
        self._ports[self._now] = port + 1
        return preferred or port

    def address(self, preferred: int = 0) -> str:
        """Such a port as ``host:port``."""
        return f"{self._now}:{self.take(preferred)}"

    def private(self) -> str:
        """A port on loopback, which the pair shares."""
        return f"127.0.0.1:{self.take()}"

    def media_host(self, node: int) -> str:
        """Address for RTP of an rtpengine: its pair's."""
        return self.host_of(f"media-{node}")

    def worker_host(self, n: int) -> str:
        """Address for SIP of a worker with voice: its own."""
        return self.host_of(f"ivr-{n}")

    def release(self) -> None:
        """Remove the network; nobody may be on it any more. Raises ClusterError."""
        self._engine.do("network", "rm", self.name)

    def _make(self) -> str:
        for _ in range(TRIES):
            subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(256)}"
            arguments = ("--internal", "--subnet", f"{subnet}.0/24", "--gateway", f"{subnet}.1", self.name)
            try:
                self._engine.do("network", "create", *arguments)
            except ClusterError as error:
                failure = error
            else:
                return subnet
        raise failure


class ContainerCluster(Cluster):
    """A cluster whose processes are containers."""

    ready_timeout_s = 120.0

    def __init__(self, directory: Path, options: Options, engine: Engine) -> None:
        script = {"edge": {"edge": {"kamailio": {"script": SCRIPT}}}}
        super().__init__(directory, replace(options, settings={**options.settings, **script}))
        self._engine = engine
        self._name = f"signalbox-{secrets.token_hex(4)}"
        self._containers: list[str] = []

    def stop(self) -> None:
        """As any cluster; and the containers are removed, each by its name, before the network."""
        network, self._ports = self._ports, None
        try:
            super().stop()
        finally:
            for name in self._containers:
                self._remove(name)
            self._containers = []
            if network is not None:
                network.release()

    def kill(self, name: str) -> None:
        """SIGKILL to all processes of the container; returns when they are gone."""
        self._engine.do("kill", "--signal", "KILL", self._container(name))
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.pid(name):
            if time.monotonic() > deadline:
                raise RunnerError(f"{name} did not end after SIGKILL")
            time.sleep(0.01)
        self._remove(self._container(name))
        self._write_manifest()

    def remaining(self) -> list[int]:
        """Pids of processes of this cluster, those in containers too."""
        ids = self._engine.do("ps", "--quiet", "--filter", f"label=cluster={self._name}").split()
        inside = [int(self._engine.do("inspect", "--format", "{{.State.Pid}}", id)) for id in ids]
        return [*super().remaining(), *inside]

    def _ask(self, entry: ProcessEntry) -> None:
        # By the image's own command, from inside: a proxy answers nobody whom it does not know.
        if entry.kind not in HEALTH:
            super()._ask(entry)
            return
        how, what = HEALTH[entry.kind]
        try:
            self._engine.do("exec", self._container(entry.name), "/usr/bin/health", how, entry.addresses[what])
        except ClusterError as error:
            raise NotReadyError(str(error)) from error

    def _reserve(self) -> Addresses:
        network = Network(self._engine, self._name)
        self.caller_host = self.line_host = self.media_host = network.gateway
        return network

    def _plan(self, addresses: Addresses) -> Layout:
        assert isinstance(addresses, Network)
        layout = plan(self.directory, self.options, addresses)
        _give_away(self.directory)
        for pair in [name for name in addresses.hosts if name.split("-")[0] in PAIRED.values()]:
            self._hold(pair, addresses)
        return Layout([self._contained(process, addresses) for process in layout.processes], layout.credentials)

    def _contained(self, process: Process, network: Network) -> Process:
        entry = process.entry
        name = self._container(entry.name)
        self._containers.append(name)
        # Ours: python -m signalbox KIND ...; the entry points of all images are the programs.
        arguments = process.command[3:] if entry.kind not in IMAGES else process.command[1:]
        pair = PAIRED.get(entry.kind)
        if pair is None:
            place = ["--network", self._name, "--ip", network.host_of(entry.name)]
        else:
            number = entry.name.rpartition("-")[2]
            holder = f"container:{self._container(f'{pair}-{number}-pod')}"
            place = ["--network", holder, "--pid", holder]
        command = [*self._engine.tool, "run", "--rm", "--name", name, *place, *self._confined()]
        command += ["--volume", f"{self.directory}:{self.directory}", self._engine.image(entry.kind), *arguments]
        return Process(entry, command)

    def _hold(self, pair: str, network: Network) -> None:
        """The addresses and process ids of a pair outlive its members."""
        name = self._container(f"{pair}-pod")
        self._containers.append(name)
        place = ["--network", self._name, "--ip", network.host_of(pair), "--entrypoint", "/usr/bin/sleep"]
        # As process 1 it does not hear of SIGTERM.
        place += ["--stop-signal", "KILL"]
        image = f"{self._engine.prefix}{OURS}:{self._engine.tag}"
        self._engine.do("run", "--detach", "--name", name, *place, *self._confined(), image, "infinity")

    def _confined(self) -> list[str]:
        return [
            "--label", f"cluster={self._name}", "--user", f"{USER}:{USER}", "--read-only", "--cap-drop", "ALL",
            "--security-opt", "no-new-privileges", "--tmpfs", "/tmp", *self._engine.options,
        ]  # fmt: skip

    def _container(self, name: str) -> str:
        return f"{self._name}-{name}"

    def _remove(self, name: str) -> None:
        try:
            self._engine.do("rm", "--force", name)
        except ClusterError as error:
            # It has removed itself, as it should.
            if "no such container" not in str(error).lower() and "no container" not in str(error).lower():
                raise


def _give_away(directory: Path) -> None:
    """All files to the user of the images; root, who is here, can read them all the same."""
    for path in (directory, *directory.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)
