"""What Kubernetes tells of pods and workloads, and commands that fail."""

from __future__ import annotations

import os

import pytest
from signalbox_local.testcluster.kube import KubeError, Pod, run, unsettled, wait_until

POD = {
    "metadata": {"name": "sb-edge-x", "uid": "u", "labels": {"app.kubernetes.io/component": "edge"}},
    "spec": {"nodeName": "node1"},
    "status": {
        "hostIP": "192.0.2.1",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "edge", "containerID": "containerd://abc"}],
    },
}


def workload(kind: str, spec: dict[str, object], **status: object) -> dict[str, object]:
    return {"kind": kind, "metadata": {"name": "w", "generation": 2}, "spec": spec, "status": status}


def test_a_pod_is_read_with_its_containers():
    pod = Pod.read(POD)
    assert (pod.component, pod.node, pod.ready, pod.leaving) == ("edge", "node1", True, False)
    assert pod.containers == {"edge": "abc"}


def test_a_pod_that_was_just_made_has_neither_node_nor_containers():
    pod = Pod.read({"metadata": {"name": "x", "uid": "u", "deletionTimestamp": "now"}, "spec": {}})
    assert (pod.node, pod.ready, pod.leaving, pod.containers) == ("", False, True, {})


def test_a_deployment_has_settled_when_all_are_new_and_ready():
    status = {"observedGeneration": 2, "updatedReplicas": 2, "readyReplicas": 2, "replicas": 2}
    assert not unsettled(workload("Deployment", {"replicas": 2}, **status))
    assert "1 updated" in unsettled(workload("Deployment", {"replicas": 2}, **status | {"updatedReplicas": 1}))
    assert "3 there" in unsettled(workload("Deployment", {"replicas": 2}, **status | {"replicas": 3}))
    assert "not seen" in unsettled(workload("Deployment", {"replicas": 2}, **status | {"observedGeneration": 1}))


def test_a_stateful_set_at_its_newest_revision_has_settled():
    status = {"observedGeneration": 2, "readyReplicas": 3, "replicas": 3, "currentRevision": "r", "updateRevision": "r"}
    assert not unsettled(workload("StatefulSet", {"replicas": 3}, **status))
    assert "0 updated" in unsettled(workload("StatefulSet", {"replicas": 3}, **status | {"updateRevision": "s"}))


def test_a_daemon_set_has_settled_when_each_of_its_nodes_has_a_new_one():
    status = {
        "observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 2,
        "currentNumberScheduled": 2,
    }  # fmt: skip
    assert not unsettled(workload("DaemonSet", {}, **status))
    assert "1 ready" in unsettled(workload("DaemonSet", {}, **status | {"numberReady": 1}))


def test_a_command_that_fails_tells_its_end():
    with pytest.raises(KubeError, match="gone wrong"):
        run(["sh", "-c", "echo gone wrong >&2; exit 3"], os.environ, 5.0)


def test_a_command_that_is_not_there_is_named():
    with pytest.raises(KubeError, match="no-such-command: not installed"):
        run(["no-such-command"], os.environ, 5.0)


def test_a_command_that_does_not_end_is_ended():
    with pytest.raises(KubeError, match="not over within"):
        run(["sleep", "60"], os.environ, 0.1)


def test_what_never_comes_about_is_told():
    with pytest.raises(KubeError, match="one is missing"):
        wait_until(lambda: "one is missing", 0.0)
