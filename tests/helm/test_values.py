"""No value does nothing: what an operator writes is found again in what the chart makes."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.chart import CHART, MONITORING, merged, needs_helm, own, template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = needs_helm

QUANTITY = re.compile(r"[0-9]+(Mi|Gi)")
PEERS = [{"podSelector": {"matchLabels": {"own": "VALUE"}}}]
OUTSIDE = [{"pods": {"podSelector": {"matchLabels": {"own": "VALUE"}}}, "ports": [443]}]
WRITTEN: Mapping[str, Any] = {
    "database.url": "postgresql://signalbox@VALUE/signalbox",
    "edge.advertise": "203.0.113.77:5060",
    "edge.nodes": {"n1": {"advertise": "203.0.113.77:5060", "listen": ["203.0.113.77:5060"]}},
    "media.nodes": {"n1": {"interfaces": ["203.0.113.77"]}},
    "objects.s3.endpoint": "https://VALUE",
    "valkey.external.address": "VALUE:6379",
    "etcd.external.endpoints": ["VALUE:2379"],
    "image.pullSecrets": [{"name": "VALUE"}],
    "certificates.provisioning.addresses": ["203.0.113.77"],
    "certificates.certManager.duration": "7777h",
    "certificates.certManager.renewBefore": "7776h",
    "networkPolicy.nodeCIDRs": ["203.0.113.77/32"],
    "networkPolicy.dnsPorts": [5353],
    "tests.proxies": ["VALUE:5060"],
    "tests.number": "7770777",
    "loadtest.options": ["--csv=VALUE"],
    "loadtest.proxies": ["VALUE:5060"],
    "edge.state.hostPath": "/VALUE",
    "media.state.hostPath": "/VALUE",
    "backup.schedule": "7 7 7 7 7",
    "monitoring.serviceMonitor.interval": "7777s",
    "monitoring.serviceMonitor.timeout": "7776s",
    **dict.fromkeys([f"networkPolicy.{name}" for name in ("monitoring", "dns", "provisioningFrom")], PEERS),
    **dict.fromkeys(
        [f"networkPolicy.external.{name}" for name in ("etcd", "valkey", "database", "objects", "requests")], OUTSIDE
    ),
}
"""Where any word will not do, what is written; VALUE stands for the word."""
NOT_HERE = {
    "etcd.release": "says which options the image has",
    "monitoring.rules.without": "leaves an alert out, as test_monitoring.py sees",
    "backup.persistence.accessModes": "one of a few words",
    "loadtest.users": "the same, as test_loadtest.py sees",
}
LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "stores here, tags": (
        "etcd.external*", "valkey.external*", "objects.s3*", "objects.volume.existingClaim", "*.digest", "edge.nodes",
        "media.nodes", "tests.proxies", "tests.clientSecret", "certificates.certManager*", "database*", "*.affinity",
        "fullnameOverride", "backup.persistence.existingClaim", "certificates.provisioning.existingSecret",
        "keys.existingSecret",
    ),
    "stores elsewhere, digests": (
        "objects.volume*", "etcd.image*", "valkey.image*", "edge.advertise", "media.interfaces", "*.tag",
        "nameOverride", "certificates.provisioning.[na]*", "certificates.certManager*", "etcd.tls*", "backup.restore*",
        "*.priorityClassName",
    ),
    "certificates of cert-manager": (
        "etcd.external*", "certificates.provisioning.existingSecret", "objects.s3*", "etcd.tls*",
        "etcd.client.tlsSecret", "valkey.external*", "fullnameOverride", "backup.restore*",
    ),
}  # fmt: skip
"""What is not written in a case, by patterns, as it would be in the way of others: each value counts in one."""
BESIDE: Mapping[str, Mapping[str, Any]] = {
    "stores here, tags": {
        "objects": {"s3": {"bucket": ""}},
        "edge": {"service": {"enabled": True}},
        "volumePermissions": {"enabled": True},
        "loadtest": {"enabled": True},
        **{component: {"autoscaling": {"enabled": True}} for component in ("ivr", "recorder")},
        "routing": {"autoscaling": {"enabled": True}, "persistence": {"enabled": True}},
    },
    "stores elsewhere, digests": {"loadtest": {"enabled": True}},
    "certificates of cert-manager": {
        "certificates": {
            "provisioning": {"existingSecret": ""},
            "certManager": {"enabled": True},
            "internal": {"enabled": True},
        },
        "objects": {"s3": {"bucket": ""}},
    },
}


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        here = f"{path}{key}"
        if isinstance(value, dict) and value and key not in ("resources", "nodeSelector"):
            yield from _leaves(value, f"{here}.")
        elif key != "settings":
            yield here, value


def _schema(path: str) -> Mapping[str, Any]:
    """What may be written there."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    found = schema
    for name in path.split("."):
        found = found["properties"][name]
        if "$ref" in found:
            found = schema["$defs"][found["$ref"].rpartition("/")[2]]
    return dict(found)


def _written(path: str, default: Any, number: int) -> tuple[Any, str] | None:
    """A value that is nobody else's, and what of it must be found again. None: one of a few words, or a number."""
    word = f"own-{number}"
    if path in NOT_HERE or "enum" in _schema(path) or isinstance(default, bool | int | float):
        return None
    if path in WRITTEN:
        text = json.dumps(WRITTEN[path])
        sought = re.search(r"203\.0\.113\.77|77\d\d[hs]|5353|7770777|7 7 7 7 7", text)
        return json.loads(text.replace("VALUE", word)), word if sought is None else sought[0]
    name = path.rpartition(".")[2]
    if name == "digest":
        return f"sha256:{number:064x}", f"{number:064x}"
    if name == "resources":
        amounts = {"cpu": f"{number}m", "memory": f"{number}Mi"}
        return {"requests": amounts, "limits": {"memory": f"{number}Mi"}}, f"{number}Mi"
    if name == "tolerations":
        return [{"key": word}], word
    if name == "affinity":
        terms = [{"topologyKey": word, "labelSelector": {}}]
        return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}, word
    if isinstance(default, dict):
        return {word: "true"}, word
    if isinstance(default, list):
        return [word], word
    if QUANTITY.fullmatch(default):
        return f"{number}Gi", f"{number}Gi"
    return word, word


def _tree(path: str, value: Any) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


def test_whatever_is_written_is_found_again() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    written = {
        path: made
        for number, (path, default) in enumerate(_leaves(values), 30_001)
        if (made := _written(path, default, number)) is not None
    }
    assert len(written) > 150
    missing = {*written}
    for case, patterns in LEFT_OUT.items():
        tree: dict[str, Any] = merged(own("region"), BESIDE[case])
        for path, (value, _) in written.items():
            if not any(fnmatch.fnmatch(path, pattern) for pattern in patterns):
                tree = merged(tree, _tree(path, value))
        text = template(json.dumps(tree), "region", "1.37.0", "sb", MONITORING)
        missing -= {path for path in missing if written[path][1] in text}
    assert sorted(missing) == []


@pytest.mark.parametrize("path", NOT_HERE)
def test_exceptions_are_values(path: str) -> None:
    assert path in dict(_leaves(yaml.safe_load((CHART / "values.yaml").read_text())))
