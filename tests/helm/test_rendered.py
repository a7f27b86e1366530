"""What the chart makes, as a carrier's engineer would look through it: all sizes, the oldest and newest Kubernetes."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from support.chart import (
    CERT_MANAGER,
    CHART,
    NEWEST,
    OLDEST,
    SIZES,
    Rendered,
    containers,
    lint,
    needs_helm,
    own,
    pod_of,
    render,
    selects,
    template,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = needs_helm

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "deployments": {"edge": {"kind": "Deployment", "replicas": 3}, "media": {"kind": "Deployment", "replicas": 3}},
    "by node": {
        "edge": {"nodes": {"node-1": {"advertise": "203.0.113.7:5060", "listen": ["192.0.2.7:5060", "10.0.0.7:5070"]}}},
        "media": {"nodes": {"node-1": {"interfaces": ["192.0.2.7!203.0.113.7"]}}, "kernelTable": "auto"},
    },
    "scaled": {
        "routing": {"autoscaling": {"enabled": True}, "persistence": {"enabled": True}},
        "ivr": {"autoscaling": {"enabled": True}},
        "recorder": {"autoscaling": {"enabled": True}},
    },
    "without voice and recordings": {"ivr": {"enabled": False}, "recorder": {"enabled": False}},
    "load balancer": {
        "edge": {"service": {"enabled": True, "loadBalancerIP": "203.0.113.9"}, "state": {"hostPath": ""}}
    },
    "load test": {"loadtest": {"enabled": True, "clientSecret": "own-client"}},
    "long names": {"fullnameOverride": "a-company-with-a-very-long-name-indeed"},
}
HOST_NETWORK = {"edge", "media", "test", "loadtest", "loadtest-workers"}
NO_PROBES = {"backup", "test", "restore", "loadtest", "loadtest-workers"}


MATRIX = [*((size, "as it is") for size in SIZES), *zip(itertools.cycle(reversed(SIZES)), [*OPTIONS][1:], strict=False)]


@pytest.fixture(params=MATRIX, ids=lambda one: ", ".join(one))
def rendered(request: pytest.FixtureRequest) -> Rendered:
    size, option = request.param
    return render(OPTIONS[option], size=size, version=OLDEST if option in ("deployments", "scaled") else NEWEST)


@pytest.mark.parametrize("size", SIZES)
def test_lint_has_nothing_to_say(size: str) -> None:
    said = lint(CHART / f"values-{size}.yaml")
    assert "[WARNING]" not in said
    assert "[ERROR]" not in said


def test_every_selector_finds_its_pods_and_no_others(rendered: Rendered) -> None:
    pods = dict(rendered.pods())
    for one in rendered.objects:
        if one["kind"] in ("DaemonSet", "Deployment", "StatefulSet"):
            selector = one["spec"]["selector"]["matchLabels"]
            found = [name for name, pod in pods.items() if selects(selector, pod)]
            assert found == [f"{one['kind']}/{one['metadata']['name']}"]
        elif one["kind"] == "Service":
            assert [name for name, pod in pods.items() if selects(one["spec"]["selector"], pod)], one["metadata"][
                "name"
            ]
        elif one["kind"] == "PodDisruptionBudget":
            selector = one["spec"]["selector"]["matchLabels"]
            assert len([name for name, pod in pods.items() if selects(selector, pod)]) == 1


def test_ports_of_services_are_ports_of_their_pods(rendered: Rendered) -> None:
    pods = dict(rendered.pods())
    for service in rendered.all("Service"):
        (pod,) = [pod for pod in pods.values() if selects(service["spec"]["selector"], pod)]
        there = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            found = [one for one in there if target in (one.get("name"), one["containerPort"])]
            assert found, f"{service['metadata']['name']}: nobody has {target}"
            assert {one.get("protocol", "TCP") for one in found} & {port.get("protocol", "TCP")}


def test_probes_ask_ports_of_their_own_container(rendered: Rendered) -> None:
    for name, pod in rendered.pods():
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        for container in pod["spec"]["containers"]:
            ports = {port["name"] for port in container.get("ports", ())}
            probes = [container[key] for key in container if key.endswith("Probe")]
            by_node = any(volume["name"] == "nodes" for volume in pod["spec"].get("volumes", ()))
            if component not in NO_PROBES and not (container["name"] == "kamailio" and by_node):
                assert "livenessProbe" in container, f"{name} {container['name']}"
            for probe in probes:
                asked = probe.get("httpGet") or probe.get("tcpSocket")
                if asked is not None:
                    assert asked["port"] in ports, f"{name} {container['name']}"


def test_whatever_takes_calls_is_asked_whether_it_is_ready(rendered: Rendered) -> None:
    for name, pod in rendered.pods():
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] not in NO_PROBES:
            assert any("readinessProbe" in container for container in pod["spec"]["containers"]), name


def test_probes_of_our_processes_ask_the_right_door(rendered: Rendered) -> None:
    """Whoever is not ready is left alone; only who does not answer at all is started anew."""
    asked = {"startupProbe": set(), "livenessProbe": set(), "readinessProbe": set()}
    for _, pod in rendered.pods():
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] == "etcd":
            continue
        for container in pod["spec"]["containers"]:
            for kind, paths in asked.items():
                if container.get(kind, {}).get("httpGet", {}).get("port") == "metrics":
                    paths.add(container[kind]["httpGet"]["path"])
    assert asked == {"startupProbe": {"/healthz"}, "livenessProbe": {"/healthz"}, "readinessProbe": {"/readyz"}}


def test_nobody_is_root_or_writes_where_it_should_not(rendered: Rendered) -> None:
    for name, pod in rendered.pods():
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] == 10001
        assert security["seccompProfile"]["type"] == "RuntimeDefault"
        for container in containers(pod):
            own = container["securityContext"]
            where = f"{name} {container['name']}"
            assert own["allowPrivilegeEscalation"] is False, where
            assert own["readOnlyRootFilesystem"] is True, where
            assert own["capabilities"]["drop"] == ["ALL"], where
            assert "privileged" not in own
            if own.get("runAsUser", 10001) == 0:
                assert container["name"].startswith("own-") or container["name"] in ("rtpengine", "media"), where
                assert set(own["capabilities"]["add"]) <= {"CHOWN", "FOWNER", "DAC_OVERRIDE", "NET_ADMIN"}, where


@pytest.mark.parametrize("table", ["never", "auto", "always"])
def test_who_ends_a_server_is_its_user(table: str) -> None:
    """Nobody may end a stranger's process without a capability, which root alone gets, or empty his folders."""
    for component, server in (("edge", "kamailio"), ("media", "rtpengine")):
        pod = pod_of(render({"media": {"kernelTable": table}}, size="region").workload(component))
        security = {one["name"]: one["securityContext"] for one in containers(pod)}
        users = {name: security[name].get("runAsUser", 10001) for name in (component, server)}
        assert users[component] == users[server] == (0 if component == "media" and table != "never" else 10001)
        assert pod["spec"]["shareProcessNamespace"] is True
        if users[component] == 0:
            assert "DAC_OVERRIDE" in security[component]["capabilities"]["add"], "what is there is of 10001"
            assert "NET_ADMIN" not in security[component]["capabilities"]["add"]


def test_no_shell_is_needed(rendered: Rendered) -> None:
    for name, pod in rendered.pods():
        for container in containers(pod):
            words = [*container.get("command", ()), *container.get("args", ())]
            assert not [word for word in words if re.fullmatch(r"(.*/)?(ba|da)?sh", word)], (
                f"{name} {container['name']}"
            )


def test_everything_has_requests_and_a_limit_of_memory(rendered: Rendered) -> None:
    for name, pod in rendered.pods():
        for container in containers(pod):
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), f"{name} {container['name']}"
            assert "memory" in resources["limits"], f"{name} {container['name']}"
            assert "cpu" not in resources["limits"], "a process that is held up for tenths of a second loses calls"


def test_only_proxies_and_media_nodes_are_in_the_network_of_their_node(rendered: Rendered) -> None:
    ports: dict[tuple[int, str], str] = {}
    for name, pod in rendered.pods():
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        if not pod["spec"].get("hostNetwork"):
            continue
        assert component in HOST_NETWORK, name
        assert pod["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet", name
        for container in pod["spec"]["containers"]:
            for port in container.get("ports", ()):
                key = (port["containerPort"], port.get("protocol", "TCP"))
                assert key not in ports, f"{name} and {ports[key]} have {key} on one node"
                ports[key] = name


def test_what_is_named_is_there(rendered: Rendered) -> None:
    there = {(one["kind"], one["metadata"]["name"]) for one in rendered.objects}
    outside = {"own-keys", "own-tls", "own-database", "own-s3", "own-client"}
    for name, pod in rendered.pods():
        assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in there, name
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())}
        owner = next(one for one in rendered.workloads() if f"{one['kind']}/{one['metadata']['name']}" == name)
        claims = owner["spec"].get("volumeClaimTemplates", ())
        volumes |= {claim["metadata"]["name"] for claim in claims}
        for volume in pod["spec"].get("volumes", ()):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there, name
            if "secret" in volume:
                secret = volume["secret"]["secretName"]
                assert secret in outside or ("Secret", secret) in there, f"{name}: {secret}"
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there, name
        used = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", ())}
        assert used == volumes, f"{name}: mounted {used ^ volumes}"


def _names_are_short_enough(rendered: Rendered) -> None:
    for one in rendered.objects:
        # Pods of a Deployment add 17 characters, a label has 63.
        most = 46 if one["kind"] == "Deployment" else 52
        assert len(one["metadata"]["name"]) <= most, one["metadata"]["name"]


def test_names_are_short_enough(rendered: Rendered) -> None:
    _names_are_short_enough(rendered)


@pytest.mark.parametrize("size", SIZES)
def test_those_of_the_longest_release_are_short_enough_and_differ(size: str) -> None:
    _names_are_short_enough(render(size=size, release="r" * 53, version=OLDEST))
    with_certificates = render(CERT_MANAGER, size=size, release="r" * 53, version=OLDEST)
    names = [(one["kind"], one["metadata"]["name"]) for one in with_certificates.objects]
    assert len({*names}) == len(names)
    assert max(len(name) for _, name in names) <= 63
    for one in with_certificates.objects:
        for value in one["metadata"].get("labels", {}).values():
            assert len(value) <= 63


def test_a_budget_never_forbids_to_empty_a_node(rendered: Rendered) -> None:
    components = {
        one["metadata"]["labels"]["app.kubernetes.io/component"] for one in rendered.all("PodDisruptionBudget")
    }
    for budget in rendered.all("PodDisruptionBudget"):
        assert "minAvailable" not in budget["spec"]
        assert budget["spec"]["maxUnavailable"] == 1
    for one in rendered.workloads():
        component = one["metadata"]["labels"]["app.kubernetes.io/component"]
        if one["kind"] in ("Deployment", "StatefulSet") and one["spec"].get("replicas", 2) > 1:
            assert component in components
        # A budget counts what a controller's scale says, and a DaemonSet has none.
        assert one["kind"] != "DaemonSet" or component not in components


def test_pods_have_the_time_that_they_need_to_drain(rendered: Rendered) -> None:
    margins = {"edge": 30, "media": 35, "routing": 10, "ivr": 15, "recorder": 10, "provisioning": 10}
    for component, margin in margins.items():
        try:
            workload = rendered.workload(component)
        except ValueError:
            continue
        settings = rendered.settings_of(pod_of(workload)["spec"]["containers"][-1])
        drain = float(settings[f"SIGNALBOX_{component.upper()}__DRAIN_S"])
        assert pod_of(workload)["spec"]["terminationGracePeriodSeconds"] >= drain + margin, component


def test_a_rollback_replaces_pods_that_cannot_start(rendered: Rendered) -> None:
    """Kubernetes waits for ever for one of a StatefulSet that is kept in order."""
    for one in rendered.all("StatefulSet"):
        assert one["spec"]["podManagementPolicy"] == "Parallel", one["metadata"]["name"]


def test_at_most_one_proxy_or_media_node_is_replaced_at_a_time(rendered: Rendered) -> None:
    for component in ("edge", "media"):
        spec = rendered.workload(component)["spec"]
        rolling = (spec.get("updateStrategy") or spec["strategy"])["rollingUpdate"]
        assert rolling["maxUnavailable"] == 1
        assert rolling.get("maxSurge", 0) == 0, "two cannot have one port"


def _apart(pod: Mapping[str, Any], where: str = "kubernetes.io/hostname") -> str:
    """What its affinity says about two of a kind in one place."""
    rules = pod["spec"].get("affinity", {}).get("podAntiAffinity", {})
    for word in ("required", "preferred"):
        for term in rules.get(f"{word}DuringSchedulingIgnoredDuringExecution", ()):
            term = term.get("podAffinityTerm", term)
            assert selects(term["labelSelector"]["matchLabels"], pod), "they keep apart from others than themselves"
            if term["topologyKey"] == where:
                return word
    return "no"


@pytest.mark.parametrize("size", SIZES)
def test_nodes_without_zones_are_spread_over_too(size: str) -> None:
    """Among constraints on the spread Kubernetes leaves a node out of all if it lacks the label of one."""
    rendered = render(size=size)
    for component in ("routing", "provisioning", "ivr", "recorder"):
        spec = pod_of(rendered.workload(component))["spec"]
        assert [one["topologyKey"] for one in spec["topologySpreadConstraints"]] == ["kubernetes.io/hostname"]
        assert _apart({**pod_of(rendered.workload(component))}, "topology.kubernetes.io/zone") == "preferred"
    if size != "carrier":
        assert _apart(pod_of(rendered.workload("etcd")), "topology.kubernetes.io/zone") == "preferred"


APART = {
    "laptop": {"routing": "preferred", "provisioning": "preferred", "ivr": "preferred", "recorder": "preferred"},
    "region": {"routing": "required", "provisioning": "required", "ivr": "required", "recorder": "required"},
    "carrier": {"routing": "preferred", "provisioning": "required", "ivr": "preferred", "recorder": "preferred"},
}
"""Where there are as many nodes as the most replicas. What is autoscaled may become more."""
NODES = {"laptop": 1, "region": 3, "carrier": 3}


@pytest.mark.parametrize("size", SIZES)
def test_replicas_are_apart_where_the_nodes_suffice(size: str) -> None:
    rendered = render(size=size)
    for component, wanted in APART[size].items():
        workload = rendered.workload(component)
        assert _apart(pod_of(workload)) == wanted, component
        if wanted == "required":
            assert workload["spec"]["replicas"] <= NODES[size], f"{component}: some would never find a node"
    for component in ("edge", "media"):
        assert _apart(pod_of(rendered.workload(component))) == "required", "two cannot have one port"


@pytest.mark.parametrize("component", ["routing", "provisioning", "ivr", "recorder"])
@pytest.mark.parametrize("apart", ["required", "preferred", "no"])
def test_whether_two_may_be_on_one_node_is_a_value(component: str, apart: str) -> None:
    assert _apart(pod_of(render({component: {"apart": apart}}, size="region").workload(component))) == apart


@pytest.mark.parametrize("component", ["ivr", "recorder"])
def test_new_ones_come_before_old_ones_go_unless_there_might_be_no_node_for_them(component: str) -> None:
    """One more than there are nodes would wait for ever, and the upgrade with it."""
    rolling = {
        apart: render({component: {"apart": apart}}).workload(component)["spec"]
        for apart in ("no", "preferred", "required")
    }
    for apart in ("no", "preferred"):
        assert rolling[apart]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert rolling["required"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


@pytest.mark.parametrize("component", ["edge", "media", "ivr", "recorder"])
def test_who_waits_for_a_drain_has_not_failed(component: str) -> None:
    kind = {"kind": "Deployment"} if component in ("edge", "media") else {"apart": "required"}
    spec = render({component: {**kind, "drainSeconds": 7200}}).workload(component)["spec"]
    grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= 7200
    assert spec["progressDeadlineSeconds"] > grace + 300


def test_replicas_are_left_to_who_scales(rendered: Rendered) -> None:
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in rendered.all("HorizontalPodAutoscaler")}
    for name in scaled:
        (one,) = [one for one in rendered.workloads() if one["metadata"]["name"] == name]
        assert "replicas" not in one["spec"], name


def test_api_versions_are_those_of_the_cluster() -> None:
    everything = {
        "routing": {"autoscaling": {"enabled": True}},
        "backup": {"enabled": True},
    }
    of = {
        version: {one["kind"]: one["apiVersion"] for one in render(everything, size="region", version=version).objects}
        for version in (OLDEST, NEWEST)
    }
    assert of[OLDEST]["PodDisruptionBudget"] == "policy/v1beta1"
    assert of[OLDEST]["CronJob"] == "batch/v1beta1"
    assert of[OLDEST]["HorizontalPodAutoscaler"] == "autoscaling/v2beta2"
    assert of[NEWEST]["PodDisruptionBudget"] == "policy/v1"
    assert of[NEWEST]["CronJob"] == "batch/v1"
    assert of[NEWEST]["HorizontalPodAutoscaler"] == "autoscaling/v2"


def test_the_same_values_give_the_same_objects() -> None:
    values = json.dumps(own("region"))
    assert template(values, "region", NEWEST, "sb", ()) == template(values, "region", NEWEST, "sb", ())


def test_only_pods_whose_settings_change_are_replaced() -> None:
    before, after = render(size="region"), render({"ivr": {"settings": {"log": {"level": "debug"}}}}, size="region")
    changed = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]
        for one, other in zip(before.workloads(), after.workloads(), strict=True)
        if pod_of(one) != pod_of(other)
    }
    assert changed == {"ivr"}


def test_a_setting_of_all_replaces_all() -> None:
    before, after = render(size="region"), render({"settings": {"log": {"level": "debug"}}}, size="region")
    changed = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]
        for one, other in zip(before.workloads(), after.workloads(), strict=True)
        if pod_of(one) != pod_of(other)
    }
    assert {"edge", "media", "routing", "provisioning", "ivr", "recorder"} <= changed
