"""Which processes a cluster has, where each listens, and the command and settings that it is started with."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signalbox import pki, secretfile
from signalbox.address import join, split
from signalbox.edge import kamailio_config
from signalbox.media import rtpengine_config
from signalbox.settings import load

from signalbox_local import toml
from signalbox_local.manifest import Kind, ProcessEntry
from signalbox_local.runner import find_executable
from signalbox_local.speaking import OBJECTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from signalbox_local.ports import Addresses

ETCD_QUOTA_BYTES = 2 * 1024**3
DRAIN_S = 0.5
"""Nobody waits for a cluster on one machine to drain at leisure."""
MEDIA_CAPACITY = 5_000
SIP_PORT = 5060
"""Of workers with voice."""
LOOPBACK = "127.0.0.0/8"
"""Flows may ask services on this machine, for trials."""
FREE_DISK = {"free_percent": 1.0, "free_mb": 256}
"""Less room than a media node should have: a developer's disk may be nearly full, and calls are short here."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a cluster shall be."""

    name: str = "local"
    replicas: int = 2
    """Routing replicas."""
    proxies: int = 2
    """Kamailios, each with its edge."""
    media_nodes: int = 2
    """rtpengines, each with its sidecar; 0: a cluster without media."""
    recorders: int = 1
    """Recorders; none without media."""
    voice_workers: int = 0
    """Workers with voice; none without media."""
    sip_ports: Sequence[int] = ()
    """SIP ports of the proxies in order, each used if it is free."""
    workers: int = 1
    """Worker processes of each replica. Worker n has its side door n ports after the first."""
    store_quota_bytes: int = ETCD_QUOTA_BYTES
    """What etcd may take."""
    static_destination: str | None = None
    """SIP URI: the proxies send every call there and ask nobody (for benchmarks)."""
    settings: Mapping[str, toml.Tree] = field(default_factory=dict)
    """Further settings by kind or by name of process, the name's laid over the kind's, in the shape of the settings
    file: ``{"edge": {"edge": {"queue_limit": 10}}, "routing-1": {"log": {"level": "debug"}}}``. Kamailio is set up
    with its edge's."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process and how it is started."""

    entry: ProcessEntry
    command: Sequence[str]


@dataclass(frozen=True, slots=True)
class Layout:
    """All of a cluster."""

    processes: Sequence[Process]
    """In the order in which they are started. Nobody waits for another: each copes with what is not there yet."""
    credentials: Mapping[str, str]


def plan(directory: Path, options: Options, ports: Addresses) -> Layout:
    """Give every process its addresses, write its settings below ``directory``, and say how to start it."""
    return _Planner(directory.resolve(), options, ports).plan()


class _Planner:
    def __init__(self, directory: Path, options: Options, ports: Addresses) -> None:
        self._directory = directory
        self._options = options
        self._ports = ports
        self._processes: list[Process] = []
        self._addresses: dict[str, Mapping[str, str]] = {}

    def plan(self) -> Layout:
        pki_directory = self._directory / "pki"
        pki.make_authority(pki_directory)
        hosts = ("localhost", "127.0.0.1", "::1", self._ports.host_of("provisioning"))
        server = pki.issue(pki_directory, "provisioning", server=True, hosts=tuple(dict.fromkeys(hosts)))
        client = pki.issue(pki_directory, "client", server=False)
        # Proxies first: SIP ports that were asked for must not be given to others.
        proxies = [self._proxy_addresses(n) for n in range(1, self._options.proxies + 1)]
        self._etcd()
        self._redis()
        for n in range(1, self._options.replicas + 1):
            self._routing(n)
        for n in range(1, self._options.media_nodes + 1):
            self._media(n)
        for n in range(1, (self._options.recorders if self._options.media_nodes else 0) + 1):
            self._recorder(n)
        for n in range(1, (self._options.voice_workers if self._options.media_nodes else 0) + 1):
            self._ivr(n)
        self._provisioning(server)
        for n, addresses in enumerate(proxies, 1):
            self._proxy(n, addresses)
        return Layout(self._processes, {"ca": str(client.ca), "cert": str(client.cert), "key": str(client.key)})

    def _add(
        self,
        name: str,
        kind: Kind,
        addresses: Mapping[str, str],
        command: Sequence[str],
        journal: Path | None = None,
        door: Path | None = None,
    ) -> None:
        log = self._directory / "log" / f"{name}.log"
        entry = ProcessEntry(name, kind, addresses, str(log), journal=_text(journal), door=_text(door))
        self._addresses[name] = addresses
        self._processes.append(Process(entry, command))

    def _own_directory(self, name: str) -> Path:
        path = self._directory / name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def _settings(self, name: str, kind: str, settings: toml.Tree) -> Path:
        """The settings file of a process: ours, then what the options add for its kind and its name."""
        file = self._directory / "settings" / f"{name}.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        redis = self._addresses["redis"]["redis"]
        base = {"etcd": {"endpoints": [self._addresses["etcd"]["client"]]}, "redis": {"address": redis}}
        extra = [self._options.settings.get(key, {}) for key in (kind, name)]
        file.write_text(toml.dumps(toml.merge(base, settings, *extra)))
        return file

    def _etcd(self) -> None:
        self._ports.begin("etcd")
        client, peer = self._ports.address(), self._ports.address()
        arguments = {
            "name": "etcd",
            "data-dir": self._own_directory("etcd"),
            "listen-client-urls": f"http://{client}",
            "advertise-client-urls": f"http://{client}",
            "listen-peer-urls": f"http://{peer}",
            "initial-advertise-peer-urls": f"http://{peer}",
            "initial-cluster": f"etcd=http://{peer}",
            "quota-backend-bytes": self._options.store_quota_bytes,
            "auto-compaction-mode": "periodic",
            # An hour of an import would be more than the quota.
            "auto-compaction-retention": "10m",
            # A lone member is its own leader: no reason to let it wait.
            "heartbeat-interval": 20,
            "election-timeout": 200,
            # Exact progress while nothing changes; requests for it can be answered too early before 3.4.25 and 3.5.8.
            "experimental-watch-progress-notify-interval": "2s",
            "logger": "zap",
            "log-level": "warn",
        }
        command = ["etcd", *(f"--{key}={value}" for key, value in arguments.items())]
        self._add("etcd", "etcd", {"client": client, "peer": peer}, command)

    def _redis(self) -> None:
        self._ports.begin("redis")
        address = self._ports.address()
        host, port = split(address)
        server = find_executable("valkey-server", "redis-server")
        settings = f"--bind {host} --port {port} --protected-mode no --save --appendonly no --daemonize no"
        command = [server, *settings.split(), "--dir", str(self._own_directory("redis"))]
        self._add("redis", "redis", {"redis": address}, command)

    def _media(self, n: int) -> None:
        name, node = f"media-{n}", f"rtpengine-{n}"
        self._ports.begin(name)
        control, metrics, rtp = self._ports.address(), self._ports.address(), self._ports.media_host(n)
        captures, spool = self._ports.address(), self._own_directory(node)
        voice, keys = self._ports.address(), self._ports.private()
        settings = {
            "media": {
                "id": name,
                "control": control,
                "capacity": MEDIA_CAPACITY,
                "drain_s": DRAIN_S,
                "routing": self._replicas(),
                "metrics": {"listen": metrics},
                "captures": {"spool_dir": spool, "listen": captures, **FREE_DISK},
                "voice": {"cache_dir": self._own_directory(name) / "audio", "listen": voice, "keys_listen": keys},
            },
            **self._kept(),
        }
        file = self._settings(name, "media", settings)
        media = load(file).media
        command = rtpengine_config.render(
            rtpengine_config.RtpengineOptions(
                control=control,
                interface=rtp,
                port_min=10_000,
                port_max=59_999,
                capacity=media.capacity,
                held_dead_after_s=media.held_dead_after_s,
                redis=f"{self._addresses['redis']['redis']}/{n}",
                recording_dir=str(spool),
                keys=keys,
                pid_file=str(media.daemon_pid_file or ""),
            )
        )
        self._add(node, "rtpengine", {"ng": control, "rtp": rtp}, command)
        self._add(
            name,
            "media",
            {"metrics": metrics, "captures": captures, "voice": voice, "keys": keys},
            _signalbox("media", file),
        )

    def _recorder(self, n: int) -> None:
        name = f"recorder-{n}"
        self._ports.begin(name)
        grpc, metrics = self._ports.address(), self._ports.address()
        settings = {
            "recorder": {
                "id": name,
                "listen": grpc,
                "metrics": {"listen": metrics},
                "work_dir": self._own_directory(name),
                "drain_s": DRAIN_S,
            },
            **self._kept(),
        }
        command = _signalbox("recorder", self._settings(name, "recorder", settings))
        self._add(name, "recorder", {"grpc": grpc, "metrics": metrics}, command)

    def _ivr(self, n: int) -> None:
        name = f"ivr-{n}"
        self._ports.begin(name)
        metrics = self._ports.address()
        # An address of its own: proxies know callers, and workers, by theirs.
        sip = join(self._ports.worker_host(n), SIP_PORT)
        state = self._own_directory(name)
        settings = {
            "ivr": {
                "id": name,
                "listen": sip,
                "routing": self._replicas(),
                "recorders": self._recorders(),
                "metrics": {"listen": metrics},
                "state_dir": state,
                "drain_s": DRAIN_S,
                "requests": {"allowed_networks": [LOOPBACK]},
                "messages": {"sender": "log"},
            },
            **self._kept(),
        }
        command = _signalbox("ivr", self._settings(name, "ivr", settings))
        self._add(name, "ivr", {"sip": sip, "metrics": metrics}, command, journal=state / "journal")

    def _kept(self) -> toml.Tree:
        """Where content and the list of recordings are, the same for all who use them."""
        return {
            "objects": {
                "location": str(self._own_directory(OBJECTS)),
                "master_key_file": self._directory / "objects.key",
            },
            "database": {"url": f"sqlite:///{self._directory / 'signalbox.db'}"},
        }

    def _recorders(self) -> list[str]:
        return [addresses["grpc"] for name, addresses in self._addresses.items() if name.startswith("recorder-")]

    def _replicas(self) -> list[str]:
        return [self._addresses[f"routing-{n}"]["grpc"] for n in range(1, self._options.replicas + 1)]

    def _routing(self, n: int) -> None:
        name = f"routing-{n}"
        self._ports.begin(name)
        grpc, metrics = self._ports.address(), self._ports.address()
        for _ in range(1, self._options.workers):
            self._ports.take()
        cursor_key, password_key = self._directory / "cursor.key", self._directory / "password.key"
        secretfile.read_or_make(cursor_key)
        secretfile.read_or_make(password_key)
        settings = {
            "routing": {
                "listen": grpc,
                "workers": self._options.workers,
                "metrics": {"listen": metrics},
                "snapshot_file": self._own_directory(name) / "rules.snapshot",
                "drain_s": DRAIN_S,
                "cursor_key_file": cursor_key,
                "password_key_file": password_key,
            }
        }
        command = _signalbox("routing", self._settings(name, "routing", settings))
        self._add(name, "routing", {"grpc": grpc, "metrics": metrics}, command)

    def _provisioning(self, credentials: pki.Credentials) -> None:
        self._ports.begin("provisioning")
        grpc, metrics = self._ports.address(), self._ports.address()
        tls = {"ca_file": credentials.ca, "cert_file": credentials.cert, "key_file": credentials.key}
        settings = {
            "provisioning": {
                "listen": grpc,
                "metrics": {"listen": metrics},
                "tls": tls,
                "routing": self._replicas(),
                "bulk": {"store_quota_mb": self._options.store_quota_bytes // 1024**2},
                "audit": {"directory": self._own_directory("provisioning") / "audit"},
                "password_key_file": self._directory / "password.key",
            },
            **self._kept(),
        }
        command = _signalbox("provisioning", self._settings("provisioning", "provisioning", settings))
        self._add("provisioning", "provisioning", {"grpc": grpc, "metrics": metrics}, command)

    def _proxy_addresses(self, n: int) -> Mapping[str, str]:
        preferred = self._options.sip_ports[n - 1] if n <= len(self._options.sip_ports) else 0
        self._ports.begin(f"edge-{n}")
        return {"sip": self._ports.address(preferred), "route": self._ports.private()}

    def _proxy(self, n: int, addresses: Mapping[str, str]) -> None:
        name, proxy = f"edge-{n}", f"kamailio-{n}"
        self._ports.begin(name)
        ask, metrics = self._ports.private(), self._ports.address()
        state, runtime = self._own_directory(name), self._own_directory(proxy)
        key, token = self._directory / "cluster.key", state / "token"
        settings = {
            "edge": {
                "id": name,
                "ask_listen": ask,
                "routing": self._replicas(),
                "recorders": self._recorders(),
                "metrics": {"listen": metrics},
                "state_dir": state,
                "token_file": token,
                "cluster_key_file": key,
                "kamailio": {
                    "listen": [addresses["sip"]],
                    "route_listen": addresses["route"],
                    "runtime_dir": runtime,
                    "event_dir": runtime / "events",
                },
            }
        }
        file = self._settings(name, "edge", settings)
        command = _signalbox("edge", file)
        door = runtime / "edge.sock"
        self._add(name, "edge", {"ask": ask, "metrics": metrics}, command, journal=state / "journal", door=door)
        edge = load(file).edge
        config = kamailio_config.write(
            edge,
            token=secretfile.read_or_make(token),
            cluster_keys=[secretfile.read_or_make(key)],
            static_destination=self._options.static_destination,
        )
        self._add(proxy, "kamailio", addresses, kamailio_config.command(edge, config))


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _signalbox(kind: str, settings: Path) -> list[str]:
    return [sys.executable, "-m", "signalbox", kind, "--config", str(settings)]
