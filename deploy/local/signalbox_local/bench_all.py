"""``make bench``: every benchmark, one after the other, each a process of its own; then one table and the plots.

What ran, when, how long and on how busy a machine is kept in ``var/bench/all.json``. The table goes into
``docs/benchmarks.md``, the plots into ``docs/plots``; of a part that was run small, or that left no figures, neither
has anything. A part that fails, or misses what is to be reached, is told, and the next one is run.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from signalbox_local import bench_page, bench_plots, interrupts, lifeline
from signalbox_local.bench import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Size = Literal["small", "usual", "full"]
DIRECTORY = Path("var/bench")
RAN = DIRECTORY / "all.json"
PAGE, PLOTS = Path("docs/benchmarks.md"), Path("docs/plots")
END_S = 60.0
"""An interrupted part ends its cluster in this time."""
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Part:
    """One benchmark: its module is ``bench_<name>``, its figures are in ``<name>.json``. Full is how it is alone."""

    name: str
    small: Sequence[str] = ()
    usual: Sequence[str] = ()

    def command(self, size: Size, given: Sequence[str] = ()) -> list[str]:
        """What is run: with what is given, else with what belongs to the size."""
        arguments = given or {"small": self.small, "usual": self.usual, "full": ()}[size]
        return [sys.executable, "-m", f"signalbox_local.bench_{self.name}", *arguments]


PARTS = (
    Part("peers", small=("--small",)),
    Part("edge", small=("--small",), usual=("--rounds", "3")),
    Part("decide", small=("--rounds", "1"), usual=("--rounds", "3")),
    Part("sip"),
    Part("ivr", small=("--small",), usual=("--levels", "1000,3000", "--windows", "4")),
    Part("recording", small=("--small",), usual=("--searches", "1")),
    Part("inventory", small=("--rounds", "2"), usual=("--rounds", "10")),
    Part("routing", small=("--counts", "1000", "--parts", "numbers"), usual=("--counts", "1000,1000000")),
)


def run(part: Part, size: Size, console: Console, given: Sequence[str] = ()) -> dict[str, Any]:
    """One part to its end: how it was run, and whether it left figures."""
    command = part.command(size, given)
    console.rule(f"{part.name}: {' '.join(command[2:])}")
    load_average, began, clock = os.getloadavg()[0], time.time(), time.monotonic()
    # In a session of its own, so that an interruption reaches it through us alone, once.
    process = subprocess.Popen(lifeline.tied(command), start_new_session=True)
    try:
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    file = figures_file(part.name)
    told = {
        "size": size,
        "command": " ".join(command[2:]),
        "exit": code,
        "seconds": round(time.monotonic() - clock),
        "date": dt.datetime.fromtimestamp(began, dt.UTC).isoformat(timespec="minutes"),
        "load_average": round(load_average, 2),
        "figures": file.exists() and file.stat().st_mtime >= began,
    }
    console.print(f"{part.name}: exit code {code}, {told['seconds']} s", highlight=False)
    return told


def _end(process: subprocess.Popen[bytes]) -> None:
    """What it has started ends with it, at the latest when it is killed."""
    with interrupts.deferred():
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def figures_file(name: str) -> Path:
    """Where a benchmark keeps its figures."""
    return DIRECTORY / f"{name}.json"


def figures(ran: Mapping[str, Any]) -> dict[str, Any]:
    """By part, of all that were run large enough and left some."""
    return {
        name: json.loads(figures_file(name).read_text())
        for name, told in ran.items()
        if told["size"] != "small" and told["figures"]
    }


def publish(ran: Mapping[str, Any], page: Path = PAGE, plots: Path = PLOTS) -> list[str]:
    """Write table and plots of what there is; the names of the plots. Raises bench_page.PageError."""
    found = figures(ran)
    drawn = bench_plots.drawn(found)
    plots.mkdir(parents=True, exist_ok=True)
    for name, text in drawn.items():
        (plots / f"{name}.svg").write_text(text)
    page.write_text(bench_page.renewed(page.read_text(), bench_page.section(found, ran, list(drawn))))
    return list(drawn)


def main(arguments: Sequence[str] = sys.argv[1:]) -> int:
    """Run, and write down; 1 if a part failed or missed what is to be reached."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(names), help="Parts, with commas between them: %(default)s.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", action="store_true", help="To see that everything works; nothing is published.")
    size.add_argument("--full", action="store_true", help="As each part is by itself, ten million numbers too.")
    parser.add_argument("--no-run", action="store_true", help="Only write table and plots of what was measured before.")
    parser.add_argument("arguments", nargs="*", help="Behind --: for the one part of --only, in place of its size's.")
    given = parser.parse_args(arguments)
    if given.arguments and "," in given.only:
        parser.error("arguments are for one part: name it with --only")
    if unknown := sorted({*given.only.split(",")} - {*names}):
        parser.error(f"no part is called {unknown[0]!r}; there are {', '.join(names)}")
    chosen: Size = "small" if given.small else "full" if given.full else "usual"
    interrupts.install()
    console = Console(highlight=False, soft_wrap=True)
    ran: dict[str, Any] = json.loads(RAN.read_text()) if RAN.exists() else {}
    codes = {}
    for part in PARTS if not given.no_run else ():
        if part.name not in given.only.split(","):
            continue
        try:
            ran[part.name] = run(part, chosen, console, given.arguments)
        except KeyboardInterrupt:
            console.print(f"interrupted; {part.name} has ended. Nothing was published")
            return INTERRUPTED
        codes[part.name] = ran[part.name]["exit"]
        write_json(RAN, ran)
    if chosen != "small":
        drawn = publish(ran)
        console.print(f"{PAGE} and {len(drawn)} plots in {PLOTS} are of {', '.join(figures(ran)) or 'nothing'}")
    failed = [name for name, code in codes.items() if code]
    console.print(f"{sum(ran[name]['seconds'] for name in codes)} s in all; not as it is to be: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
