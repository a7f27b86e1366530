"""What the pods are told: settings that the processes take, command lines that are those of our own commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from signalbox.edge import kamailio_config
from signalbox.errors import ConfigurationError
from signalbox.media import rtpengine_config
from signalbox.settings import load
from support.chart import NODE, SIZES, expand, needs_helm, pod_of, render

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_helm
PROCESSES = {
    "edge": 7401, "routing": 7411, "provisioning": 7421, "recorder": 7431, "media": 7441, "ivr": 7461,
}  # fmt: skip
GRPC = {"routing": ("grpc", 7410), "provisioning": ("grpc", 7420), "recorder": ("grpc", 7430)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("component", PROCESSES)
def test_every_setting_is_one_that_the_process_knows(settings_of, size: str, component: str) -> None:
    rendered = render(size=size)
    settings = settings_of(rendered, component)
    ports = {
        port["name"]: port["containerPort"]
        for container in pod_of(rendered.workload(component))["spec"]["containers"]
        for port in container.get("ports", ())
    }
    own = getattr(settings, component)
    assert int(own.metrics.listen.rpartition(":")[2]) == ports["metrics"] == PROCESSES[component]
    if component in GRPC:
        name, port = GRPC[component]
        assert int(own.listen.rpartition(":")[2]) == ports[name] == port


def test_a_setting_that_nobody_knows_would_end_the_process(settings_of) -> None:
    with pytest.raises(ConfigurationError, match="no_such_setting"):
        settings_of(render({"routing": {"settings": {"routing": {"no_such_setting": 1}}}}), "routing")


@pytest.mark.parametrize("value", [8192, 0.5, "debug", True, ["192.0.2.0/24"]])
def test_values_of_every_kind_arrive_as_they_are(settings_of, value: object) -> None:
    trees = {
        int: ("bulk.rows_per_second", {"provisioning": {"bulk": {"rows_per_second": value}}}),
        float: ("drain", {"log": {"level": "info"}, "etcd": {"request_timeout_s": value}}),
        str: ("level", {"log": {"level": value}}),
        bool: ("insecure", {"provisioning": {"insecure": value}}),
        list: ("networks", {"ivr": {"requests": {"allowed_networks": value}}}),
    }
    settings = settings_of(render({"provisioning": {"settings": trees[type(value)][1]}}), "provisioning")
    found = {
        int: settings.provisioning.bulk.rows_per_second,
        float: settings.etcd.request_timeout_s,
        str: settings.log.level,
        bool: settings.provisioning.insecure,
        list: settings.ivr.requests.allowed_networks,
    }[type(value)]
    assert found == value or list(map(str, found)) == value


def test_clients_ask_all_replicas_of_a_headless_service(settings_of) -> None:
    rendered = render(size="region")
    names = {one["metadata"]["name"] for one in rendered.all("Service") if one["spec"].get("clusterIP") == "None"}
    edge, ivr = settings_of(rendered, "edge").edge, settings_of(rendered, "ivr").ivr
    media, provisioning = settings_of(rendered, "media").media, settings_of(rendered, "provisioning").provisioning
    for address in (
        *edge.routing, *edge.recorders, *ivr.routing, *ivr.recorders, *media.routing,
        *provisioning.routing, *provisioning.audit.replicas,
    ):  # fmt: skip
        assert address.startswith("dns:")
        assert address.removeprefix("dns:").partition(".")[0] in names


def test_a_proxy_is_ended_by_its_edge(settings_of) -> None:
    rendered = render()
    edge = settings_of(rendered, "edge").edge
    spec = pod_of(rendered.workload("edge"))["spec"]
    assert edge.kamailio.ends_with_edge
    assert edge.drain_s > 0
    assert spec["shareProcessNamespace"] is True
    assert edge.id == "edge-ip-10-0-1-23-eu-west-1-compute-internal", "dots have a meaning in names of calls"
    assert edge.kamailio.listen == [f"{NODE['HOST_IP']}:5060"]


@pytest.mark.parametrize("size", SIZES)
def test_kamailio_runs_by_the_command_that_we_print(settings_of, size: str) -> None:
    rendered = render(size=size)
    edge = settings_of(rendered, "edge").edge
    (container,) = [one for one in pod_of(rendered.workload("edge"))["spec"]["containers"] if one["name"] == "kamailio"]
    config = edge.kamailio.runtime_dir / kamailio_config.CONFIG_FILE
    assert ["kamailio", *container["args"]] == kamailio_config.command(edge, config)
    memory = container["resources"]["limits"]["memory"]
    limit = int(memory.removesuffix("Gi")) * 1024 if memory.endswith("Gi") else int(memory.removesuffix("Mi"))
    assert limit > edge.kamailio.shared_memory_mb, "the kernel would kill a proxy that uses its memory"


@pytest.mark.parametrize(
    ("values", "table", "rest"),
    [
        ({}, -1, []),
        ({"media": {"kernelTable": "always"}}, 0, []),
        ({"media": {"kernelTable": "auto"}}, 0, ["--no-fallback"]),
        ({"recorder": {"enabled": False}, "ivr": {"enabled": False}}, -1, []),
    ],
    ids=["as it is", "kernel", "kernel if there", "relay alone"],
)
def test_rtpengine_runs_by_the_command_that_we_print(settings_of, values, table: int, rest: list[str]) -> None:
    rendered = render(values, size="region")
    media = settings_of(rendered, "media").media
    (container,) = [
        one for one in pod_of(rendered.workload("media"))["spec"]["containers"] if one["name"] == "rtpengine"
    ]
    options = rtpengine_config.RtpengineOptions(
        control=media.control,
        interface=NODE["HOST_IP"],
        port_min=33_000,
        port_max=52_999,
        capacity=media.capacity,
        held_dead_after_s=media.held_dead_after_s,
        kernel_table=table,
        recording_dir=str(media.captures.spool_dir or ""),
        keys=media.voice.keys_listen if media.voice.cache_dir is not None else "",
        pid_file=str(media.daemon_pid_file),
    )
    told = {expand(one, NODE) for one in container["args"]}
    assert {*told, *rest} == {*rtpengine_config.render(options)[1:]}


def test_a_node_of_its_own_has_a_file_of_its_own(tmp_path: Path) -> None:
    name = NODE["NODE_NAME"]
    rendered = render({
        "edge": {"nodes": {name: {"advertise": "203.0.113.7:5060", "listen": ["192.0.2.7:5060"]}}},
        "media": {"nodes": {name: {"interfaces": ["pub/192.0.2.7!203.0.113.7", "priv/10.0.0.7"]}}},
    })  # fmt: skip
    file = tmp_path / "node.toml"
    file.write_text(rendered.get("ConfigMap", "sb-signalbox-edge-nodes")["data"][f"{name}.toml"])
    kamailio = load(file).edge.kamailio
    assert (kamailio.advertise, kamailio.listen) == ("203.0.113.7:5060", ["192.0.2.7:5060"])
    text = rendered.get("ConfigMap", "sb-signalbox-media-nodes")["data"][f"{name}.conf"]
    assert text == "[rtpengine]\ninterface = pub/192.0.2.7!203.0.113.7;priv/10.0.0.7\n"
    for component, process in (("edge", "edge"), ("media", "rtpengine")):
        spec = pod_of(rendered.workload(component))["spec"]
        (container,) = [one for one in spec["containers"] if one["name"] == process]
        assert any(f"/etc/signalbox/nodes/{name}" in expand(one, NODE) for one in container["args"])


def test_the_test_call_goes_where_proxies_listen() -> None:
    def told(values: dict[str, Any], option: str) -> list[str]:
        (container,) = pod_of(render(values).workload("test"))["spec"]["containers"]
        return [one.removeprefix(option) for one in container["args"] if one.startswith(option)]

    def called(values: dict[str, Any]) -> list[str]:
        return told(values, "--proxy=")

    nodes = {
        "n1": {"advertise": "203.0.113.7:5060", "listen": ["192.0.2.7:5062", "10.0.0.7:5060"]},
        "n2": {"advertise": "203.0.113.8:5070", "listen": ["0.0.0.0:5060"]},
    }
    ready = "sb-signalbox-edge-replicas.voice.svc.cluster.local"
    assert called({"edge": {"port": 5064}}) == [f"{ready}:5064"]
    named = {"edge": {"nodes": nodes}}
    assert called(named) == ["n1=192.0.2.7:5062", "n2=203.0.113.8:5070"]
    elsewhere = {**named, "tests": {"proxies": ["sip.example:5060"]}}
    assert called(elsewhere) == ["sip.example:5060"]
    assert [told(values, "--ready=") for values in ({}, named, elsewhere)] == [[], [ready], []]
