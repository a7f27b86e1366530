"""Renders the instance file that Kamailio is started with: names, secrets and sockets. The script is ``kamailio/``.

Everything that differs between two proxies is here, everything that they share is in the script. The file holds the
secrets, so it is written with mode 0600.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from signalbox import address
from signalbox.errors import ConfigurationError
from signalbox.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.settings import EdgeSettings

CONFIG_FILE = "kamailio.cfg"
"""Name of the instance file in ``runtime_dir``."""

TABLES = {
    "version": ("id(int,auto) table_name(string) table_version(int)", "address:6 domain:2 domain_attrs:1 rtpengine:1"),
    "address": ("id(int,auto) grp(int) ip_addr(string) mask(int) port(int) tag(string,null)", ""),
    "domain": ("id(int,auto) domain(string) did(string,null) last_modified(int)", ""),
    "domain_attrs": ("id(int,auto) did(string) name(string) type(int) value(string) last_modified(int)", ""),
    "rtpengine": ("id(int,auto) setid(int) url(string) weight(int) disabled(int) stamp(int)", ""),
}
"""db_text tables that the script reads: header line, and in ``version`` what the modules of Kamailio ask for."""

CLUSTER_KEYS_MAX = 4
"""A request with a wrong signature costs an HMAC for each of them."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{16,128}")


def render(
    settings: EdgeSettings, *, token: str, cluster_keys: Sequence[str], static_destination: str | None = None
) -> str:
    """The instance file as text. ``token`` is shared with the sidecar, ``cluster_keys`` with all proxies.

    The first key signs dialogs, all are accepted.
    ``static_destination``, a SIP URI, makes the variant for benchmarks that asks nobody and sends every call there.
    Raises ConfigurationError that names the setting.
    """
    kamailio = settings.kamailio
    _check_secrets(token, cluster_keys)
    listen = [address.setting("edge.kamailio.listen", text) for text in kamailio.listen]
    if not listen:
        raise ConfigurationError("edge.kamailio.listen: at least one address is wanted")
    advertised = listen[0]
    if kamailio.advertise:
        advertised = address.setting("edge.kamailio.advertise", kamailio.advertise)
    route = address.setting("edge.kamailio.route_listen", kamailio.route_listen, loopback=True)
    ask = address.setting("edge.ask_listen", settings.ask_listen, loopback=True)
    names = {
        "EDGE_ID": settings.id,
        "ROUTE_TOKEN": token,
        "CLUSTER_KEY": cluster_keys[0],
        "RUNTIME_DIR": _path("edge.kamailio.runtime_dir", kamailio.runtime_dir),
        "EVENT_DIR": _path("edge.kamailio.event_dir", kamailio.event_dir),
        "ADVERTISE_HOST": address.bracketed(advertised[0]),
        "ADVERTISE_PORT": advertised[1],
        "ROUTE_HOST": address.bracketed(route[0]),
        "ROUTE_PORT": route[1],
        "ASK_ADDRESS": address.join(*ask),
        # Rounded down to the 1/16 s of tm's timers, so that the caller has the 503 in time.
        "DECISION_TIMEOUT_MS": kamailio.decision_timeout_ms * 16 // 1000 * 1000 // 16,
        "CONNECT_TIMEOUT_MS": kamailio.connect_timeout_ms,
        "MEDIA_TRY_MS": kamailio.media_timeout_ms // 2,
        # Answers come in replies: half of the workers that take them go on while a late node is waited for.
        "MEDIA_ASKING": max(1, kamailio.udp_workers // 2),
        "FLOOD_BAN_S": kamailio.flood_ban_s,
        "FLAG_CALL": 1,
        "FLAG_RINGING": 2,
        "FLAG_LATE_OFFER": 3,
        "FLAG_HIDDEN": 4,
        "FLAG_RECORDED": 5,
    }
    if len(cluster_keys) > 1:
        # None of them has a dot.
        names["ACCEPTED_KEYS"] = ".".join(cluster_keys[1:])
    if kamailio.flood_requests:
        names["FLOOD_LIMIT"] = kamailio.flood_requests
    if kamailio.calls_per_second:
        # In units of 10 µs.
        names["CALL_INTERVAL"] = max(1, round(100_000 / kamailio.calls_per_second))
    if kamailio.unknown_source == "403":
        names["UNKNOWN_SOURCE_403"] = 1
    if static_destination is not None:
        names["STATIC_ROUTE"] = static_destination
    script = _path("edge.kamailio.script", kamailio.script or _script())
    lines = [
        "#!KAMAILIO",
        f"# Proxy {settings.id}: rendered from the settings, with secrets. The script: {script}",
        *(f'#!substdef "!{name}!{value}!g"' for name, value in names.items()),
        "# rtpengine repeats the reply to a cookie that it has heard, whoever sent it. The module makes them of this",
        "# number, a process id and a count, and in containers the processes of all proxies have the same ids.",
        f"server_id={_server_id(settings.id, token)}",
        f"children={kamailio.udp_workers}",
        f"tcp_children={kamailio.tcp_workers}",
        "# Decisions of the sidecar. First, because of loopback sockets the last is what requests are sent from.",
        f"socket_workers={kamailio.decision_workers}",
        f"listen=udp:{address.join(*route)}",
    ]
    for bind in listen:
        advertise = "" if bind == advertised else f" advertise {address.join(*advertised)}"
        lines += [f"listen={proto}:{address.join(*bind)}{advertise}" for proto in ("udp", "tcp")]
    lines += [f'include_file "{script}"', ""]
    return "\n".join(lines)


def write(
    settings: EdgeSettings, *, token: str, cluster_keys: Sequence[str], static_destination: str | None = None
) -> Path:
    """Write the instance file (mode 0600, at once or not at all) and what it needs to start: directories, empty tables.

    Tables that are there are left alone: they are the last known state. Returns the path of the file.
    """
    text = render(settings, token=token, cluster_keys=cluster_keys, static_destination=static_destination)
    runtime = settings.kamailio.runtime_dir.resolve()
    tables = runtime / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    settings.kamailio.event_dir.mkdir(parents=True, exist_ok=True)
    for name, (header, rows) in TABLES.items():
        if name == "version" or not (tables / name).exists():
            body = "".join(f"{number}:{row}\n" for number, row in enumerate(rows.split()))
            write_atomically(tables / name, f"{header}\n{body}".encode())
    path = runtime / CONFIG_FILE
    write_atomically(path, text.encode())
    return path


def command(settings: EdgeSettings, config: Path) -> list[str]:
    """The command line that runs the proxy in the foreground, logging to standard error.

    Memory is managed by TLSF, whose cost does not depend on what was allocated before: under ``fm`` a call cost four
    times as much for ever after 10,000 transactions had been open at once (``docs/performance.md``).
    """
    kamailio = settings.kamailio
    runtime = kamailio.runtime_dir.resolve()
    return [
        "kamailio", "-f", str(config), "-DD", "-E", "-x", "tlsf", "-X", "tlsf",
        "-m", str(kamailio.shared_memory_mb), "-M", str(kamailio.private_memory_mb),
        "-P", str(runtime / "kamailio.pid"), "-Y", str(runtime),
    ]  # fmt: skip


def _check_secrets(token: str, cluster_keys: Sequence[str]) -> None:
    if not 1 <= len(cluster_keys) <= CLUSTER_KEYS_MAX:
        raise ConfigurationError(f"edge.cluster_key_file: 1 to {CLUSTER_KEYS_MAX} keys are wanted, one a line")
    for name, secret in (("token", token), *(("cluster key", key) for key in cluster_keys)):
        if not _SECRET.fullmatch(secret):
            raise ConfigurationError(f"{name}: 16 to 128 of A-Z a-z 0-9 _ - are wanted")


def _server_id(id: str, token: str) -> int:
    """Another one for each proxy, and for each life of one that makes its token anew; 31 bits."""
    return zlib.crc32(f"{id} {token}".encode()) & 0x7FFF_FFFF


def _script() -> Path:
    return Path(__file__).resolve().parents[3] / "kamailio" / "kamailio.cfg"


def _path(name: str, path: Path) -> str:
    text = str(path.resolve())
    if not re.fullmatch(r"[A-Za-z0-9_./-]+", text):
        raise ConfigurationError(f"{name}: {text!r} has characters other than A-Z a-z 0-9 _ . / -")
    return text
