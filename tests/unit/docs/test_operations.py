"""docs/operations.md and docs/metrics.md: what they name exists, and every alert has its section."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from signalbox.settings_doc import render

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "helm" / "signalbox"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text() + (ROOT / "docs" / "voice.md").read_text()
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((CHART / "alerts" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
NAME = re.compile(r"\bsignalbox_[a-z_]+")
DOTTED = re.compile(r"`([a-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)+)`")
KEYS = {"cluster.key", "cursor.key", "password.key", "objects.key"}
"""Files of the Secret, which look like names of settings."""
SUFFIXES = ("_total", "_bucket", "_sum", "_count")


def told(text: str) -> set[str]:
    """Metrics that a page names; ``signalbox_ivr_…`` is none."""
    return {name for name in NAME.findall(text) if not name.endswith("_")}


def plain(name: str) -> str:
    """A metric as the code names it."""
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def words() -> set[str]:
    """Every constant text of the processes that may be the name of a metric, or its end."""
    found: set[str] = set()
    for file in (ROOT / "control_plane" / "signalbox").rglob("*.py"):
        if "api" not in file.parts:
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert {"summary", "description"} == rule["annotations"].keys()
    section = re.search(rf"^### {rule['alert']}\n\n(.+)", OPERATIONS, re.MULTILINE)
    assert section is not None, "docs/operations.md"
    assert len(section[1]) > 20


def test_alerts_have_names_of_their_own_and_the_page_has_no_others() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    assert re.findall(r"^### (Signalbox\w+)$", OPERATIONS, re.MULTILINE) == names
    assert set(re.findall(r"`(Signalbox\w+)`", OPERATIONS)) <= set(names)


def test_alerts_are_made_of_metrics_that_are_told() -> None:
    named = {plain(name) for name in told(METRICS)}
    used = {plain(name) for rule in RULES for name in told(rule["expr"])}
    assert used - named == set()
    assert {plain(name) for name in told(OPERATIONS)} - named == set()


def test_metrics_that_are_told_are_in_the_code() -> None:
    known = words()
    missing = set()
    for name in map(plain, told(METRICS)):
        ends = [name, name + "_total", *(name.split("_", parts)[-1] for parts in (2, 3))]
        if known.isdisjoint(ends):
            missing.add(name)
    assert missing == set()


def test_every_selector_of_an_alert_is_of_one_release() -> None:
    # kube-state-metrics and cert-manager tell of all; so does Prometheus itself of what it asks.
    for rule in RULES:
        names = re.findall(r"\b(?:signalbox|etcd|kube|certmanager)_[a-z_]+|\bup(?=\{)", rule["expr"])
        assert names
        assert rule["expr"].count("{SCOPE") == len(names), rule["alert"]


def test_settings_and_values_on_the_page_exist() -> None:
    settings = set(re.findall(r"^\| [`*]+([a-z0-9_.]+)[`*]+ \|", render(), re.MULTILINE))
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    named = set(DOTTED.findall(OPERATIONS))
    assert named > KEYS
    assert [name for name in named - KEYS if not _exists(name, settings, values)] == []


def _exists(name: str, settings: set[str], values: dict[str, Any]) -> bool:
    first, *rest = name.split(".")
    if first not in values and not any(setting.startswith(f"{first}.") for setting in settings):
        return True
    if name in settings:
        return True
    found: Any = values.get(first)
    for part in rest:
        if not isinstance(found, dict) or part not in found:
            return False
        found = found[part]
    return True


def test_links_of_the_pages_lead_somewhere() -> None:
    for page in ("operations.md", "metrics.md"):
        text = (ROOT / "docs" / page).read_text()
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", text):
            file = ROOT / "docs" / (target or page)
            assert file.exists(), f"{page}: {target}"
            if anchor and file.suffix == ".md":
                assert anchor in _anchors(file.read_text()), f"{page}: {target}#{anchor}"


def _anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.replace("`", "")).strip().lower().replace(" ", "-") for title in titles}
