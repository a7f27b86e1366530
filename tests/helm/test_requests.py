"""How large nodes must be, as docs/operations.md says it: what the pods of a size request."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from support.chart import ROOT, Rendered, needs_helm, pod_of, render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = needs_helm

OPERATIONS = (ROOT / "docs/operations.md").read_text()
CPU = {"m": 0.001, "": 1.0}
MIB = {"Mi": 1.0, "Gi": 1024.0}


def _amount(text: str, units: Mapping[str, float]) -> float:
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()  # type: ignore[union-attr]
    return float(number) * units[unit]


def _requests(pod: Mapping[str, Any]) -> tuple[float, float]:
    """Cores and MiB of the containers that stay."""
    asked = [one["resources"]["requests"] for one in pod["spec"]["containers"]]
    return sum(_amount(one["cpu"], CPU) for one in asked), sum(_amount(one["memory"], MIB) for one in asked)


def _sum(rendered: Rendered, pods: Callable[[dict[str, Any]], int]) -> str:
    """Of so many pods of each workload, as the page writes it; memory is rounded up."""
    cores, memory = 0.0, 0.0
    for workload in rendered.workloads():
        if workload["kind"] in ("DaemonSet", "Deployment", "StatefulSet"):
            one = _requests(pod_of(workload))
            cores, memory = cores + pods(workload) * one[0], memory + pods(workload) * one[1]
    return f"{math.ceil(round(cores, 3) * 10) / 10} cores and {math.ceil(memory / 102.4) / 10} GiB"


def _row(size: str) -> str:
    (row,) = re.findall(rf"^\| `values-{size}\.yaml` \|.*", OPERATIONS, re.MULTILINE)
    return str(row)


@pytest.mark.parametrize("size", ["laptop", "region"])
def test_a_node_of_each_kind_has_room(size: str) -> None:
    """One of each, or as many as must share the node."""
    assert _sum(render(size=size), lambda workload: 1) in _row(size)


def test_pools_have_room() -> None:
    rendered = render(size="carrier")
    most = {one["metadata"]["name"]: one["spec"]["maxReplicas"] for one in rendered.all("HorizontalPodAutoscaler")}
    least = {one["metadata"]["name"]: one["spec"]["minReplicas"] for one in rendered.all("HorizontalPodAutoscaler")}
    row = _row("carrier")

    def pool(label: str) -> Callable[[dict[str, Any]], int]:
        return lambda workload: int(label in pod_of(workload)["spec"].get("nodeSelector", {}))

    def control(scaled: Mapping[str, int]) -> Callable[[dict[str, Any]], int]:
        def replicas(workload: dict[str, Any]) -> int:
            there = pod_of(workload)["spec"].get("nodeSelector") == {"signalbox/pool": "control"}
            return scaled.get(workload["metadata"]["name"], workload["spec"].get("replicas", 0)) if there else 0

        return replicas

    for part in (pool("signalbox/edge"), pool("signalbox/media"), control(least)):
        assert _sum(rendered, part) in row
    assert _sum(rendered, control(most)).replace(" cores", "").replace(" GiB", "") in row
