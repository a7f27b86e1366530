"""Certificates, passwords, registries: what pods get of them, and that the settings find it there."""

from __future__ import annotations

import base64
import os
import subprocess
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from signalbox import rpc
from signalbox.settings import ClientTlsSettings, ServerTlsSettings
from signalbox.tlsfiles import TlsFiles
from support.chart import CERT_MANAGER, ROOT, Rendered, containers, needs_helm, pod_of, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

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
FILES = ("ca_file", "cert_file", "key_file")
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


async def test_with_generated_certificates_an_operator_reaches_provisioning_by_its_name(tmp_path: Path) -> None:
    rendered = render(size="laptop")
    for who in ("provisioning", "operator"):
        for name, content in rendered.get("Secret", f"sb-signalbox-{who}-tls")["data"].items():
            (tmp_path / f"{who}-{name}").write_bytes(base64.b64decode(content))
    files = {
        who: dict(zip(FILES, (tmp_path / f"{who}-{name}" for name in ("ca.crt", "tls.crt", "tls.key")), strict=True))
        for who in ("provisioning", "operator")
    }
    server = grpc.aio.server()
    health = await rpc.add_health_and_reflection(server, [])
    port = rpc.bind(server, "127.0.0.1:0", ServerTlsSettings(**files["provisioning"]))
    await server.start()
    try:
        await health.set(True)
        for name in ("sb-signalbox-provisioning", "sb-signalbox-provisioning.voice.svc.cluster.local", "localhost"):
            tls = ClientTlsSettings(**files["operator"], server_name=name)
            async with rpc.channel(f"127.0.0.1:{port}", tls) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                assert (await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)).status == 1, name
    finally:
        await server.stop(None)


def test_certificates_of_ones_own_are_made_as_the_page_shows(tmp_path: Path) -> None:
    """With the names by which others, and the test call, know provisioning in the release of the examples."""
    page = (ROOT / "docs/operations.md").read_text().partition("### Certificates of your own")[2]
    commands = page.partition("```bash\n")[2].partition("```")[0]
    (tmp_path / "kubectl").write_text('#!/bin/sh\necho "$@" >>asked\n')
    (tmp_path / "kubectl").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-euc", commands], cwd=tmp_path, env={"PATH": path}, check=True, capture_output=True, timeout=60
    )
    for who in ("provisioning", "operator"):
        TlsFiles(who, ca=tmp_path / "ca.crt", cert=tmp_path / f"{who}.crt", key=tmp_path / f"{who}.key")
    certificate = x509.load_pem_x509_certificate((tmp_path / "provisioning.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    has = set(names.get_values_for_type(x509.DNSName))
    own = {
        "certificates": {"provisioning": {"existingSecret": "signalbox-provisioning"}},
        "tests": {"clientSecret": "signalbox-operator"},
    }
    rendered = render(own, size="region", release="signalbox")
    (container,) = pod_of(rendered.workload("test"))["spec"]["containers"]
    (api,) = [one for one in container["args"] if one.startswith("--api=")]
    (serving,) = pod_of(rendered.workload("provisioning"))["spec"]["containers"]
    known = rendered.settings_of(serving)["SIGNALBOX_PROVISIONING__AUDIT__TLS__SERVER_NAME"]
    assert has == {known, api.removeprefix("--api=").removesuffix(":7420"), "localhost"}
    usages = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert usages == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    asked = (tmp_path / "asked").read_text()
    for secret in ("signalbox-provisioning", "signalbox-operator"):
        assert f"create secret generic {secret} --from-file=tls.crt=" in asked
