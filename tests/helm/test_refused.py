"""Values that are wrong or missing: Helm refuses them and names the value."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from support.chart import CHART, SIZES, ChartError, merged, needs_helm, own, render, template

pytestmark = needs_helm


def _paths(tree: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where objects are in the values, free ones apart."""
    found = [above]
    for key, value in tree.items():
        if isinstance(value, dict) and value and key not in ("settings", "nodeSelector", "resources", "issuer"):
            found += _paths(value, (*above, key))
    return found


def _values() -> dict[str, Any]:
    return dict(yaml.safe_load((CHART / "values.yaml").read_text()))


def test_unknown_keys_are_refused_at_every_level() -> None:
    tree: dict[str, Any] = {}
    paths = _paths(_values())
    assert len(paths) > 40
    for path in paths:
        here = tree
        for key in path:
            here = here.setdefault(key, {})
        here["noSuchValue"] = 1
    with pytest.raises(ChartError) as refused:
        render(tree)
    text = str(refused.value)
    assert text.count("'noSuchValue'") == len(paths)
    for path in paths:
        assert f"at '/{'/'.join(path)}'" in text or not path


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"routing": {"replicas": "two"}}, "/routing/replicas"),
        ({"routing": {"replicas": -1}}, "/routing/replicas"),
        ({"edge": {"kind": "StatefulSet"}}, "/edge/kind"),
        ({"edge": {"port": 70000}}, "/edge/port"),
        ({"edge": {"drainSeconds": -1}}, "/edge/drainSeconds"),
        ({"edge": {"advertise": "sip.example:5060"}}, "/edge/advertise"),
        ({"edge": {"nodes": {"n1": {"advertise": "", "listen": ["192.0.2.7:5060"]}}}}, "/edge/nodes/n1/advertise"),
        ({"edge": {"nodes": {"n1": {"advertise": "203.0.113.7:5060", "listen": ["eth0"]}}}}, "/edge/nodes/n1/listen/0"),
        ({"media": {"kernelTable": "maybe"}}, "/media/kernelTable"),
        ({"media": {"ports": {"first": 80}}}, "/media/ports/first"),
        ({"media": {"interfaces": []}}, "/media/interfaces"),
        ({"etcd": {"replicas": 2}}, "/etcd/replicas"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"loadtest": {"shape": "spiky"}}, "/loadtest/shape"),
        ({"loadtest": {"users": ["Robot"]}}, "/loadtest/users/0"),
        ({"loadtest": {"options": ["peak=3"]}}, "/loadtest/options/0"),
        ({"loadtest": {"workers": 0}}, "/loadtest/workers"),
        ({"objects": {"volume": {"accessMode": "ReadOnlyMany"}}}, "/objects/volume/accessMode"),
        ({"database": {"url": "mysql://db"}}, "/database/url"),
        ({"keys": {"generate": "yes"}}, "/keys/generate"),
        ({"networkPolicy": {"nodeCIDRs": ["nodes"]}}, "/networkPolicy/nodeCIDRs/0"),
        ({"networkPolicy": {"external": {"etcd": [{"ports": [2379]}]}}}, "/networkPolicy/external/etcd/0"),
        ({"networkPolicy": {"dns": [{"cidr": "192.0.2.53/32"}]}}, "/networkPolicy/dns/0"),
        ({"networkPolicy": {"dnsPorts": []}}, "/networkPolicy/dnsPorts"),
        ({"ivr": {"autoscaling": {"maxReplicas": 0}}}, "/ivr/autoscaling/maxReplicas"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_wrong_values_are_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ChartError) as refused:
        render(values)
    assert f"at '{named}'" in str(refused.value)


@pytest.mark.parametrize(
    ("missing", "values", "named"),
    [
        ("keys", {}, "keys.existingSecret"),
        ("certificates", {}, "certificates.provisioning.existingSecret"),
        ("networkPolicy", {}, "networkPolicy.nodeCIDRs"),
        ("database", {}, "database.url: name a PostgreSQL"),
        ("objects", {"database": {"url": ""}}, "database.sqliteOnSeveralNodes"),
    ],
)
def test_what_only_the_operator_can_say_is_asked_for(missing: str, values: dict[str, Any], named: str) -> None:
    said = {key: value for key, value in own("region").items() if key != missing}
    with pytest.raises(ChartError) as refused:
        template(json.dumps(merged(said, values)), "region", "1.30.0", "sb", ())
    assert named in str(refused.value)


@pytest.mark.parametrize(
    "values",
    [{"ports": {"first": 40000, "last": 39999}}, {"capacity": 6000}, {"ports": {"first": 30000, "last": 30999}}],
    ids=["backwards", "calls", "ports"],
)
def test_ports_that_cannot_carry_the_calls_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ChartError, match=r"media\.ports: .* are too few for media\.capacity"):
        render({"media": values}, size="region")


@pytest.mark.parametrize("component", ["edge", "media", "routing", "provisioning", "ivr", "recorder"])
def test_a_drain_is_given_by_the_value_that_the_grace_period_follows(component: str) -> None:
    told = {component: {"drain_s": 7}}
    for values, path in (({"settings": told}, "settings"), ({component: {"settings": told}}, f"{component}.settings")):
        with pytest.raises(ChartError) as refused:
            render(values)
        assert f"{path}.{component}.drain_s: give {component}.drainSeconds" in str(refused.value)
    with pytest.raises(ChartError, match=r"routing\.drain_min_s: give routing\.drainMinSeconds"):
        render({"routing": {"settings": {"routing": {"drain_min_s": 7}}}})


OF_THE_CHART = {
    "edge": ["id", "metrics.listen", "kamailio.listen", "kamailio.advertise"],
    "media": ["id", "control", "metrics.listen", "captures.listen", "voice.listen"],
    "routing": ["listen", "metrics.listen"],
    "provisioning": ["listen", "metrics.listen", "keys_listen"],
    "ivr": ["id", "listen", "metrics.listen"],
    "recorder": ["id", "listen", "metrics.listen"],
}
"""Settings that other objects of the chart must know, by component."""


@pytest.mark.parametrize(("component", "path"), [(one, path) for one, paths in OF_THE_CHART.items() for path in paths])
def test_addresses_are_the_charts_to_give(component: str, path: str) -> None:
    told: dict[str, Any] = {"x": "192.0.2.7:5090"}
    for name in reversed((component, *path.split("."))):
        told = {name: told.get("x", told)}
    for values, where in (({"settings": told}, "settings"), ({component: {"settings": told}}, f"{component}.settings")):
        with pytest.raises(ChartError) as refused:
            render(values)
        assert f"{where}.{component}.{path}: " in str(refused.value)


def test_settings_beside_those_of_the_chart_are_taken() -> None:
    settings = {
        "edge": {"kamailio": {"udp_workers": 8}},
        "media": {"voice": {"cache_mb": 128}},
        "routing": "no section",
    }
    assert render({"settings": settings}).text


def test_a_load_balancer_sends_where_every_proxy_listens() -> None:
    nodes = {"n1": {"advertise": "203.0.113.7:5060", "listen": ["192.0.2.7:5062", "192.0.2.7:5060"]}}
    assert render({"edge": {"service": {"enabled": True}, "nodes": nodes}}).text
    nodes["n2"] = {"advertise": "203.0.113.8:5060", "listen": ["192.0.2.8:5062"]}
    with pytest.raises(ChartError, match=r"edge\.nodes\.n2\.listen: edge\.service\.enabled .* edge\.port, 5060"):
        render({"edge": {"service": {"enabled": True}, "nodes": nodes}})


MANAGED = {"certManager": {"enabled": True, "issuer": {"name": ""}}, "provisioning": {"existingSecret": ""}}


@pytest.mark.parametrize(
    ("values", "size", "said"),
    [
        (
            {"routing": {"autoscaling": {"enabled": True, "metric": "", "cpuPercent": 0}}},
            "region",
            "routing.autoscaling: give metric, cpuPercent, or both",
        ),
        ({"certificates": MANAGED}, "region", "certificates.certManager.issuer.name: name the Issuer"),
        ({"certificates": {"internal": {"enabled": True}}}, "region", "needs certificates.certManager.enabled"),
        ({"networkPolicy": {"external": {"etcd": []}}}, "carrier", "networkPolicy.external.etcd: etcd.external"),
        ({"networkPolicy": {"external": {"valkey": []}}}, "carrier", "networkPolicy.external.valkey: valkey.external"),
        ({"networkPolicy": {"external": {"database": []}}}, "region", "networkPolicy.external.database: database.url"),
        ({"networkPolicy": {"external": {"objects": []}}}, "region", "networkPolicy.external.objects: objects.s3"),
        ({"etcd": {"tls": {"clientSecret": "members"}}}, "region", "etcd.client.tlsSecret: name the Secret"),
        ({"etcd": {"client": {"tlsSecret": "clients"}}}, "region", "etcd.tls.clientSecret: name the Secret"),
        ({"backup": {"restore": {"file": "a.db", "generation": 2}}}, "carrier", "the members are elsewhere"),
        (
            {"etcd": {"generation": 2}, "backup": {"restore": {"file": "a.db", "generation": 2}}},
            "region",
            "must be greater than etcd.generation (2)",
        ),
        (
            {"etcd": {"persistence": {"enabled": False}}, "backup": {"restore": {"file": "a.db", "generation": 2}}},
            "region",
            "the members have no volumes to restore into",
        ),
    ],
    ids=lambda one: "" if isinstance(one, dict) else str(one).split(":")[0],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], size: str, said: str) -> None:
    with pytest.raises(ChartError) as refused:
        render(values, size=size)
    assert said in " ".join(str(refused.value).split())


def test_a_node_of_its_own_says_where_its_proxy_listens() -> None:
    with pytest.raises(ChartError, match="listen"):
        render({"edge": {"nodes": {"node-1": {"advertise": "203.0.113.7:5060"}}}})


def test_sqlite_on_several_nodes_is_for_trials_and_must_be_allowed() -> None:
    said = {key: value for key, value in own("region").items() if key not in ("database", "objects")}
    allowed = merged(said, {"database": {"sqliteOnSeveralNodes": True}})
    assert template(json.dumps(allowed), "region", "1.30.0", "sb", ())


def _asked(size: str) -> dict[str, Any]:
    """The operator's own values that the head of a size shows."""
    head = (CHART / f"values-{size}.yaml").read_text().partition("\n\n")[0]
    lines = [line.removeprefix("#     ") for line in head.splitlines() if line.startswith("#     ")]
    return dict(yaml.safe_load("\n".join(line for line in lines if not line.startswith(("helm", "kubectl")))) or {})


def test_with_what_the_head_of_a_size_asks_for_it_can_be_installed() -> None:
    region, carrier = _asked("region"), _asked("carrier")
    assert {"keys", "certificates", "networkPolicy", "database", "objects"} <= region.keys()
    assert {"etcd", "valkey", "networkPolicy"} <= carrier.keys()
    assert template(json.dumps(region), "region", "1.30.0", "sb", ())
    assert template(json.dumps(merged(region, carrier)), "carrier", "1.30.0", "sb", ())


@pytest.mark.parametrize("size", SIZES)
def test_the_sizes_say_what_they_want(size: str) -> None:
    if size == "laptop":
        assert render(size=size).objects
        return
    with pytest.raises(ChartError, match=r"keys\.existingSecret|certificates|nodeCIDRs|database|external"):
        template("{}", size, "1.30.0", "sb", ())
