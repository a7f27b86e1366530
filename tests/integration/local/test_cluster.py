"""The whole cluster: started, told about, broken and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox_local import probes
from signalbox_local.cluster import Cluster, ClusterError, NotReadyError
from signalbox_local.layout import Options
from signalbox_local.rules import Rules, existing_is_fine
from signalbox_local.runner import Runner
from support.cluster import cluster, own_cluster
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["cluster", "own_cluster"]

TIMEOUT_S = 40.0

NAMES = [
    *("etcd", "redis", "routing-1", "routing-2", "rtpengine-1", "media-1", "rtpengine-2", "media-2"),
    *("recorder-1", "provisioning", "edge-1", "kamailio-1", "edge-2", "kamailio-2"),
]
# As small as a cluster can be: what is tried does not depend on the numbers.
SMALL = {"replicas": 1, "proxies": 1, "media_nodes": 0}


def test_every_process_runs_and_is_ready(cluster: Cluster) -> None:
    assert list(cluster.entries) == NAMES
    cluster.wait_ready(timeout_s=1.0)
    assert all(cluster.pid(name) for name in NAMES)


def test_cluster_json_tells_programs_where_everything_is(cluster: Cluster) -> None:
    told = json.loads((cluster.directory / "cluster.json").read_text())
    assert told.keys() == {"version", "name", "processes", "grpc", "credentials"}
    assert (told["version"], told["name"]) == (1, "local")
    assert [process["name"] for process in told["processes"]] == NAMES
    for process in told["processes"]:
        assert process["pid"] == cluster.pid(process["name"])
        assert Path(process["log"]).is_file()
        assert ("journal" in process) == (process["kind"] == "edge")
    assert told["grpc"]["routing"] == [cluster.address(f"routing-{n}", "grpc") for n in (1, 2)]
    assert told["grpc"]["provisioning"] == [cluster.address("provisioning", "grpc")]
    assert all(Path(file).is_file() for file in told["credentials"].values())


def test_rules_written_through_the_api_reach_every_replica_and_proxy(cluster: Cluster) -> None:
    with Rules.of(cluster) as rules, existing_is_fine():
        rules.tenant("reach")
        rules.trunk("reach", ["127.9.9.9"])
        rules.line("reach", "desk", "127.0.0.1:5099")
        number = rules.number("reach", "4009999999", [["desk"]])
    cluster.wait_for_rules(number.etag)
    for name in cluster.names("routing"):
        with cluster.routing_channel(name) as channel:
            request = routing_pb2.DecideRequest(call_id="x", trunk="reach", called="4009999999")
            answer = routing_pb2_grpc.RoutingServiceStub(channel).Decide(request, timeout=5.0)
        assert answer.decision.dial.stages[0].branches[0].line == "desk"


def test_the_provisioning_service_wants_a_certificate(cluster: Cluster) -> None:
    with (
        grpc.insecure_channel(cluster.address("provisioning", "grpc")) as channel,
        pytest.raises(grpc.RpcError, match="UNAVAILABLE"),
    ):
        Rules(channel).tenant("intruder")


def test_secrets_are_for_the_owner_alone(cluster: Cluster) -> None:
    secrets = ["cluster.key", "objects.key", "edge-1/token", "kamailio-1/kamailio.cfg", "pki/client.key", "pki/ca.key"]
    for file in secrets:
        assert stat.S_IMODE((cluster.directory / file).stat().st_mode) == 0o600, file


def test_documents_lie_in_the_cluster_s_folder(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "order.pdf").write_bytes(b"%PDF-1.7 order")
    for line in ("tenants create papers", f"inventory documents upload --tenant papers other={tmp_path}/order.pdf"):
        done = subprocess.run(
            [sys.executable, "-m", "signalbox", *line.split(), "--cluster", str(cluster.directory / "cluster.json")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    (file,) = (cluster.directory / "objects" / "documents" / "papers").iterdir()
    assert b"order" not in file.read_bytes()


def test_processor_time_of_children_counts(cluster: Cluster) -> None:
    before = cluster.cpu_seconds("kamailio-1")
    assert before > 0
    deadline = time.monotonic() + TIMEOUT_S
    while cluster.cpu_seconds("kamailio-1") == before:
        assert time.monotonic() < deadline
        probes.sip(cluster.address("kamailio-1", "sip"))


def test_a_second_start_in_the_same_place_is_refused_and_harmless(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="a cluster is running in"):
        Cluster(cluster.directory).start()
    cluster.wait_ready(timeout_s=1.0)


def test_the_running_cluster_is_found_again_by_its_directory(cluster: Cluster) -> None:
    found = Cluster.attach(cluster.directory)
    assert found is not None
    assert found.entries.keys() == cluster.entries.keys()
    assert found.pid("etcd") == cluster.pid("etcd")
    assert found.facts("routing-1")["ready"] is True


def test_two_clusters_live_side_by_side(cluster: Cluster, own_cluster: Callable[..., Cluster]) -> None:
    second = own_cluster(**SMALL)
    ours, theirs = ({a for e in c.entries.values() for a in e.addresses.values()} for c in (cluster, second))
    assert not ours & theirs
    cluster.wait_ready(timeout_s=5.0)


def test_a_killed_process_stays_dead_until_it_is_started_again(own_cluster: Callable[..., Cluster]) -> None:
    cluster = own_cluster(**SMALL)
    for name in ("routing-1", "kamailio-1"):
        before = cluster.pid(name)
        cluster.kill(name)
        assert cluster.pid(name) == 0
        assert not cluster.is_ready(name)
        told = json.loads((cluster.directory / "cluster.json").read_text())
        assert {p["name"]: p["pid"] for p in told["processes"]}[name] == 0
        cluster.start_process(name)
        assert cluster.pid(name) not in {0, before}
    cluster.stop_process("edge-1")
    cluster.start_process("edge-1")
    cluster.wait_ready()


def test_stopping_leaves_nothing_and_rules_outlive_it(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "c", Options(**SMALL))
    with cluster:
        assert len(cluster.remaining()) > len(cluster.entries)
        with Rules.of(cluster) as rules:
            rules.tenant("lasting")
    assert cluster.remaining() == []
    assert not (cluster.directory / "cluster.json").exists()
    assert Cluster.attach(cluster.directory) is None
    with cluster, Rules.of(cluster) as rules, pytest.raises(grpc.RpcError, match="ALREADY_EXISTS"):
        rules.tenant("lasting")


def test_settings_can_be_added_for_a_kind_and_for_one_process(own_cluster: Callable[..., Cluster]) -> None:
    cluster = own_cluster(
        **SMALL,
        settings={"edge": {"log": {"level": "debug"}}, "edge-1": {"edge": {"kamailio": {"unknown_source": "403"}}}},
    )
    settings = (cluster.directory / "settings/edge-1.toml").read_text()
    assert 'level = "debug"' in settings
    assert 'unknown_source = "403"' in settings


def test_preferred_sip_ports_are_used_if_they_are_free(own_cluster: Callable[..., Cluster]) -> None:
    ports = (free_port(), free_port())
    with socket.create_server(("127.0.0.1", ports[1])):
        cluster = own_cluster(replicas=1, proxies=2, media_nodes=0, sip_ports=ports)
        assert cluster.address("kamailio-1", "sip") == f"127.0.0.1:{ports[0]}"
        assert cluster.address("kamailio-2", "sip") != f"127.0.0.1:{ports[1]}"


def test_a_process_that_ends_at_the_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    wrong = {"edge-1": {"edge": {"metrics": {"listen": "192.0.2.1:1"}}}}
    cluster = Cluster(tmp_path / "c", Options(**SMALL, settings=wrong))
    with pytest.raises(
        NotReadyError, match=r"edge-1 did not become ready: it ended(.|\n)*end of .*edge-1.log\n(.|\n)+"
    ):
        cluster.start()
    assert cluster.remaining() == []


def test_a_process_that_never_gets_ready_is_named_with_what_it_said_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "ready_timeout_s", 8.0)
    nowhere = {"provisioning": {"etcd": {"endpoints": ["127.0.0.1:1"]}}}
    cluster = Cluster(tmp_path / "c", Options(**SMALL, settings=nowhere))
    with pytest.raises(NotReadyError, match=r'provisioning did not become ready: .*"store_reachable": false'):
        cluster.start()
    assert cluster.remaining() == []


def command(directory: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "signalbox_local", *arguments, "--directory", str(directory)]


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(directory, *arguments), env=environment(), capture_output=True, text=True, timeout=TIMEOUT_S
    )


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "160"}


def test_up_status_down(tmp_path: Path) -> None:
    assert "No cluster is running" in run(tmp_path, "status").stdout
    try:
        up = run(tmp_path, "up")
        assert up.returncode == 0, up.stderr
        assert "Ring it with a softphone" in up.stdout
        for name in NAMES:
            assert name in up.stdout
        again = run(tmp_path, "up")
        assert (again.returncode, "up already" in again.stdout) == (0, True)
        status = run(tmp_path, "status")
        assert status.returncode == 0, status.stdout
        assert "rev " in status.stdout
        assert "calls up (with media): 0" in status.stdout
        found = Cluster.attach(tmp_path)
        assert found is not None
        found.kill("media-2")
        status = run(tmp_path, "status")
        assert (status.returncode, "down" in status.stdout) == (1, True)
    finally:
        down = run(tmp_path, "down")
    assert "The cluster is down" in down.stdout
    assert Runner(tmp_path / "run").remaining() == []
    assert "No cluster is running" in run(tmp_path, "down").stdout


@pytest.mark.parametrize(
    ("number", "after_s"),
    [
        (signal.SIGTERM, 0.3),
        (signal.SIGKILL, 0.3),
        (signal.SIGINT, 1.1),
        (signal.SIGHUP, 1.1),
        (signal.SIGTERM, 2.7),
        (signal.SIGKILL, 2.7),
    ],
)
def test_an_interrupted_demo_leaves_no_process(tmp_path: Path, number: signal.Signals, after_s: float) -> None:
    _interrupt(command(tmp_path, "demo"), number, after_s)
    runner = Runner(tmp_path / "run")
    deadline = time.monotonic() + TIMEOUT_S
    while runner.running or runner.remaining():
        assert number is signal.SIGKILL, "an orderly end returns when nothing is left"
        assert time.monotonic() < deadline, runner.remaining()
        time.sleep(0.05)


@pytest.mark.parametrize("after_s", [0.6, 1.6])
def test_an_interrupted_up_leaves_no_process(tmp_path: Path, after_s: float) -> None:
    _interrupt(command(tmp_path, "up"), signal.SIGINT, after_s)
    assert Runner(tmp_path / "run").remaining() == []


def test_what_a_killed_up_leaves_is_ended_by_the_next_down(tmp_path: Path) -> None:
    _interrupt(command(tmp_path, "up"), signal.SIGKILL, 1.6)
    assert "The cluster is down" in run(tmp_path, "down").stdout
    assert Runner(tmp_path / "run").remaining() == []


def _interrupt(command: list[str], number: signal.Signals, after_s: float) -> None:
    """Send the signal so long after the start of the runner, wherever the command is by then."""
    runner = Runner(Path(command[-1]) / "run")
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        deadline = time.monotonic() + TIMEOUT_S
        while not runner.running:
            assert time.monotonic() < deadline, "the runner was not started"
            time.sleep(0.01)
        # The moment is what is being varied here, not a wait for anything.
        time.sleep(after_s)
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) != 0
