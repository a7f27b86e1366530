"""The alert rules that the chart makes: of what a release has, and of nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from support.chart import MONITORING, needs_helm, render

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
