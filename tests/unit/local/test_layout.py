"""Which processes a one-machine cluster has, and that those which have to meet are told the same places."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from signalbox.address import split
from signalbox.settings import Settings, load
from signalbox_local import ports
from signalbox_local.layout import Layout, Options, plan

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def block() -> Iterator[ports.PortBlock]:
    reserved = ports.reserve()
    yield reserved
    reserved.release()


def settings_of(layout: Layout, name: str) -> Settings:
    command = next(process.command for process in layout.processes if process.entry.name == name)
    return load(Path(command[command.index("--config") + 1]))


def test_calls_are_captured_where_the_sidecar_looks(tmp_path: Path, block: ports.PortBlock) -> None:
    layout = plan(tmp_path, Options(), block)
    spools = []
    for n in (1, 2):
        captures = settings_of(layout, f"media-{n}").media.captures
        command = next(process.command for process in layout.processes if process.entry.name == f"rtpengine-{n}")
        assert f"--recording-dir={captures.spool_dir}" in command
        assert captures.spool_dir is not None
        assert captures.spool_dir.is_dir()
        spools.append(captures.spool_dir)
        entry = next(process.entry for process in layout.processes if process.entry.name == f"media-{n}")
        assert entry.addresses["captures"] == captures.listen
    assert len(set(spools)) == 2


def test_keys_are_told_where_the_sidecar_listens(tmp_path: Path, block: ports.PortBlock) -> None:
    layout = plan(tmp_path, Options(), block)
    for n in (1, 2):
        settings = settings_of(layout, f"media-{n}")
        command = next(process.command for process in layout.processes if process.entry.name == f"rtpengine-{n}")
        assert f"--dtmf-log-dest={settings.media.voice.keys_listen}" in command
        entry = next(process.entry for process in layout.processes if process.entry.name == f"media-{n}")
        assert (entry.addresses["voice"], entry.addresses["keys"]) == (
            settings.media.voice.listen,
            settings.media.voice.keys_listen,
        )
        assert settings.objects == settings_of(layout, "provisioning").objects


def test_recorder_provisioning_and_edges_know_of_each_other(tmp_path: Path, block: ports.PortBlock) -> None:
    layout = plan(tmp_path, Options(recorders=2), block)
    recorders = [settings_of(layout, f"recorder-{n}") for n in (1, 2)]
    provisioning = settings_of(layout, "provisioning")
    for one in recorders:
        assert one.database == provisioning.database
        assert one.objects == provisioning.objects
    assert recorders[0].recorder.work_dir != recorders[1].recorder.work_dir
    for n in (1, 2):
        assert settings_of(layout, f"edge-{n}").edge.recorders == [one.recorder.listen for one in recorders]


@pytest.mark.parametrize("options", [Options(recorders=0), Options(recorders=1, media_nodes=0)])
def test_without_media_or_recorders_edges_tell_nobody(tmp_path: Path, block: ports.PortBlock, options: Options) -> None:
    layout = plan(tmp_path, options, block)
    assert not [process for process in layout.processes if process.entry.kind == "recorder"]
    assert settings_of(layout, "edge-1").edge.recorders == []


def test_workers_with_voice_have_addresses_of_their_own_and_what_they_need(
    tmp_path: Path, block: ports.PortBlock
) -> None:
    layout = plan(tmp_path, Options(voice_workers=2), block)
    workers = [settings_of(layout, f"ivr-{n}") for n in (1, 2)]
    hosts = {split(one.ivr.listen)[0] for one in workers}
    assert len(hosts) == 2
    # Proxies know their trunks by address: a worker has none that a caller has.
    assert "127.0.0.1" not in hosts
    for one in workers:
        entry = next(process.entry for process in layout.processes if process.entry.name == one.ivr.id)
        assert entry.addresses["sip"] == one.ivr.listen
        assert entry.journal == str(one.ivr.state_dir / "journal")
        assert one.ivr.routing == settings_of(layout, "edge-1").edge.routing
        assert one.ivr.recorders == settings_of(layout, "edge-1").edge.recorders
        assert one.objects == settings_of(layout, "provisioning").objects


@pytest.mark.parametrize("options", [Options(), Options(voice_workers=2, media_nodes=0)])
def test_without_media_or_the_wish_there_are_no_workers_with_voice(
    tmp_path: Path, block: ports.PortBlock, options: Options
) -> None:
    assert not [process for process in plan(tmp_path, options, block).processes if process.entry.kind == "ivr"]
