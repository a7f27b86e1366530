"""Settings: file, environment, and what is refused."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from signalbox.cli import main
from signalbox.errors import ConfigurationError
from signalbox.settings import Settings, load
from signalbox.settings_doc import render

REFERENCE = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of whoever runs the tests."""

    for key in list(os.environ):
        if key.upper().startswith("SIGNALBOX_"):
            monkeypatch.delenv(key)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "signalbox.toml"


def test_without_anything_the_defaults_hold() -> None:
    settings = load()
    assert settings.routing.listen == "127.0.0.1:7410"
    assert settings.provisioning.insecure is False


def test_the_file_is_read(file: Path) -> None:
    file.write_text('[routing]\nlisten = "0.0.0.0:1"\nmetrics.listen = "[::1]:2"\n[edge.kamailio]\nudp_workers = 3\n')
    settings = load(file)
    assert settings.routing.listen == "0.0.0.0:1"
    assert settings.routing.metrics.listen == "[::1]:2"
    assert settings.edge.kamailio.udp_workers == 3
    assert settings.edge.kamailio.tcp_workers == 2


def test_the_environment_wins_over_the_file_and_leaves_the_rest(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('[routing]\nlisten = "0.0.0.0:1"\nworkers = 4\n')
    monkeypatch.setenv("SIGNALBOX_ROUTING__LISTEN", "0.0.0.0:2")
    monkeypatch.setenv("SIGNALBOX_EDGE__KAMAILIO__UDP_WORKERS", "5")
    settings = load(file)
    assert (settings.routing.listen, settings.routing.workers) == ("0.0.0.0:2", 4)
    assert settings.edge.kamailio.udp_workers == 5


def test_lists_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALBOX_ETCD__ENDPOINTS", '["a:1", "b:2"]')
    assert load().etcd.endpoints == ["a:1", "b:2"]


def test_the_variable_of_the_command_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALBOX_CLUSTER", "var/cluster.json")
    assert load() == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("SIGNALBOX_ROUTNG__LISTEN", "a:1", "SIGNALBOX_ROUTNG__LISTEN: no such setting"),
        ("SIGNALBOX_ROUTING_LISTEN", "a:1", "SIGNALBOX_ROUTING_LISTEN: no such setting"),
        ("SIGNALBOX_ROUTING__LISTN", "a:1", "routing.listn: no such setting"),
        ("SIGNALBOX_ETCD__ENDPOINTS", "a:1", "environment: "),
        ("SIGNALBOX_ETCD__ENDPOINTS", "[]", "etcd.endpoints: "),
        ("SIGNALBOX_ETCD__PREFIX", "", "etcd.prefix: "),
        ("SIGNALBOX_ROUTING__WORKERS", "many", "routing.workers: "),
        ("SIGNALBOX_ROUTING__WORKERS", "0", "routing.workers: "),
        ("SIGNALBOX_LOG__LEVEL", "loud", "log.level: "),
        ("SIGNALBOX_EDGE__ID", "Edge 1", "edge.id: "),
        ("SIGNALBOX_EDGE__ID", "edge..1", "edge.id: "),
        ("SIGNALBOX_EDGE__ID", "edge-1.", "edge.id: "),
        ("SIGNALBOX_EDGE__ID", "edge.-1", "edge.id: "),
        ("SIGNALBOX_EDGE__ID", "1.edge", "edge.id: "),
        ("SIGNALBOX_EDGE__ID", "", "edge.id: "),
        ("SIGNALBOX_MEDIA__ID", "media-Node.example", "media.id: "),
        ("SIGNALBOX_IVR__ID", "ivr_1", "ivr.id: "),
        ("SIGNALBOX_RECORDER__ID", "a" * 261, "recorder.id: "),
        ("SIGNALBOX_ETCD__USERNAME", "root", "etcd: username and password_file go together"),
        ("SIGNALBOX_ROUTING__TLS__CERT_FILE", "cert.pem", "routing.tls: cert_file and key_file go together"),
        ("SIGNALBOX_EDGE__HEDGE_AFTER_MS", "350", "edge: hedge_after_ms < decide_timeout_ms"),
        ("SIGNALBOX_EDGE__KAMAILIO__DECISION_TIMEOUT_MS", "350", "edge: hedge_after_ms < decide_timeout_ms"),
    ],
)
def test_wrong_settings_are_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("section", ["edge", "media", "ivr", "recorder"])
@pytest.mark.parametrize(
    ("given", "id"),
    [
        ("edge-1", "edge-1"),
        ("a", "a"),
        ("a" * 63, "a" * 63),
        ("edge-ip-10-0-1-23.eu-west-1.compute.internal", "edge-ip-10-0-1-23-eu-west-1-compute-internal"),
        ("edge-node-1.1.example", "edge-node-1-1-example"),
    ],
)
def test_a_name_of_a_host_becomes_an_id(monkeypatch: pytest.MonkeyPatch, section: str, given: str, id: str) -> None:
    monkeypatch.setenv(f"SIGNALBOX_{section.upper()}__ID", given)
    assert getattr(load(), section).id == id


def test_long_names_of_hosts_become_ids_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = set()
    for end in ("a", "b"):
        monkeypatch.setenv("SIGNALBOX_MEDIA__ID", "media-" + ".".join(["node" * 7] * 8) + f".example-{end}")
        settings = load()
        ids.add(settings.media.id)
        assert re.fullmatch(r"media-[a-z-]{48}-[0-9a-f]{8}", settings.media.id)
        assert Settings(**settings.model_dump(mode="json")).media.id == settings.media.id, "an id is its own"
    assert len(ids) == 2


@pytest.mark.parametrize(
    "address", ["7410", "localhost", ":7410", "a:b", "a:-1", "a:65536", "::1:7410", "a:٣", "[::1:1"]
)
def test_wrong_addresses(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("SIGNALBOX_ROUTING__LISTEN", address)
    with pytest.raises(ConfigurationError, match=r"^routing\.listen: must "):
        load()


@pytest.mark.parametrize("replicas", [["dns:routing:7410"], ["127.0.0.1:1", "[::1]:2"]])
def test_replicas_are_addresses_or_names(monkeypatch: pytest.MonkeyPatch, replicas: list[str]) -> None:
    monkeypatch.setenv("SIGNALBOX_EDGE__ROUTING", json.dumps(replicas))
    assert load().edge.routing == replicas


def test_a_listener_expects_no_server_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALBOX_PROVISIONING__TLS__SERVER_NAME", "provisioning.example")
    with pytest.raises(ConfigurationError, match=r"^provisioning\.tls\.server_name: no such setting$"):
        load()


def test_all_that_is_wrong_is_told_at_once(file: Path) -> None:
    file.write_text('nonsense = 1\n[log]\nlevel = "loud"\n[routing]\nlisten = "x"\n')
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    told = str(caught.value)
    assert "nonsense: no such setting" in told
    assert "log.level: " in told
    assert "routing.listen: " in told


@pytest.mark.parametrize("content", ["[routing", None])
def test_a_file_that_cannot_be_read(file: Path, content: str | None) -> None:
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"signalbox\.toml: "):
        load(file)


def test_a_file_that_is_no_text(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"signalbox\.toml: "):
        load(file)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().routing.workers = 2  # type: ignore[misc]


def test_the_reference_is_up_to_date() -> None:
    result = CliRunner().invoke(main, ["settings-doc", "--check", str(REFERENCE)])
    assert result.exit_code == 0, result.output


def test_the_check_fails_on_any_difference(tmp_path: Path) -> None:
    file = tmp_path / "configuration.md"
    runner = CliRunner()
    assert "is out of date" in runner.invoke(main, ["settings-doc", "--check", str(file)]).output
    assert runner.invoke(main, ["settings-doc", str(file)]).exit_code == 0
    assert runner.invoke(main, ["settings-doc", "--check", str(file)]).exit_code == 0
    file.write_text(file.read_text() + "\n")
    assert runner.invoke(main, ["settings-doc", "--check", str(file)]).exit_code == 1


def test_every_setting_is_described() -> None:
    rows = [line for line in render().splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    assert all(row.rstrip(" |").count(" | ") >= 3 for row in rows), "a setting without a description"
