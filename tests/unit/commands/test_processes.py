"""Commands that start processes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.commands import Shell

PROCESSES = ("routing", "edge", "media", "provisioning")


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


@pytest.mark.parametrize("process", [*PROCESSES, "kamailio-config"])
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


def test_kamailio_config_without_a_cluster_key(bare: Shell) -> None:
    assert "cluster_key_file" in bare("kamailio-config", code=2).stderr


def test_help_names_every_command(bare: Shell) -> None:
    told = bare("--help").stdout
    for command in (*PROCESSES, "kamailio-config", "tenants", "trunks", "lines", "numbers", "explain", "calls"):
        assert f"  {command} " in told
