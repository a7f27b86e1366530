"""Certificates and keys in files, which somebody renews while we run: cert-manager, an operator, a cron job.

Files are looked at when a connection is made, at most every :data:`LOOK_S`. What is new is taken when it is whole: a
key and the certificate of that key, and an authority that can be read. Until then, and if it never is, the old one
serves, and the log says why. Kubernetes swaps all files of a Secret at once by one symbolic link; others write them one
by one.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily

from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from prometheus_client.registry import Collector

logger = structlog.get_logger(__name__)

LOOK_S = 5.0
"""Files are looked at so often at most."""


@dataclass(frozen=True, slots=True)
class Material:
    """PEM as it was read; None: not set up."""

    ca: bytes | None
    cert: bytes | None
    key: bytes | None


class TlsFiles:
    """The files of one listener, or of the connections to one kind of server."""

    def __init__(self, setting: str, *, ca: Path | None, cert: Path | None, key: Path | None) -> None:
        """``setting``: what errors call them, such as ``routing.tls``. Raises ConfigurationError if a file cannot be
        read or is no PEM, or the key is not that of the certificate."""
        self.ca, self.cert, self.key = ca, cert, key
        self._setting = setting
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self._looked = time.monotonic()
        self._refused = ""
        self._material, self.expiries = self._read()
        _all.add(self)

    @property
    def material(self) -> Material:
        """What was good when it was looked at last. From any thread."""
        with self._lock:
            if time.monotonic() - self._looked >= LOOK_S:
                self._look()
            return self._material

    def look(self) -> None:
        """Look now. From any thread."""
        with self._lock:
            self._look()

    def _look(self) -> None:
        self._looked = time.monotonic()
        seen = self._stamp()
        if seen == self._seen:
            return
        try:
            material, expiries = self._read()
        except ConfigurationError as error:
            # It may be half written: looked at again, and told once.
            if str(error) != self._refused:
                self._refused = str(error)
                logger.error("certificate_not_taken", setting=self._setting, reason=str(error))
            return
        self._seen, self._refused = seen, ""
        if material != self._material:
            self._material, self.expiries = material, expiries
            logger.info("certificate_renewed", setting=self._setting, expires=min(expiries.values(), default=None))

    def _read(self) -> tuple[Material, dict[Path, float]]:
        material = Material(*(self._bytes(file) for file in (self.ca, self.cert, self.key)))
        expiries = {}
        if self.ca is not None and material.ca is not None:
            # One authority of several is enough.
            expiries[self.ca] = max(map(_expiry, self._certificates(self.ca, material.ca)))
        if self.cert is not None and material.cert is not None:
            # A chain is as good as its worst link.
            chain = self._certificates(self.cert, material.cert)
            expiries[self.cert] = min(map(_expiry, chain))
            if material.key is not None and chain[0].public_key() != self._private(material.key):
                raise ConfigurationError(f"{self._setting}: {self.key} is not the key of {self.cert}")
        return material, expiries

    def _bytes(self, file: Path | None) -> bytes | None:
        try:
            return None if file is None else file.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{self._setting}: {error}") from error

    def _certificates(self, file: Path, pem: bytes) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates(pem)
        except ValueError as error:
            raise ConfigurationError(f"{self._setting}: {file} is no certificate in PEM") from error

    def _private(self, pem: bytes) -> object:
        try:
            return serialization.load_pem_private_key(pem, password=None).public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigurationError(f"{self._setting}: {self.key} is no key in PEM without a password") from error

    def _stamp(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(file) for file in (self.ca, self.cert, self.key) if file is not None]


_all: weakref.WeakSet[TlsFiles] = weakref.WeakSet()


class Expiries:
    """``signalbox_certificate_expiry_timestamp_seconds{file=}``: when what is in use expires, seconds since 1970."""

    def __init__(self, files: Iterable[TlsFiles] = _all) -> None:
        self._files = files

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """As prometheus_client asks it."""
        found: dict[str, float] = {}
        for one in tuple(self._files):
            one.look()
            for file, expiry in one.expiries.items():
                found[str(file)] = min(expiry, found.get(str(file), expiry))
        gauge = GaugeMetricFamily(
            "signalbox_certificate_expiry_timestamp_seconds",
            "When a certificate that this process uses expires, seconds since 1970.",
            labels=["file"],
        )
        for name, expiry in sorted(found.items()):
            gauge.add_metric([name], expiry)
        yield gauge


_collector: Collector = Expiries()
REGISTRY.register(_collector)


def _expiry(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
