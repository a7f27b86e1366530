"""Commands that start processes."""

from __future__ import annotations

import importlib
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.edge import kamailio_config
from signalbox.media import rtpengine_config
from signalbox.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from support.commands import Shell

PROCESSES = ("routing", "edge", "media", "provisioning", "recorder")


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_gets_its_settings(
    bare: Shell, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, process: str
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(importlib.import_module(f"signalbox.{process}.main"), "serve", served.append)
    (elsewhere / "signalbox.toml").write_text('[log]\nlevel = "debug"\n')
    monkeypatch.setenv("SIGNALBOX_LOG__FORMAT", "console")
    bare(f"{process} --config signalbox.toml")
    assert (served[0].log.level, served[0].log.format) == ("debug", "console")


@pytest.mark.parametrize("process", [*PROCESSES, "kamailio-config", "rtpengine-command --interface 192.0.2.1"])
def test_a_wrong_setting_is_exit_code_2(bare: Shell, elsewhere: Path, process: str) -> None:
    (elsewhere / "signalbox.toml").write_text("[log]\nlevle = 1\n")
    assert bare(f"{process} --config signalbox.toml", code=2).stderr == "Error: log.levle: no such setting\n"
    assert "nowhere.toml: " in bare(f"{process} --config nowhere.toml", code=2).stderr


def test_kamailio_config_says_where_it_is(bare: Shell, elsewhere: Path) -> None:
    (elsewhere / "var").mkdir()
    (elsewhere / "var" / "cluster.key").write_text("a-key-of-the-cluster-for-this-test-0123456\n")
    file = bare("kamailio-config").stdout.strip()
    assert file == str(elsewhere / "var" / "kamailio" / "kamailio.cfg")
    assert (elsewhere / "var" / "edge" / "token").read_text().strip() in (elsewhere / file).read_text()


def test_kamailio_config_tells_the_command_line(bare: Shell, elsewhere: Path) -> None:
    (elsewhere / "var").mkdir()
    (elsewhere / "var" / "cluster.key").write_text("a-key-of-the-cluster-for-this-test-0123456\n")
    file = elsewhere / "var" / "kamailio" / "kamailio.cfg"
    edge = load(None).edge
    assert shlex.split(bare("kamailio-config --command").stdout) == kamailio_config.command(edge, file)
    assert file.exists()


def test_rtpengine_command_is_that_of_the_node(bare: Shell, elsewhere: Path) -> None:
    (elsewhere / "signalbox.toml").write_text('[media]\ncontrol = "192.0.2.9:2223"\ncapacity = 500\n')
    told = bare("rtpengine-command --config signalbox.toml --interface 192.0.2.9!203.0.113.9 --port-max 39999").stdout
    node = rtpengine_config.RtpengineOptions(
        control="192.0.2.9:2223", interface="192.0.2.9!203.0.113.9", port_max=39_999, capacity=500
    )
    assert shlex.split(told) == rtpengine_config.render(node)


def test_rtpengine_command_of_a_node_that_speaks(bare: Shell, elsewhere: Path) -> None:
    (elsewhere / "signalbox.toml").write_text('[media.voice]\ncache_dir = "audio"\nkeys_listen = "127.0.0.1:7499"\n')
    told = bare("rtpengine-command --config signalbox.toml --interface 192.0.2.9").stdout
    assert "--dtmf-log-dest=127.0.0.1:7499" in shlex.split(told)


def test_rtpengine_command_refuses_ports_that_carry_no_call(bare: Shell) -> None:
    refused = bare("rtpengine-command --interface 192.0.2.9 --port-min 40000 --port-max 40001", code=2)
    assert "no range of 64 ports" in refused.stderr


def test_kamailio_config_without_a_cluster_key(bare: Shell) -> None:
    assert "cluster_key_file" in bare("kamailio-config", code=2).stderr


def test_help_names_every_command(bare: Shell) -> None:
    told = bare("--help").stdout
    for command in (
        *PROCESSES,
        "kamailio-config",
        "rtpengine-command",
        "tenants",
        "trunks",
        "lines",
        "numbers",
        "explain",
        "calls",
    ):
        assert f"  {command} " in told
