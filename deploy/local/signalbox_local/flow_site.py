"""A cluster with one worker with voice and a number whose flow is a menu and a dial; what is left of its calls."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

from google.protobuf import duration_pb2
from prometheus_client.parser import text_string_to_metric_families
from signalbox.address import split
from signalbox.api.types.v1 import flows_pb2
from signalbox.bencode import decode, encode

from signalbox_local import memory
from signalbox_local.flow_load import CALLER_HOST, FlowLoad, Sockets
from signalbox_local.layout import Options
from signalbox_local.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox_local.cluster import Cluster
    from signalbox_local.manifest import Kind
    from signalbox_local.toml import Tree

TENANT, NUMBER, LINE, PROMPT = "bench", "4001234567", "desk", "welcome"
TEXT = ("en", "Welcome. To speak with us, please press one.")
WORKER = "ivr-1"
PARTS: tuple[Kind, ...] = ("etcd", "redis", "kamailio", "edge", "routing", "rtpengine", "media", "ivr")
TIMEOUT_S = 5.0
POLL_S = 0.2
LISTED = 1000
"""Ids of calls that fit a datagram."""
COUNTS = "signalbox:calls:*"
"""Keys under which calls are counted."""
CALLS_PER_NODE = 4_500
"""A call takes four sockets of its rtpengine, which may have 20,000 files where nobody may raise that."""


def options(calls: int) -> Options:
    """A cluster for so many calls at once, whose bottleneck is to be the one worker."""
    room = calls + calls // 10 + 100
    settings: dict[str, Tree] = {
        "ivr": {"ivr": {"capacity": room}},
        # A player counts as a call.
        "media": {"media": {"capacity": 2 * CALLS_PER_NODE}},
    }
    nodes = -(-calls // CALLS_PER_NODE)
    return Options(
        name="ivr", replicas=1, proxies=1, media_nodes=nodes, recorders=0, voice_workers=1, settings=settings
    )  # fmt: skip


def write_rules(rules: Rules, line: str, calls: int) -> str:
    """Number, flow, prompt and line (``host:port``); limits are counted and never reached. Returns the last etag."""
    rules.tenant(TENANT)
    rules.trunk("callers", [CALLER_HOST])
    rules.line(TENANT, LINE, line)
    rules.prompt(TENANT, PROMPT, *TEXT)
    rules.speak(TENANT, PROMPT)
    menu = flows_pb2.MenuNode(
        prompt=PROMPT,
        branches=[flows_pb2.MenuBranch(digits="1", next="ring")],
        timeout=duration_pb2.Duration(seconds=20),
        no_input="end",
        no_match="end",
    )
    ring = flows_pb2.DialNode(lines=[flows_pb2.DialLine(line=LINE)], busy="end", no_answer="end", failed="end")
    end = flows_pb2.HangUpNode(cause=flows_pb2.HANG_UP_CAUSE_BUSY)
    nodes = [
        flows_pb2.FlowNode(id="ask", menu=menu),
        flows_pb2.FlowNode(id="ring", dial=ring),
        flows_pb2.FlowNode(id="end", hang_up=end),
    ]
    rules.flow(TENANT, "welcome", nodes)
    return rules.number(TENANT, NUMBER, flow="welcome", concurrent_calls=2 * calls).etag


class FlowSite:
    """A cluster, and what calls a number of it."""

    def __init__(self, cluster: Cluster, load: FlowLoad) -> None:
        self.cluster = cluster
        self.load = load

    @classmethod
    @contextlib.contextmanager
    def of(cls, cluster: Cluster, calls: int) -> Iterator[Self]:
        """With new rules for so many calls at once; the load ends with the block."""
        with contextlib.closing(Sockets.open()) as sockets:
            with Rules.of(cluster) as rules:
                etag = write_rules(rules, sockets.line_address, calls)
            cluster.wait_for_rules(etag)
            with FlowLoad(sockets, split(cluster.address("kamailio-1", "sip")), NUMBER) as load:
                yield cls(cluster, load)

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time of each kind of process so far."""
        return {kind: sum(self.cluster.cpu_seconds(name) for name in self.cluster.names(kind)) for kind in PARTS}

    # --- the worker --------------------------------------------------------------------------------------------

    def rss_mb(self) -> float:
        """What the worker has in memory, MB (10^6 bytes)."""
        pids = memory.group(self.cluster.pid(WORKER))
        rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
        return sum(memory.parse(one)["Rss"] for one in rollups) * 1024 / 1e6

    def worker_calls(self) -> float:
        """Calls and legs that the worker says it has."""
        with urllib.request.urlopen(
            f"http://{self.cluster.address(WORKER, 'metrics')}/metrics", timeout=TIMEOUT_S
        ) as it:
            families = text_string_to_metric_families(it.read().decode())
        samples = [sample for family in families for sample in family.samples]
        return sum(float(one.value) for one in samples if one.name in ("signalbox_ivr_calls", "signalbox_ivr_legs"))

    # --- what is left ------------------------------------------------------------------------------------------

    def left(self) -> dict[str, int]:
        """What there is of calls: at the worker, at rtpengine, and counted in redis. All 0: nothing."""
        return {"worker": round(self.worker_calls()), "rtpengine": self._relayed(), "redis": self._counted()}

    def left_after(self, seconds: float) -> dict[str, int]:
        """The same as soon as it is nothing, or after this time."""
        deadline = time.monotonic() + seconds
        while any((left := self.left()).values()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return left

    def _relayed(self) -> int:
        found = 0
        for name in self.cluster.names("rtpengine"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(TIMEOUT_S)
                client.connect(split(self.cluster.address(name, "ng")))
                # Of a cookie that it has heard rtpengine repeats its reply.
                client.send(secrets.token_hex(8).encode() + b" " + encode({"command": "list", "limit": LISTED}))
                reply = decode(client.recv(1 << 16).partition(b" ")[2])
                assert isinstance(reply, dict)
                calls = reply["calls"]
                assert isinstance(calls, list)
                found += len(calls)
        return found

    def _counted(self) -> int:
        address = split(self.cluster.address("redis", "redis"))
        with socket.create_connection(address, TIMEOUT_S) as client, client.makefile("rb") as lines:
            client.sendall(f"KEYS {COUNTS}\r\n".encode())
            return int(lines.readline()[1:])
