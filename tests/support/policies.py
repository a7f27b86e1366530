"""Network policies as Kubernetes reads them: which ports of one party another may reach.

A policy is about pods in the pods' network alone. A pod in the network of its node is the node to others, and has no
policy of its own; nor has what is outside of the release's namespace. `ipBlock` matches pods, too, as in some networks.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from support.chart import Rendered

NAMESPACE = "voice"
"""That of the release, whose name is sb."""
Port = str
"""Such as "5060/UDP"."""
OPEN: frozenset[Port] = frozenset({"all"})
"""Between two that no policy is about: whatever protects the nodes decides."""


@dataclass(frozen=True)
class Party:
    """Somebody who sends or listens. ``labels``: of a pod in the pods' network."""

    name: str
    address: str
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    namespace_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """A pod of the release in the pods' network: what policies are about."""
        return self.namespace == NAMESPACE and self.labels.get("app.kubernetes.io/instance") == "sb"


def reached(rendered: Rendered, who: Party, whom: Party, ports: Iterable[Port]) -> frozenset[Port]:
    """Those of the ports of ``whom`` that ``who`` may reach: it may send, and the other may receive."""
    if _rules(rendered, who, "Egress") is None and _rules(rendered, whom, "Ingress") is None:
        return OPEN
    asked = frozenset(ports)
    return sent(rendered, who, whom, asked) & received(rendered, who, whom, asked)


def sent(rendered: Rendered, who: Party, whom: Party, ports: Iterable[Port]) -> frozenset[Port]:
    """Those that ``who`` may send to, whatever the other may receive."""
    rules = _rules(rendered, who, "Egress")
    return frozenset(port for port in ports if rules is None or _passes(rules, "to", whom, port))


def received(rendered: Rendered, who: Party, whom: Party, ports: Iterable[Port]) -> frozenset[Port]:
    """Those that ``whom`` may receive at, whatever the other may send."""
    rules = _rules(rendered, whom, "Ingress")
    return frozenset(port for port in ports if rules is None or _passes(rules, "from", who, port))


def ports_of(rendered: Rendered) -> set[Port]:
    """All that a policy names."""
    return {
        f"{port['port']}/{port.get('protocol', 'TCP')}"
        for policy in rendered.all("NetworkPolicy")
        for way in ("ingress", "egress")
        for rule in policy["spec"].get(way) or ()
        for port in rule.get("ports", ())
        if "port" in port
    }


def _rules(rendered: Rendered, party: Party, way: str) -> list[dict[str, Any]] | None:
    """Of all policies about a party; None if there is none, so that everything passes."""
    policies = [
        one["spec"]
        for one in rendered.all("NetworkPolicy")
        if party.namespace == NAMESPACE
        and _fits(one["spec"]["podSelector"], party.labels)
        and way in one["spec"]["policyTypes"]
    ]
    return [rule for spec in policies for rule in spec.get(way.lower()) or ()] if policies else None


def _passes(rules: Sequence[Mapping[str, Any]], peers: str, other: Party, port: Port) -> bool:
    """Without peers, or without ports, a rule is about all of them."""
    return any(
        (peers not in rule or any(_is(peer, other) for peer in rule[peers] or ()))
        and ("ports" not in rule or any(_at(one, port) for one in rule["ports"]))
        for rule in rules
    )


def _at(one: Mapping[str, Any], port: Port) -> bool:
    """Named ports and ranges are not read: the chart has none."""
    number, _, protocol = port.partition("/")
    assert one.keys() <= {"port", "protocol"}
    assert isinstance(one.get("port", 0), int)
    return protocol == one.get("protocol", "TCP") and number == str(one.get("port", number))


def _is(peer: Mapping[str, Any], other: Party) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        within = [
            ipaddress.ip_address(other.address) in ipaddress.ip_network(cidr)
            for cidr in (block["cidr"], *block.get("except", ()))
        ]
        return within[0] and not any(within[1:])
    assert peer
    assert peer.keys() <= {"podSelector", "namespaceSelector"}
    if not other.namespace:
        return False
    there = (
        _fits(peer["namespaceSelector"], other.namespace_labels)
        if "namespaceSelector" in peer
        else other.namespace == NAMESPACE
    )
    return there and _fits(peer.get("podSelector", {}), other.labels)


def _fits(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}, "expressions are not read"
    return selector.get("matchLabels", {}).items() <= labels.items()
