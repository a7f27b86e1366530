"""What Kubernetes tells of pods and workloads, and commands that fail."""

from __future__ import annotations

import os

import pytest
from signalbox_local.testcluster.kube import Helm, Kube, KubeError, Pod, run, unsettled, wait_until

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


def test_values_of_an_upgrade_stay_unless_it_fails_or_they_are_for_once(tmp_path):
    log, bad = tmp_path / "log", tmp_path / "bad"
    program = tmp_path / "helm"
    program.write_text(f'#!/bin/sh\necho "helm $@" >> {log}\n[ ! -e {bad} ]\n')
    program.chmod(0o755)
    kube = Kube("ns", "sb", os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    helm = Helm(kube, tmp_path, ["--set", "a=1"])
    helm.upgrade("b=2", timeout_s=5)
    helm.upgrade("c=3", timeout_s=5, stay=False)
    bad.touch()
    with pytest.raises(KubeError):
        helm.upgrade("d=4", timeout_s=5)
    first, second, third = log.read_text().splitlines()
    assert "--set a=1 --set b=2 --wait" in first
    assert "--set a=1 --set b=2 --set c=3" in second
    assert "--wait" not in second
    assert "--set a=1 --set b=2 --set d=4" in third
    assert helm.values == ["--set", "a=1", "--set", "b=2"]


def test_values_of_a_release_are_read_and_none_are_none(tmp_path):
    program = tmp_path / "helm"
    kube = Kube("ns", "sb", os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    for told, values in (('{"etcd": {"generation": 2}}', {"etcd": {"generation": 2}}), ("null", {})):
        program.write_text(f"#!/bin/sh\necho '{told}'\n")
        program.chmod(0o755)
        assert Helm(kube, tmp_path, []).user_values() == values


def test_an_object_is_created_from_a_file(tmp_path):
    program, seen = tmp_path / "kubectl", tmp_path / "seen"
    program.write_text(f'#!/bin/sh\ncp "$5" {seen}\n')
    program.chmod(0o755)
    Kube("ns", "sb", os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}).create({"kind": "Job"})
    assert seen.read_text() == '{"kind": "Job"}'
