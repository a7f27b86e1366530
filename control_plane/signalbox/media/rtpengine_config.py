"""The command line of an rtpengine, for 10.5 (Debian 12) and 12.5 (Debian 13). ``rtpengine/README.md`` explains it."""

from __future__ import annotations

from dataclasses import dataclass

from signalbox.errors import ConfigurationError

NO_KERNEL_TABLE = -1
MIN_PORTS = 64

LAST_RESORT_S = 600
"""The sidecar ends calls whose media are dead and frees their ports. So much later rtpengine would, without one."""
UNANSWERED_S = 600
"""An offer that has got no answer for so long is forgotten; the longest ring time is 180 s."""
RTP_TOS = 184
"""DSCP 46, expedited forwarding (RFC 4594 section 4.1)."""
REDIS_TIMEOUT_MS = 100


@dataclass(frozen=True, slots=True)
class RtpengineOptions:
    """What differs between nodes."""

    control: str
    """Where the ng protocol listens, host:port, UDP and TCP. Whoever reaches it owns the calls: a private address."""
    interface: str
    """Address for RTP: ``address`` or ``address!advertised`` when others see another one."""
    port_min: int = 30_000
    """First UDP port for RTP. A call takes four: two sides, each RTP and RTCP."""
    port_max: int = 49_999
    capacity: int = 1000
    """Calls above which it refuses new ones; the same number as ``media.capacity`` of its sidecar."""
    held_dead_after_s: int = 3600
    """``media.held_dead_after_s`` of its sidecar: the longest time that a living call may be silent."""
    kernel_table: int = NO_KERNEL_TABLE
    """Table of rtpengine's kernel module, 0 and up; -1: packets are forwarded in user space."""
    redis: str = ""
    """``host:port/database`` where calls are kept to outlive the process; a database of its own for every node."""
    recording_dir: str = ""
    """Where calls are captured that are recorded, ``media.captures.spool_dir`` of its sidecar; empty: none is."""
    keys: str = ""
    """Where it tells of keys that callers press, ``media.voice.keys_listen`` of its sidecar; empty: nowhere."""
    pid_file: str = ""
    """Where its pid stands, ``media.daemon_pid_file`` of its sidecar; empty: nowhere."""
    log_level: int = 5
    """As of syslog: 4 warnings, 5 notices, 6 and 7 tell of every call."""


def render(options: RtpengineOptions) -> list[str]:
    """The arguments to run rtpengine with, ``rtpengine`` first; it stays in the foreground and logs to standard error.

    Raises ConfigurationError for ports that can carry no call.
    """
    if not 1024 <= options.port_min <= options.port_max - MIN_PORTS + 1 <= 65_536 - MIN_PORTS:
        raise ConfigurationError(f"rtpengine: no range of {MIN_PORTS} ports: {options.port_min}-{options.port_max}")
    return [
        "rtpengine",
        # A configuration of the package would bring a second daemon to the first one's ports.
        "--config-file=none",
        "--foreground",
        "--log-stderr",
        f"--log-level={options.log_level}",
        f"--listen-ng={options.control}",
        # For the sidecar: a list of all calls does not fit one datagram.
        f"--listen-tcp-ng={options.control}",
        f"--interface={options.interface}",
        f"--port-min={options.port_min}",
        f"--port-max={options.port_max}",
        f"--max-sessions={options.capacity}",
        f"--tos={RTP_TOS}",
        # RTP goes to the address in the SDP and nowhere else, whoever else sends some.
        "--endpoint-learning=off",
        # Whether a call's media are dead is the sidecar's to tell.
        f"--timeout={options.held_dead_after_s + LAST_RESORT_S}",
        f"--silent-timeout={options.held_dead_after_s + LAST_RESORT_S}",
        f"--offer-timeout={UNANSWERED_S}",
        # A call that ended gives its ports back at once.
        "--delete-delay=0",
        # An RSA key takes seconds to make at every start.
        "--dtls-cert-cipher=prime256v1",
        *_kernel(options.kernel_table),
        *_redis(options.redis),
        *_recording(options.recording_dir),
        *([f"--dtmf-log-dest={options.keys}"] if options.keys else []),
        *([f"--pidfile={options.pid_file}"] if options.pid_file else []),
    ]


def _kernel(table: int) -> list[str]:
    if table == NO_KERNEL_TABLE:
        return ["--table=-1"]
    # Without the module a node would take more calls than it can carry: better not to start.
    return [f"--table={table}", "--no-fallback"]


def _redis(target: str) -> list[str]:
    if not target:
        return []
    return [
        f"--redis={target}",
        # Written to while a caller waits: a redis that is away or slow must cost no call.
        "--no-redis-required",
        f"--redis-cmd-timeout={REDIS_TIMEOUT_MS}",
        f"--redis-connect-timeout={REDIS_TIMEOUT_MS}",
        "--redis-allowed-errors=0",
        "--redis-disable-time=10",
    ]


def _recording(directory: str) -> list[str]:
    if not directory:
        return []
    # Packets as they come, with their times; IP without a link layer.
    return [f"--recording-dir={directory}", "--recording-method=pcap", "--recording-format=raw"]
