"""Runs the demo: starts a cluster of its own, goes through the steps, ends everything, tells the result."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import shutil
import time
from typing import TYPE_CHECKING

import grpc

from signalbox_local import speaking
from signalbox_local.capture import CaptureError
from signalbox_local.cluster import Cluster, ClusterError
from signalbox_local.demo import hotline, recorded, steps, voice
from signalbox_local.demo.report import FILE_NAME, Report, Step, show_step, show_summary
from signalbox_local.layout import Options
from signalbox_local.rules import Rules
from signalbox_local.runner import RunnerError
from signalbox_local.sipp import SippError
from signalbox_local.telephone import TelephoneError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from rich.console import Console

STEPS: tuple[tuple[str, Callable[[Step, steps.Scene], Awaitable[None]]], ...] = (
    ("Rules over gRPC", steps.provision),
    ("A call with sound", steps.speak),
    ("A recorded conversation", recorded.record),
    ("A call flow with a voice", voice.serve),
    ("A rule changed under load", steps.change),
    ("A replica killed under load", steps.kill_replica),
)

VOICE_WORKERS = 2


class _GaveUpError(Exception):
    """A step could not be finished; its problems say why."""


def run(directory: Path, console: Console, make: Callable[[Path, Options], Cluster] = Cluster) -> int:
    """Run it all in a cluster that ``make`` makes; returns the exit code: 0 if everything was as it should be. Nothing
    is left running."""
    begun = time.monotonic()
    cluster = make(directory, Options(name="demo", voice_workers=VOICE_WORKERS))
    if cluster.running:
        raise ClusterError(f"a demo is running in {directory}")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    titles = ("The cluster starts", *(title for title, _ in STEPS), "Everything ends")
    report = Report(
        dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), [Step(n, t) for n, t in enumerate(titles, 1)]
    )
    console.print("\n[bold]Signalbox[/bold] · a rule in etcd decides where real calls go\n")
    try:
        with contextlib.suppress(_GaveUpError):
            with _working(console, report.steps[0]) as step:
                _start(step, cluster)
            with Rules.of(cluster) as rules:
                scene = steps.Scene.set_up(cluster, rules, directory.resolve() / "sipp")
                asyncio.run(_go_through(console, report, scene))
    finally:
        with contextlib.suppress(_GaveUpError), _working(console, report.steps[-1]) as step:
            _end(step, cluster)
    report.seconds = time.monotonic() - begun
    report.write(directory / FILE_NAME)
    show_summary(console, report, directory / FILE_NAME, cluster.directory / "log")
    return 0 if report.ok else 1


async def _go_through(console: Console, report: Report, scene: steps.Scene) -> None:
    for step, (_, act) in zip(report.steps[1:], STEPS, strict=False):
        with _working(console, step):
            await act(step, scene)


def _start(step: Step, cluster: Cluster) -> None:
    step.did += [
        "had the parts of numbers spoken; started etcd, redis, rtpengines, routing, recorder, workers with voice, "
        "provisioning, and proxies, each with its sidecar"
    ]
    try:
        speaking.store(cluster.directory, [hotline.LANGUAGE])
    except speaking.NotSpokenError as error:
        raise ClusterError(f"numbers cannot be spoken: {error}") from error
    ready: dict[str, float] = {}
    cluster.start(on_ready=ready.__setitem__)
    step.figures["ready_after_s"] = {name: round(seconds, 2) for name, seconds in ready.items()}
    slowest = max(ready, key=lambda name: ready[name])
    step.headline = f"all {len(ready)} processes are ready"
    step.saw += [f"{step.headline}, {slowest} as the last after {ready[slowest]:.1f} s"]


def _end(step: Step, cluster: Cluster) -> None:
    step.did += ["stopped every process"]
    cluster.stop()
    left = cluster.remaining()
    step.figures["left_running"] = left
    step.check(not left, f"still running: {left}")
    step.headline = "nothing is left running"
    step.saw += [] if left else [step.headline]


@contextlib.contextmanager
def _working(console: Console, step: Step) -> Iterator[Step]:
    """Time a step and show it at its end. What it raises becomes its problem, and raises _GaveUpError."""
    begun = time.monotonic()
    try:
        with console.status(f"{step.number}. {step.title}"):
            yield step
        step.done = True
    except (ClusterError, RunnerError, SippError, CaptureError, TelephoneError) as error:
        step.problems.append(str(error))
    except grpc.RpcError as error:
        step.problems.append(f"{error.code().name}: {error.details()}")
    finally:
        step.seconds = time.monotonic() - begun
    show_step(console, step)
    if not step.done:
        raise _GaveUpError
