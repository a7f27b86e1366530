"""The alert rules that the chart makes: of what a release has, and of nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.chart import MONITORING, SIZES, needs_helm, pod_of, render, selects

pytestmark = needs_helm

NONE_LEFT = {"edge": "SignalboxNoReadyProxy", "media": "SignalboxNoMediaNode", "ivr": "SignalboxNoVoiceWorker"}
"""By component, the alert that fires when nobody tells anything: all of its pods may be gone."""


def rules(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By name."""
    (made,) = render(values, apis=MONITORING).all("PrometheusRule")
    return {rule["alert"]: rule for group in made["spec"]["groups"] for rule in group["rules"]}


@pytest.mark.parametrize("component", NONE_LEFT)
def test_that_none_is_left_is_noticed_without_any_metric_too(component: str) -> None:
    assert "or vector(0)" in rules({})[NONE_LEFT[component]]["expr"]


@pytest.mark.parametrize("component", NONE_LEFT)
def test_what_a_release_does_not_have_is_not_missed(component: str) -> None:
    alerts = rules({component: {"enabled": False}})
    assert NONE_LEFT[component] not in alerts
    assert {alert for other, alert in NONE_LEFT.items() if other != component} <= alerts.keys()


def test_alerts_are_left_out_by_name_and_backups_are_not_missed_where_none_are_taken() -> None:
    without = {"monitoring": {"rules": {"without": ["SignalboxTargetsDead"]}}, "backup": {"enabled": False}}
    assert rules({}).keys() - rules(without).keys() == {"SignalboxTargetsDead", "SignalboxBackupMissing"}


def test_every_rule_is_of_this_release_and_names_its_page() -> None:
    for name, rule in rules({}).items():
        for left in ("SCOPE", "RELEASE", "BACKUP_AGE"):
            assert left not in rule["expr"], name
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"


def test_pods_that_drain_are_asked_too() -> None:
    """A Service has pods that are ready and have not been told to end, unless it says otherwise."""
    rendered = render(apis=MONITORING)
    services = rendered.all("Service")
    for monitor in rendered.all("ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"]
        asked = [
            one
            for one in services
            if selector.items() <= one["metadata"]["labels"].items()
            and "metrics" in {port["name"] for port in one["spec"]["ports"]}
        ]
        assert len(asked) == 1, f"{monitor['metadata']['name']}: each pod is asked once"
        assert asked[0]["spec"]["publishNotReadyAddresses"] is True
        assert asked[0]["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("size", SIZES)
def test_nobody_calls_a_pod_that_is_not_ready(size: str) -> None:
    """What clients resolve has ready ones alone. Members of etcd must find each other before they are ready."""
    rendered = render({"edge": {"service": {"enabled": True}}}, size=size)
    names = {
        one["metadata"]["name"]: one["spec"].get("publishNotReadyAddresses", False) for one in rendered.all("Service")
    }
    published = {name for name, all_of_them in names.items() if all_of_them}
    assert {name for name in published if not name.endswith("-metrics")} <= {"sb-signalbox-etcd-peers"}
    assert not re.search(r"sb-signalbox-[a-z]+-metrics\.", rendered.text), "somebody is told such an address"


DRAINS = {"edge": "SignalboxProxyDrainLong", "media": "SignalboxMediaDrainLong", "ivr": "SignalboxVoiceDrainLong"}
SEEN_S = 15 + 10 + 10
"""Until a drain was asked for, looked at, and looked at again when the time is over, seconds."""


@pytest.mark.parametrize("component", DRAINS)
@pytest.mark.parametrize("drain_s", [None, 1, 30, 7200])
def test_an_alert_about_a_long_drain_fires_before_the_pod_is_gone(component: str, drain_s: int | None) -> None:
    rendered = render({} if drain_s is None else {component: {"drainSeconds": drain_s}}, size="region", apis=MONITORING)
    (made,) = rendered.all("PrometheusRule")
    (group,) = [one for one in made["spec"]["groups"] if one["name"] == "signalbox-drains"]
    assert group["interval"] == "10s"
    (rule,) = [one for one in group["rules"] if one["alert"] == DRAINS[component]]
    waits = int(rule["for"].removesuffix("s"))
    spec = pod_of(rendered.workload(component))["spec"]
    assert waits + SEEN_S <= spec["terminationGracePeriodSeconds"]
    (container,) = [one for one in spec["containers"] if one["name"] == component]
    drain = float(rendered.settings_of(container)[f"SIGNALBOX_{component.upper()}__DRAIN_S"])
    assert waits >= drain * 0.75 - 1, "not of every drain"


def test_pods_that_wait_for_a_drain_are_not_missed() -> None:
    """The workload is told by the job, which is the name of the Service, and by names of pods: all begin alike."""
    rendered = render(size="region", apis=MONITORING)
    begins = re.compile(r"(sb-signalbox-[a-z]+)-.+")
    for component in DRAINS:
        name = rendered.workload(component)["metadata"]["name"]
        pod = pod_of(rendered.workload(component))
        (service,) = [
            one["metadata"]["name"]
            for one in rendered.all("Service")
            if one["metadata"]["name"].endswith("-metrics") and selects(one["spec"]["selector"], pod)
        ]
        for text in (service, f"{name}-abcde", f"{name}-5d4f8c7b9-abcde"):
            found = begins.fullmatch(text)
            assert found is not None
            assert found[1] == name
    for alert in ("SignalboxPodPending", "SignalboxPodsMissing"):
        assert "unless on (workload) label_replace(" in rules({})[alert]["expr"]
        assert begins.pattern in rules({})[alert]["expr"]


def test_without_kube_state_metrics_nothing_is_made_of_them() -> None:
    some, none = rules({}), rules({"monitoring": {"rules": {"kubeStateMetrics": False}}})
    assert some.keys() - none.keys() == {
        "SignalboxPodPending", "SignalboxPodsMissing", "SignalboxRestarts", "SignalboxBackupMissing",
    }  # fmt: skip
    assert not [name for name, rule in none.items() if "kube_" in rule["expr"]]
