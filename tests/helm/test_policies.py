"""Who may reach whom: nobody, and then what each process needs (docs/running-the-parts.md#secrets-and-certificates)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.chart import Rendered, needs_helm, render, selects

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = needs_helm
NODES = "192.0.2.0/24"
REACHES = {
    # who: (whom, port)
    "routing": {("etcd", 2379), ("valkey", 6379)},
    "provisioning": {("etcd", 2379), ("routing", 7410)},
    "ivr": {("etcd", 2379), ("routing", 7410), ("recorder", 7430)},
    "recorder": {("etcd", 2379)},
}
BY_NODES = {("etcd", 2379), ("valkey", 6379), ("routing", 7410), ("recorder", 7430), ("ivr", 5060)}
"""Proxies and media nodes have the addresses of their nodes."""
NEVER = {
    ("ivr", "valkey", 6379), ("recorder", "valkey", 6379), ("ivr", "provisioning", 7420), ("recorder", "routing", 7410),
    ("valkey", "etcd", 2379), ("routing", "provisioning", 7420),
}  # fmt: skip


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return render({"networkPolicy": {"enabled": True, "nodeCIDRs": [NODES]}}, size="region")


def _pod(rendered: Rendered, component: str) -> dict[str, Any]:
    (found,) = [
        pod for _, pod in rendered.pods() if pod["metadata"]["labels"]["app.kubernetes.io/component"] == component
    ]
    return found


def _rules(rendered: Rendered, pod: dict[str, Any], way: str) -> list[dict[str, Any]]:
    """Rules of all policies that are about a pod, for Ingress or Egress."""
    policies = [
        one["spec"]
        for one in rendered.all("NetworkPolicy")
        if selects(one["spec"]["podSelector"].get("matchLabels", {}), pod) and way in one["spec"]["policyTypes"]
    ]
    assert policies, "nobody says who may"
    return [rule for spec in policies for rule in spec.get(way.lower()) or ()]


def _lets(rules: Iterable[dict[str, Any]], peer: str, other: dict[str, Any] | str, port: int) -> bool:
    """Does a rule let the other, a pod or a network, through?"""
    for rule in rules:
        ports = [one["port"] for one in rule.get("ports", ())]
        if ports and port not in ports:
            continue
        for one in rule.get(peer, ()):
            if isinstance(other, str):
                if one.get("ipBlock", {}).get("cidr") == other:
                    return True
            elif "podSelector" in one and selects(one["podSelector"].get("matchLabels", {}), other):
                return True
    return False


def _reaches(rendered: Rendered, who: str, whom: str, port: int) -> bool:
    sender, receiver = _pod(rendered, who), _pod(rendered, whom)
    return _lets(_rules(rendered, sender, "Egress"), "to", receiver, port) and _lets(
        _rules(rendered, receiver, "Ingress"), "from", sender, port
    )


@pytest.mark.parametrize("who", REACHES)
def test_each_reaches_what_it_needs(rendered: Rendered, who: str) -> None:
    for whom, port in REACHES[who]:
        assert _reaches(rendered, who, whom, port), f"{who} cannot reach {whom}:{port}"


@pytest.mark.parametrize(("whom", "port"), sorted(BY_NODES))
def test_proxies_and_media_nodes_reach_what_they_need(rendered: Rendered, whom: str, port: int) -> None:
    assert _lets(_rules(rendered, _pod(rendered, whom), "Ingress"), "from", NODES, port)


@pytest.mark.parametrize(("who", "whom", "port"), sorted(NEVER))
def test_nobody_reaches_more(rendered: Rendered, who: str, whom: str, port: int) -> None:
    assert not _reaches(rendered, who, whom, port)


def test_everybody_in_the_pod_network_is_closed(rendered: Rendered) -> None:
    for name, pod in rendered.pods():
        if not pod["spec"].get("hostNetwork"):
            for way in ("Ingress", "Egress"):
                for rule in _rules(rendered, pod, way):
                    assert rule.get("from" if way == "Ingress" else "to"), f"{name}: {way} is open to all"


def test_without_policies_there_are_none() -> None:
    assert not render({"networkPolicy": {"enabled": False}}).all("NetworkPolicy")
