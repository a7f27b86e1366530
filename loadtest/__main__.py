"""``make loadtest``: a whole cluster on this machine, and a load on it; or a load on a cluster that is there."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from signalbox_local import lifeline, speaking
from signalbox_local.cluster import Cluster, ClusterError
from signalbox_local.layout import Options
from signalbox_local.manifest import FILE_NAME
from signalbox_local.ports import HOST, NoFreePortsError, is_free
from signalbox_local.runner import RunnerError

from loadtest import shapes
from loadtest.exitcodes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MASTER_PORTS = range(25_557, 26_000)
DIRECTORY = Path("var/loadtest/cluster")
VOICE_WORKERS = 2
PATIENCE_S = 120.0
"""Calls that are under way at an interruption have so long to end."""


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@click.option(
    "--shape", type=click.Choice(shapes.NAMES), default="busy_hour", show_default=True, help="Calls over time."
)
@click.option("--workers", type=click.IntRange(0, 100), default=0, help="Processes that make calls; 0: one alone.")
@click.option("--web", is_flag=True, help="Locust's own page instead of a run: http://localhost:8089.")
@click.argument("locust", nargs=-1, type=click.UNPROCESSED)
def main(shape: str, workers: int, web: bool, locust: Sequence[str]) -> None:
    """Start the cluster of this machine, put a load on it for three minutes, and judge it. LOCUST: further options of
    Locust and of the load test (--peak 30, --seconds 60); docs/load-testing.md has them."""
    console = Console(highlight=False)
    try:
        with cluster(console) as found:
            sys.exit(run(found, shape, workers, web, locust))
    except (ClusterError, RunnerError, NoFreePortsError, speaking.NotSpokenError) as error:
        console.print(f"load test: {error}", markup=False)
        sys.exit(ExitCode.NOT_BEGUN)


@contextlib.contextmanager
def cluster(console: Console, options: Options | None = None) -> Iterator[Cluster]:
    """The cluster of this machine, with voice."""
    # One that was killed is ended first.
    Cluster(DIRECTORY).stop()
    with console.status("starting the cluster"):
        started = Cluster(DIRECTORY, options or Options(voice_workers=VOICE_WORKERS))
        started.start()
    try:
        yield started
    finally:
        started.stop()


QUIET = ("--headless", "--only-summary", "--skip-log")
"""A run without Locust's page and its own log: ours is the report."""


def locust_command(found: Cluster, shape: str, *more: str) -> list[str]:
    """Locust with our users, on a cluster of this machine."""
    hosts = ["--caller-host", found.caller_host, "--line-host", found.line_host, "--media-host", found.media_host]
    where = ["--cluster", str(found.directory / FILE_NAME), *hosts]
    return [sys.executable, "-m", "locust", "-f", shapes.files(shape), *where, *more]


def run(found: Cluster, shape: str, workers: int, web: bool, more: Sequence[str]) -> int:
    """A run on a cluster of this machine; Locust's exit code."""
    command = locust_command(found, shape, *more)
    started: list[subprocess.Popen[bytes]] = []
    try:
        leader = [] if web else [*QUIET]
        if workers:
            port = str(next(port for port in MASTER_PORTS if is_free(port)))
            leader += ["--master", "--master-bind-host", HOST, "--master-bind-port", port]
            leader += ["--expect-workers", str(workers)]
            worker = ["--worker", "--master-host", HOST, "--master-port", port, "--skip-log"]
            started += [subprocess.Popen(lifeline.tied([*command, *worker])) for _ in range(workers)]
        started.insert(0, subprocess.Popen(lifeline.tied([*command, *leader], signal="INT")))
        return wait(started[0])
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def wait(process: subprocess.Popen[bytes]) -> int:
    """Until it ends. An interruption is passed on, and its report waited for."""
    interrupted = False
    while True:
        try:
            return process.wait(PATIENCE_S if interrupted else None)
        except KeyboardInterrupt:
            # The terminal has told it, too; a second one is meant.
            if interrupted:
                raise
            interrupted = True
            process.send_signal(signal.SIGINT)
        except subprocess.TimeoutExpired:
            process.kill()


if __name__ == "__main__":
    main()
