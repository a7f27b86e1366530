"""What is done to a cluster: to which processes and pods, and what a step says that cannot be done."""

from __future__ import annotations

import pytest
from signalbox_local.testcluster.kube import KubeError, Pod
from signalbox_local.testcluster.steps import COMPONENTS, Scene, SkippedError, pids_of, steps


class Kube:
    """Pods and nodes that are told, and what was asked of them."""

    def __init__(self, **pods: list[Pod]) -> None:
        self.all = pods
        self.asked: list[tuple[str, ...]] = []

    def pods(self, component: str = "") -> list[Pod]:
        return self.all.get(component, [])

    def node_addresses(self, selector: str = "") -> dict[str, str]:
        return {"node1": "192.0.2.1"}

    def kubectl(self, *arguments: str, timeout_s: float = 0.0) -> str:
        self.asked.append(arguments)
        return ""

    def settle(self, timeout_s: float, *components: str) -> None:
        self.asked.append(("settle", *components))

    def delete_by_force(self, pod: Pod) -> None:
        self.asked.append(("delete", pod.name))
        self.all[pod.component].remove(pod)


class Helm:
    """Takes every release, or none."""

    def __init__(self, good: bool) -> None:
        self.good, self.back = good, False

    def upgrade(self, *values: str, timeout_s: float) -> None:
        if not self.good:
            raise KubeError("timed out waiting for the condition")

    def rollback(self, timeout_s: float) -> None:
        self.back = True


def pod(component: str, ready: bool = True) -> Pod:
    return Pod(f"sb-{component}-0", component, "node1", "192.0.2.1", ready, False, "uid", {"main": "abc"})


def nobody() -> None:
    raise AssertionError("no step here asks provisioning")


def scene(kube: Kube, helm: Helm | None = None) -> Scene:
    return Scene(kube, helm or Helm(good=True), None, "edge=true", "media=true", nobody)  # type: ignore[arg-type]


def run(name: str, on: Scene) -> None:
    next(one for one in steps() if one.name == name).run(on)


def test_every_component_is_upgraded_deleted_and_no_two_steps_have_one_name():
    names = [one.name for one in steps()]
    assert len(set(names)) == len(names)
    for component in COMPONENTS:
        assert f"upgrade of {component}" in names
        assert f"{component}: pod deleted by force" in names


def test_processes_are_found_by_the_id_of_their_container(tmp_path):
    for pid, cgroup in (("12", "0::/pod/abc"), ("7", "1:cpu:/pod/abc\n"), ("9", "0::/pod/other"), ("self", "abc")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cgroup").write_text(cgroup)
    (tmp_path / "13").mkdir()
    assert pids_of("abc", tmp_path) == [7, 12]


def test_calls_of_a_media_pod_that_is_deleted_by_force_are_known_to_be_lost():
    there = scene(Kube(media=[pod("media")]))
    run("media: pod deleted by force", there)
    assert there.lost == {"192.0.2.1"}
    other = scene(Kube(edge=[pod("edge")]))
    run("edge: pod deleted by force", other)
    assert not other.lost


def test_a_component_without_pods_is_skipped():
    with pytest.raises(SkippedError, match="edge has no pods"):
        run("edge: pod deleted by force", scene(Kube(edge=[pod("edge", ready=False)])))


def test_processes_and_nodes_elsewhere_are_left_alone():
    there = scene(Kube(edge=[pod("edge")]))
    with pytest.raises(SkippedError, match="cannot be killed from here"):
        run("edge: kill -9", there)
    with pytest.raises(SkippedError, match="cannot be lost from here"):
        run("node lost", there)


def test_the_only_node_is_not_drained():
    with pytest.raises(SkippedError, match="one must stay"):
        run("node drained", scene(Kube()))


@pytest.mark.parametrize("what", ["whose image is not there", "with settings that nobody knows"])
def test_a_release_that_cannot_start_is_taken_back(what):
    helm = Helm(good=False)
    run(f"a release {what}, and back", scene(Kube(), helm))
    assert helm.back


def test_one_that_should_not_start_and_does_is_an_error():
    with pytest.raises(KubeError, match="taken for good"):
        run("a release whose image is not there, and back", scene(Kube(), Helm(good=True)))


def test_pods_of_before_an_upgrade_are_an_error():
    with pytest.raises(KubeError, match="pods of before the upgrade"):
        run("upgrade of ivr", scene(Kube(ivr=[pod("ivr")])))


def test_a_store_that_is_no_stateful_set_is_skipped():
    kube = Kube()
    kube.workload = lambda component: {"kind": "Deployment", "metadata": {"name": "e"}, "spec": {}}  # type: ignore[attr-defined]
    with pytest.raises(SkippedError, match="etcd is a Deployment"):
        run("all of etcd away", scene(kube))
