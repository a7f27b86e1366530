"""What is done to the cluster while calls are up. Each step leaves it whole again, or says what is not."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from signalbox_local.testcluster.kube import KubeError, wait_until
from signalbox_local.testcluster.restore import restored

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Sequence

    import grpc

    from signalbox_local.testcluster.kube import Helm, Kube, Lab, Pod

OURS = ("edge", "media", "routing", "provisioning", "ivr", "recorder")
COMPONENTS = (*OURS, "etcd", "valkey")
SETTLE_S = 300.0
GONE_S = 180.0
AWAY_S = 20.0
"""A store is away for so long."""
LOST_S = 45.0
"""A node is: longer than it takes Kubernetes to notice and to move what ran there."""
BAD_S = 45.0
"""A release that cannot start is given so long."""


@dataclass(slots=True)
class Scene:
    """What steps work on."""

    kube: Kube
    helm: Helm
    lab: Lab | None
    """None: nodes cannot be lost."""
    edge_label: str
    """``key=value`` of nodes with a proxy."""
    media_label: str
    api: Callable[[], contextlib.AbstractContextManager[grpc.Channel]]
    """Provisioning."""
    lost: set[str] = field(default_factory=set)
    """Addresses of media nodes that the step has taken away by force."""


class SkippedError(Exception):
    """The step cannot be done in this cluster; the text says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step."""

    name: str
    run: Callable[[Scene], object]
    """Raises KubeError, SkippedError."""


def steps() -> list[Step]:
    """All, in their order."""
    found = [Step("nothing", lambda scene: time.sleep(AWAY_S))]
    found += [Step(f"upgrade of {one}", _upgrade(one)) for one in COMPONENTS]
    found += [Step(f"{one} 2, 4, 2", _scale(one)) for one in ("routing", "ivr", "recorder")]
    found += [Step("edge on one node more, one less", _edge_nodes)]
    found += [Step(f"{one}: pod deleted by force", _delete(one)) for one in COMPONENTS]
    found += [Step(f"{one}: kill -9", _kill(one)) for one in OURS]
    return [
        *found,
        Step("one member of etcd away", _fewer("etcd", 1)),
        Step("all of etcd away", _fewer("etcd", 0)),
        Step("valkey away", _fewer("valkey", 0)),
        Step("etcd from a backup", lambda scene: restored(scene.kube, scene.helm, scene.api, SETTLE_S)),
        Step(
            "a release whose image is not there, and back",
            _bad_release(*(f"image.{one}.tag=no-such-tag" for one in ("signalbox", "kamailio", "rtpengine"))),
        ),
        Step(
            "a release with settings that nobody knows, and back",
            _bad_release(*(f"{one}.settings.{one}.no_such_setting=1" for one in OURS)),
        ),
        Step("node drained", _drain),
        Step("node lost", _lose),
    ]


def _upgrade(component: str) -> Callable[[Scene], None]:
    def upgrade(scene: Scene) -> None:
        before = {pod.uid for pod in scene.kube.pods(component)}
        annotation = f"{component}.podAnnotations.testcluster=at-{time.time():.0f}"
        scene.helm.upgrade(annotation, timeout_s=SETTLE_S * 2)
        scene.kube.settle(SETTLE_S * 2, component)
        if not before:
            raise SkippedError(f"{component} has no pods")
        if before & {pod.uid for pod in scene.kube.pods(component)}:
            raise KubeError(f"{component} has pods of before the upgrade")

    return upgrade


def _scale(component: str) -> Callable[[Scene], None]:
    def scale(scene: Scene) -> None:
        for replicas in (4, 2):
            scene.helm.upgrade(f"{component}.replicas={replicas}", timeout_s=SETTLE_S * 2)
            scene.kube.settle(SETTLE_S * 2, component)

    return scale


def _edge_nodes(scene: Scene) -> None:
    """The label of one node is taken away, and given back: its proxy drains and goes, and comes again."""
    node = _nodes(scene, scene.edge_label)[-1]
    _unlabel(scene, node, scene.edge_label)
    _gone(scene, node, "edge")
    scene.kube.kubectl("label", "node", node, scene.edge_label)
    scene.kube.settle(SETTLE_S, "edge")


def _delete(component: str) -> Callable[[Scene], None]:
    def delete(scene: Scene) -> None:
        pod = _some_pod(scene, component)
        scene.kube.delete_by_force(pod)
        _settled_without(scene, component, pod)

    return delete


def _kill(component: str) -> Callable[[Scene], None]:
    def kill(scene: Scene) -> None:
        if scene.lab is None:
            raise SkippedError("processes of a cluster elsewhere cannot be killed from here")
        pod = _some_pod(scene, component)
        for container in pod.containers.values():
            for pid in pids_of(container):
                os.kill(pid, signal.SIGKILL)
        before = dict(pod.containers)

        def missing() -> str:
            now = {one.name: one for one in scene.kube.pods(component)}.get(pod.name)
            again = now is not None and all(now.containers.get(name) not in ("", id) for name, id in before.items())
            return "" if again else f"{pod.name} has not been started again"

        wait_until(missing, GONE_S)
        scene.kube.settle(SETTLE_S, component)

    return kill


def _fewer(component: str, replicas: int) -> Callable[[Scene], None]:
    """``replicas``: 0: none; 1: one less than there are."""

    def fewer(scene: Scene) -> None:
        item = scene.kube.workload(component)
        if item["kind"] != "StatefulSet":
            raise SkippedError(f"{component} is a {item['kind']}")
        there = item["spec"]["replicas"]
        if replicas and there < 2:
            raise SkippedError(f"{component} is alone")
        wanted = there - 1 if replicas else 0
        name = item["metadata"]["name"]
        scene.kube.kubectl("scale", f"statefulset/{name}", f"--replicas={wanted}")
        wait_until(lambda: "" if len(scene.kube.pods(component)) == wanted else f"{component} is still there", GONE_S)
        time.sleep(AWAY_S)
        scene.kube.kubectl("scale", f"statefulset/{name}", f"--replicas={there}")
        scene.kube.settle(SETTLE_S)

    return fewer


def _bad_release(*values: str) -> Callable[[Scene], None]:
    def bad_release(scene: Scene) -> None:
        try:
            scene.helm.upgrade(*values, timeout_s=BAD_S)
        except KubeError:
            scene.helm.rollback(SETTLE_S)
            scene.kube.settle(SETTLE_S)
        else:
            raise KubeError(f"a release with {values} was taken for good")

    return bad_release


def _drain(scene: Scene) -> None:
    """First its labels go, so that proxy and media node drain and leave; then the rest; and back again."""
    node = _nodes(scene, scene.media_label)[-1]
    labels = (scene.edge_label, scene.media_label)
    for label in labels:
        _unlabel(scene, node, label)
    _gone(scene, node, "edge")
    _gone(scene, node, "media")
    scene.kube.kubectl(
        "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={GONE_S:.0f}s", timeout_s=GONE_S * 2
    )
    scene.kube.kubectl("uncordon", node)
    for label in labels:
        scene.kube.kubectl("label", "node", node, label)
    scene.kube.settle(SETTLE_S)


def _lose(scene: Scene) -> None:
    """Its power goes, with all that runs there; it comes back after a time."""
    if scene.lab is None:
        raise SkippedError("nodes of a cluster elsewhere cannot be lost from here")
    node = _nodes(scene, scene.media_label)[-1]
    scene.lost.add(scene.kube.node_addresses()[node])
    scene.lab.run("node-kill", node)
    time.sleep(LOST_S)
    scene.lab.run("node-start", node)
    scene.kube.settle(SETTLE_S)


# --- what steps share ------------------------------------------------------------------------------------------------


def _nodes(scene: Scene, label: str) -> list[str]:
    nodes = sorted(scene.kube.node_addresses(label))
    if len(nodes) < 2:
        raise SkippedError(f"{len(nodes)} node with {label}: one must stay")
    return nodes


def _unlabel(scene: Scene, node: str, label: str) -> None:
    scene.kube.kubectl("label", "node", node, f"{label.partition('=')[0]}-")


def _some_pod(scene: Scene, component: str) -> Pod:
    pods = sorted((pod for pod in scene.kube.pods(component) if pod.ready), key=lambda pod: pod.name)
    if not pods:
        raise SkippedError(f"{component} has no pods")
    if component == "media":
        scene.lost.add(pods[-1].host_ip)
    return pods[-1]


def _gone(scene: Scene, node: str, component: str) -> None:
    def missing() -> str:
        there = [pod.name for pod in scene.kube.pods(component) if pod.node == node]
        return f"{', '.join(there)} are still there" if there else ""

    wait_until(missing, GONE_S)


def _settled_without(scene: Scene, component: str, pod: Pod) -> None:
    def missing() -> str:
        return f"{pod.name} is still there" if pod.uid in {one.uid for one in scene.kube.pods(component)} else ""

    wait_until(missing, GONE_S)
    scene.kube.settle(SETTLE_S, component)


def pids_of(container: str, proc: Path = Path("/proc")) -> Sequence[int]:
    """Processes of a container on this machine, by its id."""
    found = []
    for directory in proc.iterdir():
        if directory.name.isdigit():
            try:
                if container in (directory / "cgroup").read_text():
                    found.append(int(directory.name))
            except OSError:
                continue
    return sorted(found)
