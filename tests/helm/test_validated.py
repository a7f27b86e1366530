"""Every object fits the schema of Kubernetes, strictly: of the oldest version that has one, and of the newest."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml
from support.chart import DUMPER, MONITORING, SIZES, needs_helm, render

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_helm
CUSTOM = {"ServiceMonitor", "PrometheusRule", "Certificate"}
"""Of operators, which no schema of Kubernetes has."""
EVERYTHING = {
    "routing": {"autoscaling": {"enabled": True}, "persistence": {"enabled": True}},
    "ivr": {"autoscaling": {"enabled": True}},
    "recorder": {"autoscaling": {"enabled": True}},
    "edge": {"service": {"enabled": True}},
    "backup": {"enabled": True},
}
RESTORE = {"backup": {"enabled": True, "restore": {"file": "etcd-2027-01-01T00-00-00Z.db", "generation": 2}}}
NODES = {
    "ipFamily": "IPv6",
    "networkPolicy": {"enabled": True, "nodeCIDRs": ["2001:db8::/64"]},
    "tests": {"hostNetwork": False},
    "edge": {
        "kind": "Deployment",
        "nodes": {"n1": {"advertise": "203.0.113.7:5060", "listen": ["192.0.2.7:5060", "[2001:db8::7]:5070"]}},
    },
    "ivr": {"apart": "required"},
    "media": {"kind": "Deployment", "nodes": {"n1": {"interfaces": ["192.0.2.7"]}}, "kernelTable": "always"},
}
LOADTEST = {"loadtest": {"enabled": True, "workers": 4, "shape": "steady", "options": ["--peak=50"], "run": 3}}
CASES = (
    [(size, {}) for size in SIZES]
    + [("laptop", LOADTEST)]
    + [("region", EVERYTHING), ("region", RESTORE), ("laptop", NODES)]
)


@pytest.mark.parametrize("version", ["1.25", "1.37"])
def test_kubernetes_would_take_it(version: str, tmp_path: Path) -> None:
    """One run for all: what the program loads takes longer than what it looks at. It says nothing if all is well."""
    file = tmp_path / "all.yaml"
    objects = [
        one
        for size, values in CASES
        for one in render(values, size=size, version=f"{version}.0").objects
        if one["kind"] not in CUSTOM
    ]
    file.write_text(yaml.dump_all(objects, Dumper=DUMPER))
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", version, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("INFO")]
    assert (done.returncode, said) == (0, [])
    assert len(objects) > 200


def test_a_wrong_field_would_be_seen(tmp_path: Path) -> None:
    (service, *_) = render().all("Service")
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump(service | {"spec": service["spec"] | {"noSuchField": 1}}))
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", "1.37", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "noSuchField" in done.stdout + done.stderr


def test_objects_of_operators_are_made_where_there_are_operators() -> None:
    kinds = {one["kind"] for one in render(apis=MONITORING).objects}
    assert {"ServiceMonitor", "PrometheusRule"} <= kinds
    assert not {one["kind"] for one in render().objects} & CUSTOM
