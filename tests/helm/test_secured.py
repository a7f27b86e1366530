"""Certificates, passwords, registries: what pods get of them, and that the settings find it there."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest
from support.chart import CERT_MANAGER, Rendered, containers, needs_helm, pod_of, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = needs_helm

STORES = {
    "etcd": {
        "client": {
            "tlsSecret": "etcd-client", "serverName": "etcd.example", "username": "signalbox",
            "passwordSecret": "etcd-password",
        }
    },
    "valkey": {"external": {"tlsSecret": "valkey-ca"}, "passwordSecret": "valkey-password"},
}  # fmt: skip
SECURED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "cert-manager": ("region", CERT_MANAGER),
    "stores elsewhere": ("carrier", STORES),
    "a password for our own valkey": ("region", {"valkey": {"passwordSecret": "valkey-password"}}),
    "both": ("carrier", {**CERT_MANAGER, **STORES}),
}
COMPONENTS = ("edge", "media", "routing", "provisioning", "ivr", "recorder")


def _mounted(pod: Mapping[str, Any], container: Mapping[str, Any], path: str) -> str:
    """Name of the Secret whose files are there; empty: of none."""
    volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
    for mount in container.get("volumeMounts", ()):
        directory, _, file = path.rpartition("/")
        if mount["mountPath"] != directory:
            continue
        secret = volumes[mount["name"]].get("secret", {})
        items = [item["path"] for item in secret.get("items", ())]
        return str(secret.get("secretName", "")) if not items or file in items else ""
    return ""


def _files(rendered: Rendered) -> Iterator[tuple[str, str, str]]:
    """Container, setting and Secret of every file of a Secret that a setting names."""
    for name, pod in rendered.pods():
        for container in containers(pod):
            for key, value in rendered.settings_of(container).items():
                if key.endswith("_FILE") and value.startswith("/etc/signalbox/"):
                    yield f"{name} {container['name']}", key, _mounted(pod, container, value)


@pytest.mark.parametrize(("size", "values"), SECURED.values(), ids=SECURED)
def test_every_file_that_a_setting_names_is_of_a_secret_that_is_mounted(size: str, values: Mapping[str, Any]) -> None:
    rendered = render(values, size=size)
    made = {one["spec"]["secretName"] for one in rendered.all("Certificate")}
    made |= {one["metadata"]["name"] for one in rendered.all("Secret")}
    given = {
        "own-keys", "own-tls", "own-database", "own-s3", "etcd-client", "etcd-password", "valkey-ca", "valkey-password",
    }  # fmt: skip
    files = [*_files(rendered)]
    assert files
    assert [one for one in files if one[2] not in made | given] == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_processes_take_what_they_are_told_of_tls(component: str, settings_of) -> None:
    rendered = render({**CERT_MANAGER, **STORES}, size="carrier")
    settings = settings_of(rendered, component)
    served = {name for one in rendered.all("Certificate") for name in one["spec"].get("dnsNames", ())}
    own: Any = getattr(settings, component)
    servers = {
        "routing": ["tls"], "recorder": ["tls"], "provisioning": ["tls"], "media": ["captures.tls", "voice.tls"],
    }.get(component, [])  # fmt: skip
    clients = {
        "edge": ["routing_tls", "recorders_tls"],
        "media": ["routing_tls"],
        "ivr": ["routing_tls", "recorders_tls", "voice_tls"],
        "recorder": ["captures_tls"],
        "provisioning": ["routing_tls", "captures_tls", "audit.tls"],
    }.get(component, [])
    for name in servers:
        section = attrgetter(name)(own)
        assert section.cert_file is not None, name
        assert section.key_file is not None, name
    for name in clients:
        section = attrgetter(name)(own)
        assert section.ca_file is not None, name
        assert section.server_name in served, name
    assert settings.etcd.username == "signalbox"
    assert settings.etcd.tls.server_name == "etcd.example"
    assert settings.etcd.password_file is not None


def test_cert_manager_is_asked_for_what_the_servers_are_called() -> None:
    rendered = render(CERT_MANAGER, size="region")
    certificates = {one["metadata"]["name"]: one["spec"] for one in rendered.all("Certificate")}
    for name, spec in certificates.items():
        assert spec["secretName"] == name
        assert spec["issuerRef"] == {"name": "voice-ca", "kind": "ClusterIssuer", "group": "cert-manager.io"}
        assert spec.get("dnsNames") or spec["usages"] == ["digital signature", "client auth"], name
        assert len(spec["commonName"]) <= 64
        assert {"server auth", "client auth"} & {*spec["usages"]}
    provisioning = certificates["sb-signalbox-provisioning-tls"]
    assert {"api.example.com", "localhost", "sb-signalbox-provisioning.voice.svc"} <= {*provisioning["dnsNames"]}
    assert provisioning["ipAddresses"] == ["203.0.113.4"]
    assert {*provisioning["usages"]} >= {"server auth", "client auth"}
    assert certificates["sb-signalbox-operator-tls"]["usages"] == ["digital signature", "client auth"]


def test_members_of_etcd_ask_for_certificates_where_there_are_any() -> None:
    def told(rendered: Rendered) -> str:
        (container,) = pod_of(rendered.workload("etcd"))["spec"]["containers"]
        return " ".join(container.get("args", []) + [f"{one['name']}={one.get('value')}" for one in container["env"]])

    secured, plain = told(render(CERT_MANAGER, size="region")), told(render(size="region"))
    for word in ("client-cert-auth", "peer-client-cert-auth", "https://"):
        assert word in secured.replace("_", "-").lower()
        assert word not in plain.replace("_", "-").lower()


def test_images_come_from_the_registry_that_is_named() -> None:
    digest = "sha256:" + "0" * 64
    rendered = render({
        "image": {
            "registry": "registry.example.com/voice/", "pullPolicy": "Always", "pullSecrets": [{"name": "registry"}],
            "signalbox": {"tag": "1.2.3"}, "kamailio": {"tag": "1.2.3", "digest": digest},
        }
    })  # fmt: skip
    ours: dict[str, set[str]] = {}
    for name, pod in rendered.pods():
        for container in containers(pod):
            image = container["image"]
            if image.startswith("registry.example.com/voice/signalbox"):
                ours.setdefault(image.removeprefix("registry.example.com/voice/"), set()).add(name)
                assert container["imagePullPolicy"] == "Always"
                assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}], name
    assert {*ours} >= {"signalbox:1.2.3", f"signalbox-kamailio@{digest}", "signalbox-rtpengine:0.1.0"}
