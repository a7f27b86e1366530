"""What the steps ask of Kubernetes, through ``kubectl`` and ``helm``, and of a lab that can lose nodes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

COMMAND_S = 60.0
POLL_S = 0.5


class KubeError(Exception):
    """A command failed, or something did not come about; the text says which, and what was seen."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as it is now."""

    name: str
    component: str
    node: str
    host_ip: str
    ready: bool
    leaving: bool
    uid: str
    containers: Mapping[str, str]
    """Ids of its containers by name, without the runtime's prefix."""

    @classmethod
    def read(cls, item: Mapping[str, Any]) -> Pod:
        """From an object of the API."""
        meta, status = item["metadata"], item.get("status", {})
        conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
        ids = {one["name"]: one.get("containerID", "") for one in status.get("containerStatuses", ())}
        return cls(
            meta["name"],
            meta.get("labels", {}).get("app.kubernetes.io/component", ""),
            item["spec"].get("nodeName", ""),
            status.get("hostIP", ""),
            conditions.get("Ready") == "True",
            "deletionTimestamp" in meta,
            meta["uid"],
            {name: id.partition("://")[2] for name, id in ids.items()},
        )


class Kube:
    """A namespace of the cluster that KUBECONFIG names."""

    def __init__(self, namespace: str, release: str, environment: Mapping[str, str]) -> None:
        self.namespace, self.release = namespace, release
        # As the chart names its objects.
        self.fullname = release if "signalbox" in release else f"{release}-signalbox"
        self.environment = dict(environment)

    def kubectl(self, *arguments: str, timeout_s: float = COMMAND_S) -> str:
        """What the command writes. Raises KubeError."""
        return run(["kubectl", "-n", self.namespace, *arguments], self.environment, timeout_s)

    def get(self, *arguments: str) -> list[dict[str, Any]]:
        """Objects. Raises KubeError."""
        found = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        items: list[dict[str, Any]] = found.get("items", [found])
        return items

    def create(self, item: Mapping[str, Any]) -> None:
        """An object. Raises KubeError."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(item, file)
            file.flush()
            self.kubectl("create", "-f", file.name)

    def pods(self, component: str = "") -> list[Pod]:
        """Pods of the release, of one component or of all. Those of jobs and tests are left out."""
        selector = f"app.kubernetes.io/instance={self.release}"
        if component:
            selector += f",app.kubernetes.io/component={component}"
        items = self.get("pods", "-l", selector)
        living = [one for one in items if one.get("status", {}).get("phase") in ("Running", "Pending")]
        return [Pod.read(one) for one in living if not _of_job(one)]

    def workload(self, component: str) -> dict[str, Any]:
        """The DaemonSet, Deployment or StatefulSet of a component. Raises KubeError."""
        selector = f"app.kubernetes.io/instance={self.release},app.kubernetes.io/component={component}"
        found = self.get("daemonsets,deployments,statefulsets", "-l", selector)
        if len(found) != 1:
            raise KubeError(f"{component} is {len(found)} workloads, not one")
        return found[0]

    def node_addresses(self, selector: str = "") -> dict[str, str]:
        """Internal addresses of nodes by name."""
        items = self.get("nodes", *(("-l", selector) if selector else ()))
        return {
            one["metadata"]["name"]: address["address"]
            for one in items
            for address in one["status"]["addresses"]
            if address["type"] == "InternalIP"
        }

    def delete_by_force(self, pod: Pod) -> None:
        """It is killed at once, without a word to it."""
        self.kubectl("delete", "pod", pod.name, "--force", "--grace-period=0", "--wait=false")

    def settle(self, timeout_s: float, *components: str) -> None:
        """Wait until the workloads (none named: all of the release) are as they shall be: all pods new and ready, none
        leaving. Raises KubeError."""

        def missing() -> str:
            return "; ".join(found for found in map(unsettled, self._workloads(components)) if found) or self._leaving(
                components
            )

        wait_until(missing, timeout_s)

    def _workloads(self, components: Sequence[str]) -> list[dict[str, Any]]:
        if components:
            return [self.workload(one) for one in components]
        return self.get("daemonsets,deployments,statefulsets", "-l", f"app.kubernetes.io/instance={self.release}")

    def _leaving(self, components: Sequence[str]) -> str:
        pods = [pod for pod in self.pods() if pod.leaving and (not components or pod.component in components)]
        return ", ".join(f"{pod.name} has not ended" for pod in pods)


class Helm:
    """The release."""

    def __init__(self, kube: Kube, chart: Path, values: Sequence[str]) -> None:
        """``values``: arguments of helm that name files and values, the same at each upgrade."""
        self._kube, self._chart = kube, chart
        self.values = list(values)

    def install(self, timeout_s: float) -> str:
        """Install, and wait until all is ready. Raises KubeError."""
        return self._run("install", "--create-namespace", "--wait", timeout_s=timeout_s)

    def upgrade(self, *values: str, timeout_s: float, stay: bool = True) -> str:
        """Upgrade with further values (``key=value``), and wait until all is ready. They stay for later upgrades unless
        it fails, or ``stay`` is false: then it is not waited for either. Raises KubeError."""
        more = [argument for value in values for argument in ("--set", value)]
        done = self._run("upgrade", *more, *(("--wait",) if stay else ()), timeout_s=timeout_s)
        if stay:
            self.values += more
        return done

    def user_values(self) -> dict[str, Any]:
        """The values of the release that is there, without the chart's own. Raises KubeError."""
        command = ["helm", "-n", self._kube.namespace, "get", "values", self._kube.release, "--output=json"]
        found: dict[str, Any] | None = json.loads(run(command, self._kube.environment, COMMAND_S))
        return found or {}

    def rollback(self, timeout_s: float) -> str:
        """To the release before. Raises KubeError."""
        command = ["helm", "-n", self._kube.namespace, "rollback", self._kube.release, "--wait"]
        return run([*command, f"--timeout={timeout_s:.0f}s"], self._kube.environment, timeout_s + COMMAND_S)

    def test(self, timeout_s: float) -> str:
        """``helm test``: the first call. Raises KubeError."""
        command = ["helm", "-n", self._kube.namespace, "test", self._kube.release, "--logs"]
        return run([*command, f"--timeout={timeout_s:.0f}s"], self._kube.environment, timeout_s + COMMAND_S)

    def _run(self, verb: str, *options: str, timeout_s: float) -> str:
        command = ["helm", "-n", self._kube.namespace, verb, self._kube.release, str(self._chart)]
        command += [*self.values, *options, f"--timeout={timeout_s:.0f}s"]
        return run(command, self._kube.environment, timeout_s + COMMAND_S)


class Lab:
    """The lab of several nodes on this machine."""

    def __init__(self, command: Path) -> None:
        self.command = command

    @classmethod
    def find(cls) -> Lab | None:
        """The one that K8SLAB names, or the one that lies beside the checkout; None: there is none."""
        beside = Path(__file__).resolve().parents[5] / "shared" / "k8slab" / "k8slab"
        command = Path(os.environ.get("K8SLAB", beside))
        return cls(command) if os.access(command, os.X_OK) else None

    def run(self, *arguments: str, timeout_s: float = 300.0) -> str:
        """Raises KubeError."""
        settings = {"K8SLAB_NODE_GRACE": "12s", "K8SLAB_EVICT_SECONDS": "10"}
        return run([str(self.command), *arguments], {**os.environ, **settings}, timeout_s)

    def environment(self) -> dict[str, str]:
        """KUBECONFIG and PATH for its cluster."""
        tools = self.run("env")
        found = dict(os.environ)
        for line in tools.splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            found[name] = value.strip("'\"").replace("$PATH", os.environ.get("PATH", ""))
        return found


def run(command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> str:
    """What a command writes to its standard output. Raises KubeError with the end of what it wrote to the other."""
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise KubeError(f"{command[0]}: not installed")
    try:
        done = subprocess.run(
            [program, *command[1:]],
            env=dict(environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise KubeError(f"{' '.join(command[:6])}: not over within {timeout_s:.0f} s") from error
    if done.returncode:
        raise KubeError(f"{' '.join(command[:6])}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def wait_until(missing: Callable[[], str], timeout_s: float) -> None:
    """Wait until nothing is missing; a command that fails is asked again. Raises KubeError with what is missing."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            what = missing()
        except KubeError as error:
            what = str(error)
        if not what:
            return
        if time.monotonic() > deadline:
            raise KubeError(f"after {timeout_s:.0f} s: {what}")
        time.sleep(POLL_S)


def unsettled(item: Mapping[str, Any]) -> str:
    """What is missing until a workload is as its specification says; empty: nothing."""
    spec, status, name = item["spec"], item.get("status", {}), item["metadata"]["name"]
    if status.get("observedGeneration", 0) < item["metadata"].get("generation", 0):
        return f"{name} is not seen yet"
    if item["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        updated, ready = status.get("updatedNumberScheduled", 0), status.get("numberReady", 0)
        total = status.get("currentNumberScheduled", 0)
    else:
        wanted = spec.get("replicas", 1)
        updated, ready = status.get("updatedReplicas", 0), status.get("readyReplicas", 0)
        total = status.get("replicas", 0)
        # A StatefulSet that is at its newest revision no longer counts who is updated.
        if item["kind"] == "StatefulSet" and status.get("currentRevision") == status.get("updateRevision"):
            updated = total
    if (updated, ready, total) == (wanted, wanted, wanted):
        return ""
    return f"{name}: {updated} updated, {ready} ready, {total} there, of {wanted}"


def _of_job(item: Mapping[str, Any]) -> bool:
    meta = item["metadata"]
    owned = any(one["kind"] == "Job" for one in meta.get("ownerReferences", ()))
    return owned or any(name.startswith("helm.sh/hook") for name in meta.get("annotations", {}))
