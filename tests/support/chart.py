"""The chart as Helm renders it, for tests: objects by kind and name, pods with what belongs to them."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/signalbox"
HELM = ROOT / ".venv/bin/helm"
needs_helm = pytest.mark.skipif(not HELM.exists(), reason="no Helm for this machine: see deploy/local/install")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C takes a tenth of the time."""
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
OLDEST, NEWEST = "1.20.0", "1.37.0"
SIZES = ("laptop", "region", "carrier")
WORKLOADS = ("DaemonSet", "Deployment", "StatefulSet", "CronJob", "Job", "Pod")
MONITORING = (
    "monitoring.coreos.com/v1",
    "monitoring.coreos.com/v1/ServiceMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
)
"""What a cluster with the operator of Prometheus knows besides."""
NODE = {
    "NODE_NAME": "ip-10-0-1-23.eu-west-1.compute.internal",
    "HOST_IP": "192.0.2.7",
    "POD_IP": "10.244.1.7",
    "POD_NAME": "sb-signalbox-x-1",
}
NODE6 = NODE | {"HOST_IP": "2001:db8::7", "POD_IP": "2001:db8:0:244::7"}
"""One without IPv4."""

OWN: Mapping[str, Any] = {
    "keys": {"existingSecret": "own-keys"},
    "certificates": {"provisioning": {"existingSecret": "own-tls"}},
    "networkPolicy": {
        "nodeCIDRs": ["192.0.2.0/24"],
        "external": {
            "etcd": [{"cidr": "198.51.100.0/28", "ports": [2379]}],
            "valkey": [{"cidr": "198.51.100.16/28", "ports": [6379]}],
            "database": [{"cidr": "198.51.100.32/28", "ports": [5432]}],
            "objects": [{"cidr": "198.51.100.48/28", "ports": [443]}],
        },
    },
    "database": {"url": "postgresql://signalbox@db.example/signalbox", "passwordSecret": {"name": "own-database"}},
    "objects": {
        "s3": {
            "bucket": "signalbox",
            "endpoint": "https://s3.example",
            "accessKeyId": "key",
            "secretKey": {"name": "own-s3"},
        }
    },
    "etcd": {"external": {"endpoints": ["198.51.100.1:2379"]}},
    "valkey": {"external": {"address": "198.51.100.17:6379"}},
}
"""What an operator must say beside a size."""

CERT_MANAGER = {
    "certificates": {
        "provisioning": {"existingSecret": "", "names": ["api.example.com"], "addresses": ["203.0.113.4"]},
        "certManager": {"enabled": True, "issuer": {"name": "voice-ca", "kind": "ClusterIssuer"}},
        "internal": {"enabled": True},
    }
}
"""Certificates of cert-manager, between the components, too."""


class ChartError(Exception):
    """Helm refused; its words."""


def merged(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """Trees laid one over the other."""
    result: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            here = result.get(key)
            result[key] = merged(here, value) if isinstance(here, dict) and isinstance(value, dict) else value
    return result


def own(size: str) -> dict[str, Any]:
    """What an operator adds to a size."""
    if size == "laptop":
        return {}
    chosen = dict(OWN)
    if size == "region":
        del chosen["etcd"], chosen["valkey"]
    return chosen


def render(
    values: Mapping[str, Any] | None = None,
    *,
    size: str = "laptop",
    version: str = NEWEST,
    release: str = "sb",
    apis: tuple[str, ...] = (),
) -> Rendered:
    """Render a size with values over it. The same again is the same object: look, don't touch. Raises ChartError."""
    text = json.dumps(merged(own(size), values or {}), sort_keys=True)
    return _rendered(text, size, version, release, apis)


@functools.cache
def _rendered(values: str, size: str, version: str, release: str, apis: tuple[str, ...]) -> Rendered:
    return Rendered(template(values, size, version, release, apis))


def template(values: str, size: str, version: str, release: str, apis: tuple[str, ...]) -> str:
    """What ``helm template`` writes; ``values`` is JSON. Raises ChartError."""
    command = [str(HELM), "template", release, str(CHART), "--namespace", "voice", "--kube-version", version]
    command += ["--values", str(CHART / f"values-{size}.yaml"), "--values", "-"]
    command += [f"--api-versions={api}" for api in apis]
    done = subprocess.run(command, input=values, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise ChartError(done.stderr)
    return done.stdout


class Rendered:
    """All objects."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.objects: list[dict[str, Any]] = [one for one in yaml.load_all(text, Loader=LOADER) if one]

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Of a kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The one of a name. Raises KeyError."""
        for one in self.all(kind):
            if one["metadata"]["name"] == name:
                return one
        raise KeyError(f"{kind} {name}")

    def workload(self, component: str) -> dict[str, Any]:
        """The one whose pods serve for a component."""
        (found,) = [
            one
            for one in self.workloads()
            if one["metadata"]["labels"]["app.kubernetes.io/component"] == component and one["kind"] != "Job"
        ]
        return found

    def workloads(self) -> Iterator[dict[str, Any]]:
        """Whatever has pods."""
        return (one for one in self.objects if one["kind"] in WORKLOADS)

    def pods(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and pod (metadata and spec) of each."""
        for one in self.workloads():
            yield f"{one['kind']}/{one['metadata']['name']}", pod_of(one)

    def settings_of(self, container: Mapping[str, Any], node: Mapping[str, str] = NODE) -> dict[str, str]:
        """The environment that a container gets on a node, what it takes from ConfigMaps included."""
        environment: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            environment |= self.get("ConfigMap", source["configMapRef"]["name"])["data"]
        sources = {one["name"]: one["valueFrom"] for one in container.get("env", ()) if "valueFrom" in one}
        known = {name: "of a Secret" if "secretKeyRef" in source else node[name] for name, source in sources.items()}
        for one in container.get("env", ()):
            if "value" in one:
                environment[one["name"]] = expand(one["value"], known)
        return environment


def expand(text: str, known: Mapping[str, str]) -> str:
    """``$(NAME)`` as the kubelet puts it in. Raises KeyError for one that is not known: it would be left as it is."""
    return re.sub(r"\$\((\w+)\)", lambda found: known[found[1]], text)


def pod_of(workload: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata and spec of its pods."""
    if workload["kind"] == "Pod":
        return dict(workload)
    if workload["kind"] == "CronJob":
        return dict(workload["spec"]["jobTemplate"]["spec"]["template"])
    return dict(workload["spec"]["template"])


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All of a pod, those too that run first."""
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def selects(selector: Mapping[str, str], pod: Mapping[str, Any]) -> bool:
    """Does a selector of labels fit a pod?"""
    return selector.items() <= pod["metadata"]["labels"].items()


def lint(*values: Path) -> str:
    """What ``helm lint --strict`` says. Raises ChartError."""
    command = [str(HELM), "lint", "--strict", str(CHART)]
    for file in values:
        command += ["--values", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"LANG": "C"})
    if done.returncode:
        raise ChartError(done.stdout + done.stderr)
    return done.stdout
