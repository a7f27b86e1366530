"""Who may reach whom: every pair of those who talk in a release or with it, both ways, against what each process needs.

What it needs: docs/running-the-parts.md#secrets-and-certificates, docs/design/kubernetes.md (ports), and who calls whom
in the code.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from support.chart import NODE, OLDEST, Rendered, merged, needs_helm, render
from support.policies import NAMESPACE, OPEN, Party, ports_of, reached, received, sent

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = needs_helm

SIP = ("5060/UDP", "5060/TCP")
NG = ("2223/UDP", "2223/TCP")
NAMES = ("53/UDP", "53/TCP")
RTP = "33000/UDP"
"""One of those of rtpengine; the test call's are 25060 and five more."""
TEST = tuple(f"{port}/UDP" for port in range(25_060, 25_066))

SOME = frozenset({*NAMES, *SIP, *NG, *TEST, RTP, "22/TCP", "80/TCP", "8080/TCP", "10250/TCP"})
"""Ports to try beside those that the policies name."""
ASKS_NAMES = ("routing", "provisioning", "ivr", "recorder", "etcd", "backup")
"""Of those that nearly every cluster has for it, by default (`networkPolicy.dns`)."""
ELSEWHERE = {
    "prometheus": ("10.244.9.1", "monitoring", {"app.kubernetes.io/name": "prometheus"}),
    "kube-dns": ("10.244.9.2", "kube-system", {"k8s-app": "kube-dns"}),
    "who says that he is": ("10.244.9.6", "shop", {"k8s-app": "kube-dns"}),
    "crm": ("10.244.9.3", "crm", {"app": "crm"}),
    "neighbour": (
        "10.244.9.4",
        "voice",
        {"app.kubernetes.io/name": "signalbox", "app.kubernetes.io/instance": "another"},
    ),
    "stranger": ("10.244.9.5", "shop", {"app": "shop"}),
}
"""Pods that are not of the release: who collects metrics, who answers for names, a client of provisioning, others."""
OUTSIDE = {
    "objects": "198.51.100.50",
    "database": "198.51.100.40",
    "etcd elsewhere": "198.51.100.1",
    "valkey elsewhere": "198.51.100.17",
    "a tenant's service": "203.0.113.80",
    "a carrier's gateway": "203.0.113.5",
    "the network's router": "10.0.0.1",
}
VALUES: Mapping[str, Any] = {
    "tests": {"clientSecret": "own-client"},
    "networkPolicy": {
        "enabled": True,
        "monitoring": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
            }
        ],
        "provisioningFrom": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "crm"}},
                "podSelector": {"matchLabels": {"app": "crm"}},
            }
        ],
        "external": {"requests": [{"cidr": "203.0.113.64/26", "ports": [443]}]},
    },
}
SIDE_DOORS = {
    "routing": ("7411/TCP",),
    "provisioning": ("7421/TCP",),
    "ivr": ("7461/TCP",),
    "recorder": ("7431/TCP",),
    "etcd": ("2381/TCP",),
}

CARRIER = {"routing": ("7412/TCP",), "provisioning": ("7422/TCP",)}
"""What the size has more: a second worker's side door, and a port for API keys."""

# By who and whom; a pair that is not here may talk about nothing.
FROM_PODS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("routing", "etcd"): ("2379/TCP",),
    ("routing", "valkey"): ("6379/TCP",),
    ("provisioning", "etcd"): ("2379/TCP",),
    ("provisioning", "routing"): ("7410/TCP",),
    ("provisioning", "provisioning"): ("7420/TCP",),
    ("provisioning", "objects"): ("443/TCP",),
    ("provisioning", "database"): ("5432/TCP",),
    ("ivr", "etcd"): ("2379/TCP",),
    ("ivr", "routing"): ("7410/TCP",),
    ("ivr", "recorder"): ("7430/TCP",),
    ("ivr", "objects"): ("443/TCP",),
    ("ivr", "a tenant's service"): ("443/TCP",),
    ("recorder", "etcd"): ("2379/TCP",),
    ("recorder", "objects"): ("443/TCP",),
    ("recorder", "database"): ("5432/TCP",),
    ("etcd", "etcd"): ("2379/TCP", "2380/TCP"),
    ("backup", "etcd"): ("2379/TCP",),
    ("crm", "provisioning"): ("7420/TCP",),
}
# Policies are not about pods in the network of their node (edge, media, test): these, the kubelet and whatever else a
# node sends are one to them. Between nodes, or a node and what is outside, all is open but for what protects the nodes
# (docs/operations.md#install). Pods reach proxies (SIP) and media nodes (ng, captures, keys and prompts) there.
TO_NODES: Mapping[str, tuple[str, ...]] = {
    "provisioning": ("7440/TCP",),
    "ivr": (*SIP, *NG, "7450/TCP"),
    "recorder": ("7440/TCP",),
}
# Proxies ask routing, promise to recorders, count in valkey, call workers; media nodes are in etcd; the kubelet asks
# side doors; a test call makes rules.
FROM_NODES: Mapping[str, tuple[str, ...]] = {
    "routing": ("7410/TCP", "7411/TCP"),
    "provisioning": ("7420/TCP", "7421/TCP"),
    "ivr": (*SIP, "7461/TCP"),
    "recorder": ("7430/TCP", "7431/TCP"),
    "etcd": ("2379/TCP", "2381/TCP"),
    "valkey": ("6379/TCP",),
}


def parties(rendered: Rendered) -> dict[str, Party]:
    """All of them, by name."""
    found = {
        name: Party(name, address, labels, namespace, {"kubernetes.io/metadata.name": namespace})
        for name, (address, namespace, labels) in ELSEWHERE.items()
    }
    found |= {name: Party(name, address) for name, address in OUTSIDE.items()}
    for number, (_, pod) in enumerate(rendered.pods()):
        labels = pod["metadata"]["labels"]
        component = labels["app.kubernetes.io/component"]
        if pod["spec"].get("hostNetwork"):
            found[component] = Party(component, NODE["HOST_IP"])
        else:
            names = {"kubernetes.io/metadata.name": NAMESPACE}
            found[component] = Party(component, f"10.244.1.{number}", labels, NAMESPACE, names)
    return found


def expected(who: Party, whom: Party, size: str) -> frozenset[str]:
    """By the tables."""
    if not (who.ours or whom.ours):
        return OPEN
    more = CARRIER if size == "carrier" else {}
    if who.address == NODE["HOST_IP"]:
        return frozenset((*FROM_NODES.get(whom.name, ()), *more.get(whom.name, ())))
    if whom.address == NODE["HOST_IP"]:
        return frozenset(TO_NODES.get(who.name, ()))
    there = whom.name.removesuffix(" elsewhere") if size == "carrier" else whom.name
    ports = FROM_PODS.get((who.name, there), ())
    if who.name in ASKS_NAMES and whom.name == "kube-dns":
        ports = (*ports, *NAMES)
    if who.name == "prometheus":
        ports = (*ports, *SIDE_DOORS.get(whom.name, ()), *(more["routing"] if whom.name == "routing" and more else ()))
    if who.name == "crm":
        ports = (*ports, *(more["provisioning"] if whom.name == "provisioning" and more else ()))
    return frozenset(ports)


@pytest.fixture(params=["region", "carrier"])
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_pair_reaches_what_it_needs_and_nothing_else(size: str) -> None:
    rendered = render(VALUES, size=size)
    everybody = parties(rendered)
    stores = {"etcd", "valkey", "backup"} if size == "region" else set()
    assert {one.name for one in everybody.values() if one.ours} == {
        "routing",
        "provisioning",
        "ivr",
        "recorder",
    } | stores
    assert {name for name, one in everybody.items() if one.address == NODE["HOST_IP"]} == {"edge", "media", "test"}
    ports = ports_of(rendered) | SOME
    wrong = {
        f"{who.name} -> {whom.name}": (sorted(found), sorted(wanted))
        for who, whom in itertools.product(everybody.values(), repeat=2)
        if (found := reached(rendered, who, whom, ports)) != (wanted := expected(who, whom, size))
    }
    assert wrong == {}, "what may be reached, and what should"


def test_what_one_may_send_the_other_may_receive() -> None:
    """Neither end is open for what the other forbids: it would be open for nothing, or for somebody else."""
    rendered = render(VALUES, size="region")
    everybody, ports = parties(rendered), ports_of(render(VALUES, size="region"))
    for who, whom in itertools.product([one for one in everybody.values() if one.ours], repeat=2):
        assert sent(rendered, who, whom, ports) == received(rendered, who, whom, ports), f"{who.name} -> {whom.name}"


def test_a_backup_is_restored_by_nobody_who_talks() -> None:
    values = merged(VALUES, {"backup": {"restore": {"file": "a.db", "generation": 2}}})
    rendered = render(values, size="region")
    everybody = parties(rendered)
    assert everybody["restore"].ours
    for other in everybody.values():
        assert not sent(rendered, everybody["restore"], other, SOME), other.name
        assert not received(rendered, other, everybody["restore"], SOME), other.name


APART = {
    "node-1": {"advertise": "203.0.113.7:5062", "listen": ["192.0.2.7:5062", "172.16.0.7:5080"]},
    "node-2": {"advertise": "[2001:db8::8]:5060", "listen": ["0.0.0.0:5060"]},
}


def test_proxies_that_listen_elsewhere_are_reached_there() -> None:
    """By workers with voice, who know a proxy by what it is called, and by where a call of it came from."""
    rendered = render(merged(VALUES, {"edge": {"nodes": APART}}), size="region")
    ivr = parties(rendered)["ivr"]
    ports = {*SIP, "5062/UDP", "5062/TCP", "5080/UDP", "5080/TCP", "7450/TCP", "22/TCP"}
    reach = {
        NODE["HOST_IP"]: {"5060", "5062", "5080", "7450"},
        "172.16.0.7": {"5060", "5062", "5080"},
        "203.0.113.7": {"5062"},
        "2001:db8::8": {"5060"},
        "203.0.113.8": set(),
    }
    for address, numbers in reach.items():
        found = reached(rendered, ivr, Party("proxy", address), ports)
        assert {port.partition("/")[0] for port in found} == numbers, address
    assert reached(rendered, Party("proxy", "172.16.0.7"), ivr, {*SIP, "7461/TCP"}) == {*SIP}
    assert not reached(rendered, Party("no proxy", "172.16.0.8"), ivr, {*SIP, "7461/TCP"})


def test_proxies_behind_a_balancer_are_called_by_its_address() -> None:
    rendered = render(merged(VALUES, {"edge": {"advertise": "203.0.113.9:5070"}}), size="region")
    everybody = parties(rendered)
    balancer = Party("balancer", "203.0.113.9")
    assert reached(rendered, everybody["ivr"], balancer, {"5070/UDP", "5070/TCP", *SIP}) == {"5070/UDP", "5070/TCP"}


def test_a_test_call_from_the_pods_network_has_its_own_ports_alone() -> None:
    media = {"node-1": {"interfaces": ["pub/172.16.0.9!203.0.113.9", "192.0.2.7"]}}
    apart = {"tests": {"hostNetwork": False}, "edge": {"nodes": APART}, "media": {"nodes": media}}
    rendered = render(merged(VALUES, {"networkPolicy": {"nodeCIDRs": ["192.0.2.0/24"]}}, apart), size="laptop")
    test = parties(rendered)["test"]
    assert test.ours
    ports = {*TEST, RTP, "5062/UDP", "7420/TCP", "2223/TCP", "22/TCP"}
    for address in (NODE["HOST_IP"], "172.16.0.7", "172.16.0.9"):
        assert reached(rendered, Party("node", address), test, ports) == {*TEST}, address
    for address in (NODE["HOST_IP"], "172.16.0.7", "203.0.113.7", "172.16.0.9", "203.0.113.9"):
        assert reached(rendered, test, Party("node", address), ports) == {one for one in ports if one.endswith("UDP")}
    assert not reached(rendered, test, Party("elsewhere", "203.0.113.66"), ports)
    assert reached(rendered, test, parties(rendered)["provisioning"], ports) == {"7420/TCP"}


def test_before_namespaces_had_their_names_as_labels_that_of_the_pods_must_do() -> None:
    rendered = render(VALUES, size="region", version=OLDEST)
    everybody = parties(rendered)
    unnamed = [
        Party(one.name, one.address, one.labels, one.namespace) for one in everybody.values() if one.name in ELSEWHERE
    ]
    found = {one.name for one in unnamed if sent(rendered, everybody["etcd"], one, NAMES)}
    assert found == {"kube-dns", "who says that he is"}


@pytest.mark.parametrize(
    ("dns", "ports", "server", "asked"),
    [
        ([{"ipBlock": {"cidr": "169.254.20.10/32"}}], [53], Party("on the node", "169.254.20.10"), NAMES),
        (
            [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}}}],
            [5353],
            Party("dns", "10.244.9.9", {}, "openshift-dns", {"kubernetes.io/metadata.name": "openshift-dns"}),
            ("5353/UDP", "5353/TCP"),
        ),
    ],
    ids=["NodeLocal DNSCache", "OpenShift"],
)
def test_who_else_answers_for_names_is_a_value(
    dns: list[dict[str, Any]], ports: list[int], server: Party, asked: tuple[str, ...]
) -> None:
    rendered = render(merged(VALUES, {"networkPolicy": {"dns": dns, "dnsPorts": ports}}), size="region")
    everybody = parties(rendered)
    for name in ASKS_NAMES:
        assert sent(rendered, everybody[name], server, {*SOME, *asked}) == {*asked}
        assert not sent(rendered, everybody[name], everybody["kube-dns"], {*SOME, *asked}), "instead of it"


def test_a_database_in_the_cluster_is_reached_by_its_labels() -> None:
    """No policy sees the address of its Service, and some networks match no pod by address."""
    pods = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "crm"}},
        "podSelector": {"matchLabels": {"app": "crm"}},
    }
    external = {"database": [{"pods": pods, "ports": [5432]}]}
    rendered = render(merged(VALUES, {"networkPolicy": {"external": external}}), size="region")
    everybody = parties(rendered)
    ports = {*SOME, "5432/TCP"}
    for name in ("provisioning", "recorder"):
        assert sent(rendered, everybody[name], everybody["crm"], ports) == {"5432/TCP"}
        assert not sent(rendered, everybody[name], everybody["database"], ports)
        assert not sent(rendered, everybody[name], everybody["stranger"], ports)


def test_without_policies_there_are_none() -> None:
    assert not render({"networkPolicy": {"enabled": False}}).all("NetworkPolicy")
