"""Replay with API keys of tenants: who may see which rules is what it is everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.replay import record, write

from .conftest import environment

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import ProvisioningProcess

RULES = """
kind: Tenant
id: {tenant}
---
kind: Line
tenant: {tenant}
id: desk
user: "13911110000"
---
kind: Flow
tenant: {tenant}
id: main
draft: {{entry: desk, nodes: [{{id: desk, dial: {{lines: [{{line: desk}}]}}}}]}}
---
kind: Number
number: {number}
tenant: {tenant}
flow: main
"""
CLOSED = """
kind: Flow
tenant: {tenant}
id: main
draft: {{entry: end, nodes: [{{id: end, hang_up: {{}}}}]}}
"""


def signalbox(directory: Path, *arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "signalbox", *arguments],
        cwd=directory,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def secrets(directory: Path) -> dict[str, str]:
    """API keys of readers of two tenants, each with a number."""
    signalbox(directory, "trunks", "create", "carrier", "--source", "198.51.100.0/24")
    found = {}
    for tenant, number in (("one", "4000000001"), ("two", "4000000002")):
        (directory / f"{tenant}.yaml").write_text(RULES.format(tenant=tenant, number=number))
        (directory / f"{tenant}-closed.yaml").write_text(CLOSED.format(tenant=tenant))
        signalbox(directory, "apply", "-f", f"{tenant}.yaml")
        told = signalbox(directory, "api-keys", "create", tenant, "reader", "--role", "reader").stdout
        found[tenant] = next(word for line in told.splitlines() for word in line.split() if len(word) > 30)
    return found


@pytest.fixture
def reader(directory: Path, provisioning: ProvisioningProcess, secrets: dict[str, str]):  # type: ignore[no-untyped-def]
    """Replays as the reader of tenant one; the file has a call to each number."""
    write(directory, record(1, called="4000000001"), record(2, called="4000000002"))

    def replay(*options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        service = "--api", f"127.0.0.1:{provisioning.keys_port}", "--ca", os.fspath(provisioning.client.ca)
        arguments = ["replay", "calls.csv", *options, *service]
        return signalbox(directory, *arguments, code=code, SIGNALBOX_API_KEY=secrets["one"])

    return replay


def test_a_tenant_replays_its_own_calls(reader) -> None:  # type: ignore[no-untyped-def]
    told = json.loads(reader("-f", "one-closed.yaml", "-o", "json").stdout)
    (call,) = told["calls"]
    assert (call["call_id"], call["before"]["why"], call["after"]["why"]) == ("call-1", "dial", "hang_up")
    assert call["before"]["lines"] == "desk/30", "its trunks are taken to carry the line"
    assert any("trunks are the operator's to see" in note for note in told["summary"]["notes"])


def test_a_number_of_another_tenant_is_one_that_is_not_there(reader) -> None:  # type: ignore[no-untyped-def]
    told = json.loads(reader("--recorded", "-f", "one-closed.yaml", "-o", "json").stdout)
    assert [call["call_id"] for call in told["calls"]] == ["call-1"]
    assert told["summary"]["calls"] == 2


@pytest.mark.parametrize(
    "options",
    [("-f", "two-closed.yaml"), ("-d", "two-closed.yaml"), ("--flow", "two/main"), ("--add", "two/any", "138*")],
)
def test_what_is_another_s_cannot_be_drafted(reader, options) -> None:  # type: ignore[no-untyped-def]
    assert "PERMISSION_REFUSED" in reader(*options, code=1).stderr


def test_nor_can_what_is_the_operator_s_alone(reader, directory: Path) -> None:  # type: ignore[no-untyped-def]
    (directory / "trunk.yaml").write_text("kind: Trunk\nid: carrier\ndisabled: true\n")
    assert "PERMISSION_REFUSED" in reader("-f", "trunk.yaml", code=1).stderr


def test_the_operator_replays_all(directory: Path, secrets: dict[str, str]) -> None:
    write(directory, record(1, called="4000000001"), record(2, called="4000000002"))
    drafts = "-f", "one-closed.yaml", "-f", "two-closed.yaml"
    told = json.loads(signalbox(directory, "replay", "calls.csv", *drafts, "-o", "json").stdout)
    assert [(call["call_id"], call["before"]["why"]) for call in told["calls"]] == [
        ("call-1", "no_line"),
        ("call-2", "no_line"),
    ], "no trunk carries their lines, and the operator sees that"
