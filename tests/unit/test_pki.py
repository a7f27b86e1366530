"""The small authority: what it issues is good, private, and kept."""

from __future__ import annotations

import datetime as dt
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from signalbox import pki

if TYPE_CHECKING:
    from pathlib import Path


def verify(credentials: pki.Credentials, purpose: str) -> bool:
    """What OpenSSL, which is not what made it, says."""
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", credentials.ca, credentials.cert]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_certificates_serve_their_purpose(tmp_path: Path) -> None:
    server = pki.issue(tmp_path, "provisioning", server=True)
    client = pki.issue(tmp_path, "client", server=False)
    assert verify(server, "sslserver")
    assert verify(server, "sslclient")
    assert verify(client, "sslclient")
    assert not verify(client, "sslserver")


def test_a_server_answers_for_loopback(tmp_path: Path) -> None:
    cert = x509.load_pem_x509_certificate(pki.issue(tmp_path, "provisioning", server=True).cert.read_bytes())
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_keys_are_private(tmp_path: Path) -> None:
    pki.issue(tmp_path / "pki", "client", server=False)
    keys = list((tmp_path / "pki").glob("*.key"))
    assert len(keys) == 2
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
    assert not list((tmp_path / "pki").glob(".*")), "no temporary file is left"


def test_what_is_good_is_kept(tmp_path: Path) -> None:
    first = pki.issue(tmp_path, "client", server=False)
    contents = [file.read_bytes() for file in (first.ca, first.cert, first.key)]
    second = pki.issue(tmp_path, "client", server=False)
    assert [file.read_bytes() for file in (second.ca, second.cert, second.key)] == contents


@pytest.mark.parametrize("damage", ["certificate", "key", "kind", "hosts", "authority", "age"])
def test_what_is_not_good_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    before = pki.issue(tmp_path, "one", server=True)
    old = before.cert.read_bytes()
    server, hosts = True, ("localhost", "127.0.0.1", "::1")
    match damage:
        case "certificate":
            before.cert.write_text("nonsense")
        case "key":
            before.key.unlink()
        case "kind":
            server = False
        case "hosts":
            hosts = ("example.test",)
        case "authority":
            before.ca.unlink()
        case "age":
            monkeypatch.setattr(pki, "RENEW_DAYS", pki.CERTIFICATE_DAYS + 1)
    after = pki.issue(tmp_path, "one", server=server, hosts=hosts)
    assert after.cert.read_bytes() != old
    assert verify(after, "sslclient")


def test_validity_begins_a_little_before_now(tmp_path: Path) -> None:
    cert = x509.load_pem_x509_certificate(pki.make_authority(tmp_path).read_bytes())
    assert cert.not_valid_before_utc < dt.datetime.now(dt.UTC)


def test_a_client_may_say_whose_it_is(tmp_path: Path) -> None:
    identity = "signalbox://tenants/acme/reader"
    first = pki.issue(tmp_path, "acme", server=False, identity=identity)
    content = first.cert.read_bytes()
    names = x509.load_pem_x509_certificate(content).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == [identity]
    assert verify(first, "sslclient")
    assert pki.issue(tmp_path, "acme", server=False, identity=identity).cert.read_bytes() == content
    assert pki.issue(tmp_path, "acme", server=False).cert.read_bytes() != content, "another identity is made anew"
