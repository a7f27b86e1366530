"""``make loadtest-overload``: a cluster whose proxies take so many calls a second, and as many, then twice as many
calls.

The cluster has one core of this machine and the generator another, so that each has what it has whatever the other
does.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from signalbox_local.bench import machine, write_json
from signalbox_local.layout import Options

from loadtest.__main__ import cluster, run
from loadtest.exitcodes import ExitCode

HERE = Path(__file__).parent
PROXIES = 2
SHOWN = ("ner", "shed", "shed_p99_ms", "post_dial_delay_p99_ms", "audio_lost", "audio_through_p99_ms", "failures")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--capacity", type=click.FloatRange(2, 5000), default=120.0, show_default=True, help="Calls a second.")
@click.option("--seconds", type=click.IntRange(5, 600), default=30, show_default=True, help="Length of each run.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("var/loadtest/overload"), show_default=True)
def main(capacity: float, seconds: int, report: Path) -> None:
    """Measure, print, and end with the worst exit code of both runs."""
    console = Console(highlight=False, width=110)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        console.print("load test: the cluster and the generator need a core each")
        sys.exit(ExitCode.NOT_BEGUN)
    settings = {"edge": {"edge": {"kamailio": {"calls_per_second": capacity / PROXIES}}}}
    os.sched_setaffinity(0, {cores[0]})
    codes = {}
    with cluster(console, Options(proxies=PROXIES, recorders=0, settings=settings)) as found:
        os.sched_setaffinity(0, {cores[1]})
        for times, objectives in ((1, "within.toml"), (2, "objectives.toml")):
            options = ["SipCaller", "--peak", str(capacity * times), "--seconds", str(seconds), "--calls-per-user", "1"]
            options += ["--traffic", str(HERE / "traffic.toml"), "--objectives", str(HERE / objectives)]
            file = report / f"{times}x" / "report.json"
            file.unlink(missing_ok=True)
            codes[times] = run(found, "steady", 0, False, [*options, "--report", str(report / f"{times}x")])
            if not file.exists():
                sys.exit(codes[times])
    table = Table("", *(f"{times} × {capacity:g} calls/s" for times in codes), title="Overload", title_justify="left")
    reports = {times: json.loads((report / f"{times}x" / "report.json").read_text()) for times in codes}
    table.add_row("verdict", *(one["verdict"] for one in reports.values()))
    table.add_row("calls", *(str(one["attempts"]) for one in reports.values()))
    for name in SHOWN:
        table.add_row(
            name, *(f"{one['figures'][name]:.4g}" if name in one["figures"] else "" for one in reports.values())
        )
    console.print(table)
    keys = ("verdict", "attempts", "outcomes", "figures")
    runs = {f"{times}x": {key: one[key] for key in keys} for times, one in reports.items()}
    write_json(report / "overload.json", {"machine": machine(), "capacity": capacity, "seconds": seconds, **runs})
    sys.exit(max(codes.values()))


if __name__ == "__main__":
    main()
