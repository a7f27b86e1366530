"""What ``up`` and ``status`` print."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

from rich.table import Table
from signalbox.address import split

from signalbox_local.sipp import SCENARIOS

if TYPE_CHECKING:
    from rich.console import Console

    from signalbox_local.cluster import Cluster
    from signalbox_local.probes import Facts

SAMPLE_TENANT = "sample"
SAMPLE_NUMBER = "4001234567"
SAMPLE_VOICE_NUMBER = "4001234568"
SAMPLE_WELCOME = "您好，欢迎致电。接通请按一。"
"""Welcome; press one to be put through."""
SAMPLE_LINE = "127.0.0.1:5080"
"""Where the softphone that is rung listens."""


def show_addresses(console: Console, cluster: Cluster) -> None:
    """Every process with its addresses."""
    table = Table(box=None, pad_edge=False)
    for heading in ("process", "pid", "addresses"):
        table.add_column(heading, justify="right" if heading == "pid" else "left")
    states = cluster.states()
    for name, entry in cluster.entries.items():
        pid = states[name].pid
        addresses = "  ".join(f"[dim]{what}[/dim] {address}" for what, address in entry.addresses.items())
        table.add_row(name, str(pid) if pid else "[red]down[/red]", addresses)
    console.print(table)
    console.print(f"\nfor programs: {cluster.directory / 'cluster.json'}   logs: {cluster.directory / 'log'}")


def show_how_to_call(console: Console, cluster: Cluster) -> None:
    """How to ring the cluster with a softphone, or without one."""
    proxies = [cluster.address(name, "sip") for name in cluster.names("kamailio")]
    proxy, others = proxies[0], " ".join(proxies[1:])
    scenarios = os.path.relpath(SCENARIOS)
    answer = f"sipp -sf {scenarios}/uas_load.xml -i 127.0.0.1 -p {split(SAMPLE_LINE)[1]}"
    call = f"sipp -sf {scenarios}/uac_load.xml -i 127.0.0.1 -s {SAMPLE_NUMBER} -key caller 13800001234 -m 1 {proxy}"
    console.print(
        f"""
[bold]Ring it with a softphone[/bold] on this machine (no registration, no password, G.711):
  call     sip:{SAMPLE_NUMBER}@{proxy}   from 127.0.0.1: the trunk "loopback"   (other proxy: {others})
  or       sip:{SAMPLE_VOICE_NUMBER}@{proxy}   which speaks, and rings the same line if you press 1
  answer   on {SAMPLE_LINE}: the line "softphone" of the tenant "{SAMPLE_TENANT}"
[bold]or without one[/bold]
  answer   {answer}
  call     {call}
[bold]then[/bold]
  .venv/bin/signalbox calls tail        what happens to every call
  .venv/bin/signalbox explain {SAMPLE_NUMBER} --from 13800001234
  make status                           processes, rule versions, calls
  make down                             the end
""",
        soft_wrap=True,
    )


def show_status(console: Console, cluster: Cluster) -> bool:
    """Processes, the rules that replicas and edges have, calls that are up. True if every process is up and ready."""
    table = Table(box=None, pad_edge=False)
    for heading in ("process", "pid", "uptime", "ready", "rules", "calls", "address"):
        table.add_column(heading, justify="right" if heading in {"pid", "uptime", "calls"} else "left", no_wrap=True)
    states = cluster.states()
    all_ready, calls = True, 0
    for name, entry in cluster.entries.items():
        state = states[name]
        facts = cluster.facts(name) if state.pid and "metrics" in entry.addresses else {}
        ready = bool(state.pid) and cluster.is_ready(name)
        all_ready &= ready
        # A worker's calls are at a media node, too.
        calls += int(str(facts.get("calls", 0))) if entry.kind == "media" else 0
        table.add_row(
            name,
            str(state.pid) if state.pid else "-",
            str(dt.timedelta(seconds=state.uptime_s)) if state.pid else "-",
            "[green]yes[/green]" if ready else "[red]no[/red]" if state.pid else "[red]down[/red]",
            _rules(facts),
            str(facts.get("calls", "")),
            next(iter(entry.addresses.values())),
        )
    console.print(table)
    console.print(f"\ncalls up (with media): {calls}")
    return all_ready


def _rules(facts: Facts) -> str:
    """What a replica has of the rules (etcd's revision), and an edge of what follows from them (a hash)."""
    if "rule_revision" in facts:
        return f"rev {facts['rule_revision']}"
    return str(facts.get("snapshot_version", ""))[:8]
