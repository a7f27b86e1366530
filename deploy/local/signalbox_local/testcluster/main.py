"""``make test-cluster``: installs the chart, places the first call, and breaks the cluster step by step under calls.

    KUBECONFIG=... python -m signalbox_local.testcluster.main [--only TEXT]... [--share 0.5] [--chart-values FILE]...

The cluster that KUBECONFIG names, else a lab of three nodes on this machine. What comes of it is in
``var/bench/cluster.json`` and on the screen; the exit code is 0 if no call has failed or was cut without need and every
step did what it should.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import grpc
from rich.console import Console

from signalbox_local.bench import machine, write_json
from signalbox_local.rules import Rules
from signalbox_local.testcluster import access, report
from signalbox_local.testcluster.kube import Helm, Kube, KubeError, Lab
from signalbox_local.testcluster.load import Load, Sockets
from signalbox_local.testcluster.site import KINDS, TENANT, write_rules
from signalbox_local.testcluster.stalls import Stalls
from signalbox_local.testcluster.steps import SETTLE_S, Scene, SkippedError, Step, steps
from signalbox_local.testcluster.switch import Switch
from signalbox_local.testcluster.tally import Outcome, Window, count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[4]
CHART = ROOT / "deploy" / "helm" / "signalbox"
VALUES = Path(__file__).with_name("values.yaml")
RESULT = ROOT / "var" / "bench" / "cluster.json"
NAMESPACE, RELEASE = "signalbox", "sb"
EDGE_LABEL, MEDIA_LABEL = "signalbox/edge=true", "signalbox/media=true"
IMAGES = ("signalbox", "signalbox-kamailio", "signalbox-rtpengine", "signalbox-etcd", "signalbox-valkey")
SWITCH_PORT = 5099
INSTALL_S = 300.0
PAUSE_S = 5.0
"""Between two steps: what a step does to calls is seen soon after it."""
OVER_S = 120.0


class Run:
    """Calls, and what is done to the cluster meanwhile."""

    def __init__(self, scene: Scene, load: Load, stalls: Stalls, console: Console) -> None:
        self.windows: list[Window] = []
        self.notes: dict[str, str] = {}
        """What was not as it should be, by step."""
        self._scene, self._load, self._stalls, self._console = scene, load, stalls, console

    def go(self, step: Step) -> None:
        """One step; what it cost so far is told."""
        begin = time.monotonic()
        self._scene.lost.clear()
        self._stalls.longest_s()
        try:
            step.run(self._scene)
        except SkippedError as why:
            self._console.print(f"  {step.name}: skipped, {why}")
            return
        except KubeError as why:
            self.notes[step.name] = str(why)
            self._console.print(f"[red]  {step.name}: {why}[/red]", markup=True, highlight=False)
        time.sleep(PAUSE_S)
        lost, stall_s = frozenset(self._scene.lost), self._stalls.longest_s()
        self.windows.append(Window(step.name, begin, time.monotonic(), lost, stall_s))
        still_open = self._load.open()
        done = count(self._load.records, self.windows)[-1]
        self._console.print(
            f"  {step.name}: {done.seconds:.0f} s, {done.calls} calls, {done.failed} failed, {done.cut} cut, "
            f"{done.silent} silent, {done.left} left up, {done.on_lost_node} of these on a lost node; "
            f"{still_open} are up; the machine stood still for up to {stall_s * 1000:.0f} ms"
        )


@click.command()
@click.option("--only", multiple=True, help="Steps whose name has this text; all by default.")
@click.option("--share", default=1.0, show_default=True, help="Of 50 calls a second.")
@click.option("--chart-values", multiple=True, type=click.Path(exists=True, dir_okay=False), help="More values.")
@click.option("--keep", is_flag=True, help="Leave the release and the lab as they are.")
@click.option("--reuse", is_flag=True, help="The release is there already.")
@click.option("--client-secret", default="", help="Secret with a client certificate of provisioning.")
@click.option("--server-name", default="", help="A name in the certificate of provisioning.")
def main(
    only: Sequence[str],
    share: float,
    chart_values: Sequence[str],
    keep: bool,
    reuse: bool,
    client_secret: str,
    server_name: str,
) -> None:
    """Run it all."""
    # What was started ends, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(width=160)
    with _cluster(console, keep, reuse) as (kube, lab):
        values = [argument for file in (str(VALUES), *chart_values) for argument in ("--values", file)]
        values += _own_values(kube)
        helm = Helm(kube, CHART, values)
        api = functools.partial(
            access.provisioning,
            kube,
            client_secret or f"{kube.fullname}-operator-tls",
            server_name or "localhost",
        )
        scene = Scene(kube, helm, lab, EDGE_LABEL, MEDIA_LABEL, api)
        if not reuse:
            _install(scene, console)
        wanted = [one for one in steps() if not only or any(text in one.name for text in only)]
        sys.exit(_under_calls(scene, wanted, share, console))


@contextlib.contextmanager
def _cluster(console: Console, keep: bool, reuse: bool) -> Iterator[tuple[Kube, Lab | None]]:
    """The cluster of KUBECONFIG, or the lab, which is started and ended here."""
    lab = Lab.find()
    if "KUBECONFIG" in os.environ and not (lab is not None and reuse):
        console.print(f"the cluster of {os.environ['KUBECONFIG']}")
        yield Kube(NAMESPACE, RELEASE, os.environ), None
        return
    if lab is None:
        raise SystemExit("test-cluster: error: KUBECONFIG is not set, and there is no lab (K8SLAB names its command)")
    if not reuse:
        console.print("a lab of three nodes")
        lab.run("up", "2")
    try:
        if not reuse:
            lab.run("load-image", *(f"{name}:{version()}" for name in IMAGES))
        yield Kube(NAMESPACE, RELEASE, lab.environment()), lab
    finally:
        if not keep:
            lab.run("down")


def _own_values(kube: Kube) -> list[str]:
    """What only the cluster and the checkout can tell."""
    networks = ",".join(f"{address}/32" for address in sorted(kube.node_addresses().values()))
    values = [f"networkPolicy.nodeCIDRs={{{networks}}}", f"etcd.image.tag={version()}", f"valkey.image.tag={version()}"]
    return [argument for value in values for argument in ("--set", value)]


def _install(scene: Scene, console: Console) -> None:
    for node in scene.kube.node_addresses():
        scene.kube.kubectl("label", "node", node, "--overwrite", EDGE_LABEL, MEDIA_LABEL)
    begun = time.monotonic()
    scene.helm.install(INSTALL_S)
    scene.kube.settle(SETTLE_S)
    console.print(f"  installed in {time.monotonic() - begun:.0f} s")
    begun = time.monotonic()
    scene.helm.test(INSTALL_S)
    console.print(f"  first call (helm test) in {time.monotonic() - begun:.0f} s")


def _under_calls(scene: Scene, wanted: Sequence[Step], share: float, console: Console) -> int:
    nodes = scene.kube.node_addresses(EDGE_LABEL)
    host = _our_address(next(iter(nodes.values())))
    proxies = [f"{address}:5060" for address in nodes.values()]
    directory = ROOT / "var" / "testcluster"
    since = time.time()
    with contextlib.closing(Sockets.open(host)) as sockets:
        with Switch(directory, (host, SWITCH_PORT), sockets.line_address, proxies) as switch:
            with scene.api() as channel:
                write_rules(Rules(channel), switch.address)
            time.sleep(PAUSE_S)
            with Load(sockets, switch.address, KINDS) as load, Stalls() as stalls:
                load.begin(share)
                run = Run(scene, load, stalls, console)
                for step in wanted:
                    run.go(step)
                load.stop()
                left = _until_over(load)
        with scene.api() as channel:
            recorded = sum(one.kind == "recorded" and one.answered > 0 for one in load.records)
            kept = access.stored(channel, TENANT, since, recorded)
    return _tell(run, load, {"answered": recorded, **kept}, left, console)


def _tell(run: Run, load: Load, recorded: dict[str, int], left: int, console: Console) -> int:
    counts = count(load.records, run.windows)
    console.print(report.table(counts, run.notes))
    console.print(f"recorded calls: {recorded}; calls that never ended: {left}")
    console.print(report.markdown(counts), markup=False, highlight=False, soft_wrap=True)
    bad = [asdict(one) for one in load.records if one.outcome is not Outcome.OK]
    result = {
        "machine": machine(),
        "steps": [one.json() for one in counts],
        "notes": run.notes,
        "recorded": recorded,
        "never_ended": left,
        "calls_that_went_wrong": bad,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    write_json(RESULT, result)
    console.print(f"all of it: {RESULT.relative_to(ROOT)}")
    good = not run.notes and not left and not any(one.bad for one in counts)
    return 0 if good and recorded.get("stored", 0) >= recorded["answered"] else 1


def _until_over(load: Load) -> int:
    deadline = time.monotonic() + OVER_S
    while (still_open := load.open()) and time.monotonic() < deadline:
        time.sleep(1.0)
    return still_open


def _our_address(node: str) -> str:
    """Ours, from which a node is reached and can reach us."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect((node, 5060))
        host: str = one.getsockname()[0]
        return host


def version() -> str:
    """The tag of the images that this checkout builds."""
    text = (ROOT / "pyproject.toml").read_text()
    return text.partition('\nversion = "')[2].partition('"')[0]


if __name__ == "__main__":
    try:
        main()
    except (KubeError, grpc.RpcError, subprocess.SubprocessError, OSError) as error:
        raise SystemExit(f"test-cluster: error: {error}") from error
