"""``cluster.json``: what runs and where, for programs that want to find the cluster."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, cast, get_args

from signalbox.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

VERSION = 1
FILE_NAME = "cluster.json"

Kind = Literal["etcd", "redis", "rtpengine", "media", "recorder", "routing", "ivr", "provisioning", "kamailio", "edge"]


class ManifestError(Exception):
    """The file is damaged or of another version."""


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """A process of the cluster."""

    name: str
    """Unique in the cluster: ``routing-1``."""
    kind: Kind
    addresses: Mapping[str, str]
    """host:port by what is spoken there: ``grpc``, ``metrics``, ``sip``, ``ng`` ..."""
    log: str
    """Absolute path of the log."""
    pid: int = 0
    """0: down."""
    journal: str | None = None
    """Directory of the event journal; edges and workers with voice."""
    door: str | None = None
    """UNIX socket for people on this machine; edges only."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A cluster."""

    name: str
    processes: Sequence[ProcessEntry]
    grpc: Mapping[str, Sequence[str]]
    """Addresses of the gRPC services: ``routing``, ``provisioning``."""
    credentials: Mapping[str, str]
    """PEM files of a client of the provisioning service: ``ca``, ``cert``, ``key``."""
    version: int = field(default=VERSION)


def write(directory: Path, manifest: Manifest) -> None:
    """Write the file in one step: a reader sees the old one or the new one, whole."""
    value = asdict(manifest)
    for process in value["processes"]:
        for name in ("journal", "door"):
            if process[name] is None:
                del process[name]
    text = json.dumps({"version": value.pop("version"), **value}, indent=2) + "\n"
    write_atomically(directory / FILE_NAME, text.encode(), mode=0o644)


def read(directory: Path) -> Manifest | None:
    """Read the file; None if there is none. Raises ManifestError."""
    file = directory / FILE_NAME
    try:
        value = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ManifestError(f"{file}: {error}") from error
    try:
        if value["version"] != VERSION:
            raise ManifestError(f"{file}: version {value['version']}, expected {VERSION}")
        processes = [
            ProcessEntry(
                name=entry["name"],
                kind=_kind(entry["kind"]),
                addresses=entry["addresses"],
                log=entry["log"],
                pid=entry["pid"],
                journal=entry.get("journal"),
                door=entry.get("door"),
            )
            for entry in value["processes"]
        ]
        return Manifest(value["name"], processes, value["grpc"], value["credentials"])
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(f"{file}: {error!r}") from error


def remove(directory: Path) -> None:
    """Take the file away; none is no error."""
    (directory / FILE_NAME).unlink(missing_ok=True)


def _kind(text: str) -> Kind:
    if text not in get_args(Kind):
        raise ValueError(f"no such kind of process: {text}")
    return cast("Kind", text)
