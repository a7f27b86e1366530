"""How commands find and reach a cluster."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from signalbox.commands.connection import Credentials
from support.ports import free_address

if TYPE_CHECKING:
    from pathlib import Path

    from support.commands import Service, Shell


def cluster(**changes: Any) -> dict[str, Any]:
    """The content of a cluster file."""
    return {
        "version": 1,
        "name": "local",
        "processes": [{"name": "etcd", "kind": "etcd", "pid": 1, "addresses": {}, "log": "etcd.log"}],
        "grpc": {"routing": ["127.0.0.1:1"], "provisioning": ["127.0.0.1:1"]},
        "credentials": {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"},
        **changes,
    }


def test_without_a_cluster_the_command_says_what_it_needs(bare: Shell) -> None:
    assert "Give --cluster or --api" in bare("tenants list", code=2).stderr
    assert "Give --cluster or --journal" in bare("calls tail", code=2).stderr


@pytest.mark.parametrize("how", ["option", "environment", "default"])
def test_where_the_cluster_file_is(
    bare: Shell, elsewhere: Path, service: Service, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    content = cluster(grpc={"routing": [service.address]})
    file = elsewhere / "var" / "cluster.json" if how == "default" else elsewhere / "other.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))
    if how == "environment":
        monkeypatch.setenv("SIGNALBOX_CLUSTER", str(file))
    option = f"--cluster {file}" if how == "option" else ""
    assert "number_unknown" in bare(f"explain 404 --from 1 {option}").stdout


def test_the_first_address_that_takes_a_connection_is_used(bare: Shell, elsewhere: Path, service: Service) -> None:
    file = elsewhere / "cluster.json"
    file.write_text(json.dumps(cluster(grpc={"routing": [free_address(), service.address]})))
    bare(f"explain 404 --from 1 --cluster {file}")


def test_nobody_there(bare: Shell, elsewhere: Path) -> None:
    one, two = free_address(), free_address()
    file = elsewhere / "cluster.json"
    file.write_text(json.dumps(cluster(grpc={"routing": [one, two]})))
    failed = bare(f"explain 404 --from 1 --cluster {file}", code=3)
    assert failed.stderr == f"Error: no connection to {one} or {two}\n"


def test_somebody_there_who_says_nothing(bare: Shell) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        bare(f"tenants list --timeout 0.3 --api 127.0.0.1:{silent.getsockname()[1]}", code=3)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is not a cluster file"),
        ("[]", "is not a cluster file"),
        (json.dumps(cluster(version=2)), "version 2, this command reads 1"),
        (json.dumps(cluster(grpc={})), "names no provisioning service"),
        (json.dumps(cluster(credentials={})), "is not a cluster file"),
        (json.dumps(cluster()), "ca.pem: No such file"),
    ],
)
def test_a_cluster_file_that_is_of_no_use(bare: Shell, elsewhere: Path, content: str, told: str) -> None:
    (elsewhere / "cluster.json").write_text(content)
    assert told in bare("tenants list --cluster cluster.json", code=2).stderr


def test_a_cluster_file_that_is_not_there(bare: Shell) -> None:
    assert "cluster.json: No such file" in bare("tenants list --cluster cluster.json", code=2).stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--api 127.0.0.1:1 --ca ca.pem --cert c.pem", "--cert and --key go together"),
        ("--api 127.0.0.1:1 --cert c.pem --key c.key", "need --ca"),
        ("--ca ca.pem", "--ca needs --api"),
        ("--api 127.0.0.1:1 --api-key sb.acme.k.x", "--api-key needs --ca"),
        ("--api 127.0.0.1:1 --ca ca.pem", "ca.pem: No such file"),
    ],
)
def test_options_that_do_not_go_together(bare: Shell, options: str, told: str) -> None:
    assert told in bare(f"tenants list {options}", code=2).stderr


@pytest.mark.parametrize("command", ["tenants list", "explain 404 --from 1 --ask provisioning"])
def test_an_api_key_is_shown_to_the_cluster_of_the_file_too(
    bare: Shell, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Or who tries a tenant's key would see what the operator does."""
    shown: list[str] = []

    def load(self: Credentials) -> grpc.ChannelCredentials:
        shown.append(self.api_key)
        return grpc.ssl_channel_credentials()

    monkeypatch.setattr(Credentials, "load", load)
    (elsewhere / "cluster.json").write_text(json.dumps(cluster()))
    bare(f"{command} --cluster cluster.json --api-key sb.acme.k.x --timeout 0.2", code=3)
    assert shown == ["sb.acme.k.x"]
