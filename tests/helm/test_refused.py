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
        ({"media": {"kernelTable": "maybe"}}, "/media/kernelTable"),
        ({"media": {"ports": {"first": 80}}}, "/media/ports/first"),
        ({"media": {"interfaces": []}}, "/media/interfaces"),
        ({"etcd": {"replicas": 2}}, "/etcd/replicas"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"objects": {"volume": {"accessMode": "ReadOnlyMany"}}}, "/objects/volume/accessMode"),
        ({"database": {"url": "mysql://db"}}, "/database/url"),
        ({"keys": {"generate": "yes"}}, "/keys/generate"),
        ({"networkPolicy": {"nodeCIDRs": ["nodes"]}}, "/networkPolicy/nodeCIDRs/0"),
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


def test_a_node_of_its_own_says_where_its_proxy_listens() -> None:
    with pytest.raises(ChartError, match="listen"):
        render({"edge": {"nodes": {"node-1": {"advertise": "203.0.113.7:5060"}}}})


def test_sqlite_on_several_nodes_is_for_trials_and_must_be_allowed() -> None:
    said = {key: value for key, value in own("region").items() if key not in ("database", "objects")}
    allowed = merged(said, {"database": {"sqliteOnSeveralNodes": True}})
    assert template(json.dumps(allowed), "region", "1.30.0", "sb", ())


@pytest.mark.parametrize("size", SIZES)
def test_the_sizes_say_what_they_want(size: str) -> None:
    if size == "laptop":
        assert render(size=size).objects
        return
    with pytest.raises(ChartError, match=r"keys\.existingSecret|certificates|nodeCIDRs|database|external"):
        template("{}", size, "1.30.0", "sb", ())
