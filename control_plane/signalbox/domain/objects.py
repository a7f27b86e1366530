"""What rules are made of, apart from flows, schedules and lists: plain and frozen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from signalbox.domain.screening import ScreeningRules

if TYPE_CHECKING:
    from datetime import tzinfo

DEFAULT_RING_MS = 30_000
DEFAULT_SIP_PORT = 5060
DEFAULT_ZONE = ZoneInfo("Asia/Shanghai")
DEFAULT_CALLS = 10
"""Calls at once of a number that says nothing of them."""
DEFAULT_DURATION_S = 12 * 3600
"""Longest call of a number that says nothing of it."""


class Transport(Enum):
    """Transport of SIP to a line (RFC 3261 section 18)."""

    UDP = "udp"
    TCP = "tcp"


class MediaMode(Enum):
    """Whether RTP passes through an rtpengine, and whether that records it."""

    ANCHOR = "anchor"
    BYPASS = "bypass"
    RECORD = "record"


class NumberFormat(Enum):
    """How a number is written to a trunk: 13800001234, +8613800001234, 008613800001234."""

    NATIONAL = "national"
    E164 = "e164"
    INTERNATIONAL = "international"


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be counted; None: not limited. Months are of the tenant's time zone."""

    concurrent_calls: int | None = None
    calls_per_second: int | None = None
    calls_per_month: int | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Tenant:
    """A company that rents numbers. ``refuses_unrecorded``: calls that are to be recorded and cannot be are refused;
    else they go on without."""

    id: str
    zone: tzinfo = DEFAULT_ZONE
    limits: Limits = NO_LIMITS
    refuses_unrecorded: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Where a trunk takes calls: an IPv4 or IPv6 address without brackets."""

    host: str
    port: int = DEFAULT_SIP_PORT
    transport: Transport = Transport.UDP

    def __str__(self) -> str:
        """For people: "udp:192.0.2.7:5060"."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport.value}:{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How often a target is asked whether it lives, and how many failures or replies in a row are believed."""

    interval_s: int = 30
    failures: int = 3
    successes: int = 2


@dataclass(frozen=True, slots=True)
class Trunk:
    """Where calls come in, and where they are sent. ``source_addresses`` are addresses and CIDR networks; ``limits``
    are of the calls that come in; ``targets`` are tried in their order. ``health_check`` None: all of them count as
    alive."""

    id: str
    source_addresses: tuple[str, ...] = ()
    disabled: bool = False
    targets: tuple[Target, ...] = ()
    called_format: NumberFormat = NumberFormat.NATIONAL
    limits: Limits = NO_LIMITS
    health_check: HealthCheck | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A trunk of a group: the lowest priority is tried first, among equals in proportion to the weight."""

    trunk: str
    priority: int = 0
    weight: int = 1


@dataclass(frozen=True, slots=True)
class TrunkGroup:
    """Trunks that carry calls to the telephone numbers that begin with one of ``prefixes``."""

    id: str
    prefixes: tuple[str, ...]
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """Where a tenant answers. ``host`` is an IPv4 or IPv6 address without brackets; empty: ``user`` is a telephone
    number that a trunk group carries. ``concurrent_calls``: so many at once, 0: any number. ``agent_number``: of who
    answers there, "" if nobody has one."""

    tenant: str
    id: str
    user: str
    host: str
    port: int = DEFAULT_SIP_PORT
    transport: Transport = Transport.UDP
    remove_identity: bool = False
    concurrent_calls: int = 0
    agent_number: str = ""

    def __hash__(self) -> int:
        """Of what mostly tells lines apart: many are looked up for every call."""
        return hash((self.tenant, self.id, self.user, self.host))


@dataclass(frozen=True, slots=True)
class DialStage:
    """Ids of lines that ring together, for ``ring_time_ms``."""

    lines: tuple[str, ...]
    ring_time_ms: int = DEFAULT_RING_MS


NO_SCREENING = ScreeningRules()
NUMBER_LIMITS = Limits(concurrent_calls=DEFAULT_CALLS)


@dataclass(frozen=True, slots=True)
class Number:
    """A service number in national form and its rule: a call flow, or stages in the order they are tried.

    ``over_limit_flow`` takes calls over a limit of the number or its tenant; empty: they are busy.
    """

    number: str
    tenant: str
    stages: tuple[DialStage, ...]
    suspended: bool = False
    media: MediaMode = MediaMode.ANCHOR
    flow: str = ""
    screening: ScreeningRules = NO_SCREENING
    limits: Limits = NUMBER_LIMITS
    over_limit_flow: str = ""
    max_duration_s: int = DEFAULT_DURATION_S

    @property
    def screens(self) -> bool:
        """True if screening looks at the caller at all."""
        return self.screening.looks
