"""A small certificate authority for the one-machine cluster and for tests.

Not for production: the authority's key lies unencrypted on disk. Keys are EC P-256 in PKCS#8 PEM files of mode 0600,
certificates X.509 v3 (RFC 5280). Calling again keeps what is still good and makes anew what is missing, about to expire
or not from this authority.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365
RENEW_DAYS = 30
"""What has fewer days left is made anew."""

_CLOCK_SKEW = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class Credentials:
    """Files of one party: the authority's certificate, its own certificate and its key."""

    ca: Path
    cert: Path
    key: Path


def make_authority(directory: Path) -> Path:
    """Make (or keep) the authority in ``directory`` and return the path of its certificate, ``ca.pem``.

    Its key is beside it in ``ca.key``. Raises OSError if the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    cert_file, key_file = directory / "ca.pem", directory / "ca.key"
    if _load(cert_file, key_file) is None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Signalbox local authority")
        builder = (
            _builder(name, name, key.public_key(), key.public_key(), AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
        )
        _write_key(key_file, key)
        _write(cert_file, _pem(builder.sign(key, hashes.SHA256())), 0o644)
    return cert_file


def issue(
    directory: Path,
    name: str,
    *,
    server: bool,
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1"),
    identity: str = "",
) -> Credentials:
    """Make (or keep) a certificate of the authority in ``directory``: ``<name>.pem`` and ``<name>.key``.

    A server's certificate may also be used by a client; a client's only by a client. ``hosts`` are the names and
    addresses that a server answers for. The common name, ``name``, is who a client is in the logs; ``identity`` is the
    URI that says whose it is, e.g. "signalbox://tenants/acme/reader" (none: the operator's).
    """
    ca_file = make_authority(directory)
    authority = _load(ca_file, directory / "ca.key")
    assert authority is not None, "make_authority has just made it"
    ca_cert, ca_key = authority
    credentials = Credentials(ca_file, directory / f"{name}.pem", directory / f"{name}.key")
    kept = _load(credentials.cert, credentials.key)
    names = _general_names(hosts if server else (), identity)
    if kept is not None and _is_from(kept[0], ca_cert) and _names(kept[0]) == set(names):
        return credentials
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = _builder(_name(name), ca_cert.subject, key.public_key(), ca_key.public_key(), CERTIFICATE_DAYS)
    if server:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )
    _write_key(credentials.key, key)
    _write(credentials.cert, _pem(builder.sign(ca_key, hashes.SHA256())), 0o644)
    return credentials


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_names(hosts: tuple[str, ...], identity: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity)] if identity else []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    days: int,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _load(cert_file: Path, key_file: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    """Certificate and key if both are there, belong together and are valid for a while; else None."""
    try:
        cert = x509.load_pem_x509_certificate(cert_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or cert.public_key() != key.public_key():
        return None
    if cert.not_valid_after_utc < dt.datetime.now(dt.UTC) + dt.timedelta(days=RENEW_DAYS):
        return None
    return cert, key


def _is_from(cert: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        cert.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError):
        return False
    return True


def _names(cert: x509.Certificate) -> set[x509.GeneralName]:
    """Whom a certificate is for: a server has names, a client at most the URI of its identity."""
    try:
        return set(cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return set()


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(file, pem, 0o600)


def _write(file: Path, content: bytes, mode: int) -> None:
    """Write a file whole, never readable by more than ``mode`` allows."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
    temporary.replace(file)
