"""``make bench-routing``: a routing replica with up to ten million numbers.

In parts, so that they can be run one by one: ``numbers`` (memory, starts and decisions by count), ``change`` (how soon
a committed change is in force at the proxies), ``import`` (rows per second), ``peer`` (Kamailio's own ``drouting``).
What is measured is kept in ``var/bench/routing.json`` beside what earlier runs of the same sources have measured of
other parts or counts; each part says on what machine and when.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import signalbox
import uvloop
from rich.console import Console

import signalbox_local
from signalbox_local import bench_drouting, change_in_force, interrupts, routing_figures
from signalbox_local.bench import machine, write_json
from signalbox_local.bench_import import import_rows_per_s
from signalbox_local.bench_numbers import NumbersBench
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTS = (1_000, 1_000_000, 10_000_000)
CHANGE_COUNT = 1_000_000
PARTS = ("numbers", "change", "import", "peer")
FILE = Path("var/bench/routing.json")
DIRECTORY = Path("var/bench/routing")


def measure(part: str, directory: Path, console: Console, counts: Sequence[int]) -> dict[str, object]:
    """What one part adds to the file. Raises ClusterError, RuntimeError and what else goes wrong."""
    match part:
        case "numbers":
            return {"numbers": uvloop.run(NumbersBench(directory, console).run(counts))}
        case "change":
            count = min(CHANGE_COUNT, max(counts))
            return {"change_in_force_ms": uvloop.run(change_in_force.measure(directory, console, count))}
        case "import":
            with Cluster(directory, Options(name="import", replicas=1, proxies=0, media_nodes=0)) as cluster:
                told = import_rows_per_s(cluster, directory)
            return {"import_rows_per_s": told["import_rows_per_s"], "import": told}
    return {"peer": {"drouting": bench_drouting.measure(directory, console)}}


def run(parts: Sequence[str], counts: Sequence[int], console: Console) -> dict[str, Any]:
    """All parts, each kept as soon as it is there; returns all that the file has by then."""
    figures: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    if figures.get("sources") != sources():
        figures = {"sources": sources()}
    for part in parts:
        console.rule(part)
        began = time.monotonic()
        directory = DIRECTORY.resolve() / part
        shutil.rmtree(directory, ignore_errors=True)
        try:
            found = measure(part, directory, console, counts)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        seconds = round(time.monotonic() - began)
        figures = routing_figures.merged(
            figures, {**found, "measured": {part: {"machine": machine(), "seconds": seconds}}}
        )
        write_json(FILE, figures)
        console.print(f"  {part}: {seconds} s")
    return figures


def sources() -> str:
    """Told apart by their content: figures of different ones have no business in one file."""
    digest = hashlib.sha256()
    for package in (signalbox, signalbox_local):
        for file in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def main() -> int:
    """Run, print, and keep the result in ``var/bench/routing.json``. A floor that is missed is told, and no error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default=",".join(map(str, COUNTS)), help="Of numbers, multiples of 1,000.")
    parser.add_argument("--parts", default=",".join(PARTS), help="Which parts to run.")
    given = parser.parse_args()
    parts, counts = given.parts.split(","), sorted(int(count) for count in given.counts.split(","))
    if not set(parts) <= set(PARTS) or any(count < 1_000 or count % 1_000 for count in counts):
        parser.error(f"parts are of {', '.join(PARTS)}; counts are multiples of 1,000")
    console = Console()
    interrupts.install()
    began = time.monotonic()
    figures = run(parts, counts, console)
    console.print(routing_figures.table(figures))
    console.print(f"kept in {FILE}, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
