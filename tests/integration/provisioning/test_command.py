"""The command against real processes: provisioning over mutual TLS, routing, and etcd between them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from .conftest import environment

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import ProvisioningProcess

DEADLINE_S = 20.0


def signalbox(directory: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the cluster's directory."""
    return subprocess.run(
        [sys.executable, "-m", "signalbox", *line.split()],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_number_from_its_creation_to_its_explanation(directory: Path) -> None:
    for line in (
        "tenants create first",
        "lines create first a --user 100 --host 192.0.2.7",
        "trunks create carrier --source 198.51.100.0/24",
        "numbers create 4001234567 --tenant first --stage a:20",
    ):
        done = signalbox(directory, line)
        assert done.returncode == 0, done.stderr
    told = explained(directory, "4001234567", "dial")
    branch = told["decision"]["dial"]["stages"][0]["branches"][0]
    assert (branch["line"], branch["uri"]) == ("a", "sip:100@192.0.2.7:5060")
    assert any(step["decisive"] for step in told["steps"])

    assert signalbox(directory, "numbers update 4001234567 --state suspended").returncode == 0
    assert explained(directory, "4001234567", "number_suspended")["decision"]["reject"]["code"] == 403
    shown = signalbox(directory, "explain 4001234567 --from 13800001234 --trunk carrier").stdout
    assert "reject with 403" in shown
    assert "→" in shown
    assert "reject with 403" in signalbox(directory, "explain 4001234567 --from 13800001234 --ask provisioning").stdout


def explained(directory: Path, number: str, why: str) -> dict:  # type: ignore[type-arg]
    """The explanation, once it is for this reason: a replica follows the store a moment later."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        done = signalbox(directory, f"explain {number} --from 13800001234 --trunk carrier --output json")
        if done.returncode == 0 and (told := json.loads(done.stdout))["decision"]["why"] == why:
            return told
        assert time.monotonic() < deadline, done.stdout + done.stderr


def test_a_refusal(directory: Path) -> None:
    done = signalbox(directory, "tenants delete nobody")
    assert done.returncode == 1
    assert done.stderr == "Error: tenant nobody does not exist (RESOURCE_NOT_FOUND)\n"


def test_a_service_that_knows_us_not(directory: Path, provisioning: ProvisioningProcess) -> None:
    """Without a certificate nobody answers: that is how TLS refuses."""
    done = signalbox(directory, f"tenants list --api {provisioning.address} --ca {provisioning.client.ca}")
    assert done.returncode == 3
    assert done.stderr == f"Error: no connection to {provisioning.address}\n"
