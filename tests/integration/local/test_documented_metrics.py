"""docs/metrics.md and docs/voice.md name every metric that a process tells."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from signalbox.ivr.metrics import IvrMetrics
from support.cluster import cluster

if TYPE_CHECKING:
    from signalbox_local.cluster import Cluster

__all__ = ["cluster"]

DOCS = Path(__file__).parents[3] / "docs"
PAGES = (DOCS / "metrics.md").read_text() + (DOCS / "voice.md").read_text()
TIMEOUT_S = 5.0


def told(text: str) -> set[str]:
    """Names of our metrics, counters with ``_total``; when a counter was made is nobody's question."""
    families = re.findall(r"^# TYPE (signalbox_\w+) \w+$", text, re.MULTILINE)
    return {name for name in families if not name.endswith("_created")}


def missing(names: set[str]) -> set[str]:
    return {name for name in names if not re.search(rf"\b{name}\b", PAGES)}


def test_what_processes_tell_is_on_the_page(cluster: Cluster) -> None:
    seen: set[str] = set()
    for entry in cluster.entries.values():
        if "metrics" in entry.addresses:
            with urllib.request.urlopen(f"http://{entry.addresses['metrics']}/metrics", timeout=TIMEOUT_S) as answer:
                seen |= told(answer.read().decode())
    parts = {name.split("_")[1] for name in seen}
    assert parts == {"edge", "routing", "media", "recorder", "provisioning", "audit", "certificate"}
    assert missing(seen) == set()


def test_what_workers_with_voice_tell_is_on_the_page() -> None:
    registry = CollectorRegistry()
    IvrMetrics(registry)
    seen = told(generate_latest(registry).decode())
    assert "signalbox_ivr_calls" in seen
    assert missing(seen) == set()
