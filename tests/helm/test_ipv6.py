"""Nodes without IPv4: an address of a node or pod that stands before a port is in brackets (RFC 3986 section 3.2.2)."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from signalbox import address
from signalbox.cli import main
from signalbox.errors import ConfigurationError
from signalbox.media import rtpengine_config
from support.chart import NODE, NODE6, ChartError, Rendered, containers, expand, needs_helm, pod_of, render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_helm
HOST, POD = NODE6["HOST_IP"], NODE6["POD_IP"]
CIDRS = {"networkPolicy": {"nodeCIDRs": ["2001:db8::/64"]}}


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return render({"ipFamily": "IPv6", "provisioning": {"apiKeys": {"enabled": True}}, **CIDRS}, size="region")


def _said(rendered: Rendered) -> Iterator[tuple[str, str]]:
    """Everything that containers are told on the node: by whom, and the text."""
    for name, pod in rendered.pods():
        for container in containers(pod):
            for text in (*container.get("command", ()), *container.get("args", ())):
                known = NODE6 if "HOST_IP" in text or "POD_IP" in text else NODE6 | {"VALKEY_PASSWORD": ""}
                yield f"{name} {container['name']}", expand(text, known)
            for key, value in rendered.settings_of(container, NODE6).items():
                yield f"{name} {container['name']} {key}", value


def test_an_address_before_a_port_is_in_brackets(rendered: Rendered) -> None:
    seen = 0
    for where, text in _said(rendered):
        assert "0.0.0.0" not in text, f"{where}: {text}"
        for own in (HOST, POD):
            for found in re.finditer(re.escape(own), text):
                bare = text == own or text.endswith(f"={own}")
                seen += not bare
                assert bare or (text[found.start() - 1] == "[" and text[found.end() :].startswith("]:")), (
                    f"{where}: {text}"
                )
    assert seen >= 10


@pytest.mark.parametrize(
    ("component", "host", "addresses"),
    [
        ("edge", HOST, ["edge.metrics.listen", "edge.kamailio.listen"]),
        ("media", HOST, ["media.control", "media.metrics.listen", "media.captures.listen", "media.voice.listen"]),
        ("ivr", POD, ["ivr.listen", "ivr.metrics.listen"]),
        ("routing", "::", ["routing.listen", "routing.metrics.listen"]),
        ("recorder", "::", ["recorder.listen", "recorder.metrics.listen"]),
        ("provisioning", "::", ["provisioning.listen", "provisioning.metrics.listen", "provisioning.keys_listen"]),
    ],
)
def test_processes_understand_where_they_listen(
    rendered: Rendered, settings_of: Any, component: str, host: str, addresses: list[str]
) -> None:
    settings = settings_of(rendered, component, node=NODE6)
    for path in addresses:
        found: Any = settings
        for name in path.split("."):
            found = getattr(found, name)
        for text in found if isinstance(found, list) else [found]:
            assert address.endpoint(text)[0] == ipaddress.ip_address(host), path


def test_a_proxy_is_started_with_it(rendered: Rendered, tmp_path: Path) -> None:
    """By the command that the pod runs, with files elsewhere."""
    key = tmp_path / "cluster.key"
    key.write_text("k" * 32)
    (container,) = [one for one in pod_of(rendered.workload("edge"))["spec"]["containers"] if one["name"] == "edge"]
    files = {
        "SIGNALBOX_EDGE__TOKEN_FILE": "token",
        "SIGNALBOX_EDGE__CLUSTER_KEY_FILE": key.name,
        "SIGNALBOX_EDGE__KAMAILIO__RUNTIME_DIR": "run",
        "SIGNALBOX_EDGE__KAMAILIO__EVENT_DIR": "events",
    }
    told = rendered.settings_of(container, NODE6) | {name: str(tmp_path / file) for name, file in files.items()}
    done = CliRunner().invoke(main, ["kamailio-config"], env=told)
    assert done.exit_code == 0, done.output
    lines = (tmp_path / "run" / "kamailio.cfg").read_text().splitlines()
    assert {f"listen=udp:[{HOST}]:5060", f"listen=tcp:[{HOST}]:5060"} <= {*lines}


def test_an_rtpengine_is_started_with_it(rendered: Rendered, settings_of: Any) -> None:
    media = settings_of(rendered, "media", node=NODE6).media
    spec = pod_of(rendered.workload("media"))["spec"]
    (container,) = [one for one in spec["containers"] if one["name"] == "rtpengine"]
    options = rtpengine_config.RtpengineOptions(
        control=media.control, interface=HOST, port_min=33_000, port_max=52_999, capacity=media.capacity,
        recording_dir=str(media.captures.spool_dir), keys=media.voice.keys_listen, pid_file=str(media.daemon_pid_file),
    )  # fmt: skip
    assert {expand(one, NODE6) for one in container["args"]} == {*rtpengine_config.render(options)[1:]}


def test_a_process_on_such_a_node_says_what_is_wrong_if_nobody_said_it(settings_of: Any) -> None:
    for component, setting in (("edge", "edge.metrics.listen"), ("media", "media.control"), ("ivr", "ivr.listen")):
        with pytest.raises(ConfigurationError, match="an IPv6 host in brackets") as refused:
            settings_of(render(), component, node=NODE6)
        assert setting in str(refused.value)


def test_with_ipv4_nothing_is_in_brackets(settings_of: Any) -> None:
    assert settings_of(render(), "ivr").ivr.listen == f"{NODE['POD_IP']}:5060"
    assert settings_of(render(), "routing").routing.listen == "0.0.0.0:7410"


@pytest.mark.parametrize(("family", "cidr"), [("IPv6", "192.0.2.0/24"), ("IPv4", "2001:db8::/64")])
def test_networks_of_nodes_are_of_their_family(family: str, cidr: str) -> None:
    values = {"ipFamily": family, "networkPolicy": {"nodeCIDRs": [cidr]}}
    with pytest.raises(ChartError, match=rf"networkPolicy\.nodeCIDRs: none is of {family}"):
        render(values, size="region")
    values["networkPolicy"] = {"nodeCIDRs": ["192.0.2.0/24", "2001:db8::/64"]}
    assert render(values, size="region").all("NetworkPolicy")
