"""The cluster in containers: what the tool is asked for, and who has which address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox_local.cluster import ClusterError
from signalbox_local.containers import SCRIPT, ContainerCluster, Engine, Network
from signalbox_local.layout import Options
from signalbox_local.runner import RunnerError

if TYPE_CHECKING:
    from pathlib import Path


def _tool(directory: Path, script: str = "") -> Path:
    file = directory / "tool"
    file.write_text(f'#!/bin/sh\necho "$@" >>{directory}/asked\n{script}\n')
    file.chmod(0o755)
    return file


def _asked(directory: Path) -> list[str]:
    return (directory / "asked").read_text().splitlines()


def test_the_environment_says_what_runs_containers(tmp_path: Path) -> None:
    tool = _tool(tmp_path)
    engine = Engine.of_environment(
        {"IMAGE_TOOL": f"{tool} -x", "CONTAINER_OPTIONS": "--ulimit a", "IMAGE_PREFIX": "here/", "IMAGE_TAG": "7"}
    )
    assert engine == Engine([str(tool), "-x"], ["--ulimit", "a"], "here/", "7")
    assert engine.image("redis") == "here/signalbox-valkey:7"
    assert engine.image("routing") == "here/signalbox:7"


def test_variables_that_cannot_be_read_are_named() -> None:
    with pytest.raises(ClusterError, match="CONTAINER_OPTIONS"):
        Engine.of_environment({"CONTAINER_OPTIONS": "'"})
    with pytest.raises(RunnerError, match="no-such-tool"):
        Engine.of_environment({"IMAGE_TOOL": "no-such-tool"})


def test_what_the_tool_says_is_told(tmp_path: Path) -> None:
    engine = Engine([str(_tool(tmp_path, "echo no such image >&2; exit 125"))], tag="7")
    with pytest.raises(ClusterError, match="run that: no such image"):
        engine.do("run", "that")


def test_a_network_that_cannot_be_made_is_told_and_tried_no_longer(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="taken"):
        Network(Engine([str(_tool(tmp_path, "echo taken >&2; exit 1"))], tag="7"), "net")


def test_everybody_has_an_address_and_ports_of_its_own(tmp_path: Path) -> None:
    network = Network(Engine([str(_tool(tmp_path))], tag="7"), "net")
    assert "--internal" in _asked(tmp_path)[0]
    network.begin("one")
    first, second, private = network.address(), network.address(5060), network.private()
    network.begin("two")
    other = network.address()
    assert first.partition(":")[0] == network.host_of("one") != network.host_of("two") == other.partition(":")[0]
    assert second.endswith(":5060")
    assert private.startswith("127.0.0.1:")
    assert len({first, second, private, other}) == 4
    network.release()
    assert _asked(tmp_path)[-1] == "network rm net"


def test_pairs_share_addresses_and_all_are_confined(tmp_path: Path) -> None:
    cluster = ContainerCluster(tmp_path / "cluster", Options(voice_workers=1), Engine([str(_tool(tmp_path))], tag="7"))
    (tmp_path / "cluster").mkdir()
    cluster._ports = cluster._reserve()
    try:
        layout = cluster._plan(cluster._ports)
    except PermissionError:
        pytest.skip("files can be given away by root alone")
    commands = {process.entry.name: " ".join(process.command) for process in layout.processes}
    for name, command in commands.items():
        assert "--read-only --cap-drop ALL" in command, name
    assert "-edge-1-pod --pid container:" in commands["edge-1"]
    assert "-edge-1-pod --pid container:" in commands["kamailio-1"]
    assert "-media-2-pod --pid container:" in commands["rtpengine-2"]
    assert "signalbox-rtpengine:7 --config-file=none" in commands["rtpengine-2"]
    assert " signalbox:7 routing --config " in commands["routing-1"]
    assert SCRIPT in (tmp_path / "cluster/kamailio-1/kamailio.cfg").read_text()
    cluster.stop()
    removed = {line.rpartition("-")[0] for line in _asked(tmp_path) if line.startswith("rm ")}
    assert len(removed) >= len({name.rpartition("-")[0] for name in commands})
    assert _asked(tmp_path)[-1].startswith("network rm ")
