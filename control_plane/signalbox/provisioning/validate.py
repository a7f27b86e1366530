"""What a valid rule object is, apart from its references to others. Pure: no store, no clock.

Each function yields every offending field with its path in the request, e.g. ``number.stages[0].lines[1]``.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
import zoneinfo
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.errors import FieldViolation, InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence, Sized

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.message import Message

DISPLAY_NAME_MAX = 200
SOURCE_ADDRESSES_MAX = 64
STAGES_MAX = 16
STAGE_LINES_MAX = 8
PLAN_LINES_MAX = 16
"""Lines in all stages together: a proxy can ring no more in one call (kamailio/README.md, Limits)."""
RING_TIME_MIN_MS = 1_000
RING_TIME_MAX_MS = 180_000
TARGETS_MAX = 8
PREFIXES_MAX = 1_000
MEMBERS_MAX = 16
WEIGHT_MAX = 1_000
SCREENING_LISTS_MAX = 16
CHECK_INTERVAL_MIN_S = 5
CHECK_INTERVAL_MAX_S = 3600
CHECK_RUN_MAX = 10
CALL_DURATION_MIN_S = 10
CALL_DURATION_MAX_S = 24 * 3600
DAY_S = 24 * 3600
RETENTION_MAX_DAYS = 36_500

_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_NUMBER = re.compile(r"[0-9]{3,15}")
_PREFIX = re.compile(r"[0-9]{0,15}")
_TELEPHONE = re.compile(r"\+?[0-9]{3,20}")
_AGENT = re.compile(r"[0-9]{1,8}")
_USER = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,]{1,64}")

_ID_RULE = "must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter"
_NUMBER_RULE = "must be 3 to 15 digits"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def require(violations: Iterable[FieldViolation]) -> None:
    """Raise InvalidFieldError with all violations, if there are any."""
    found = list(violations)
    if found:
        raise InvalidFieldError(*found)


def identifier(value: str, path: str) -> Iterator[FieldViolation]:
    """An id as Tenant.id (AIP-122)."""
    if not value:
        yield FieldViolation(path, "is required")
    elif not _ID.fullmatch(value):
        yield FieldViolation(path, _ID_RULE)


def owner(tenant: str, path: str) -> Iterator[FieldViolation]:
    """The owner of what may be shared: a tenant's id, or "" for the operator."""
    if tenant:
        yield from identifier(tenant, path)


def digits(value: str, path: str) -> Iterator[FieldViolation]:
    """A service number in national form."""
    if not value:
        yield FieldViolation(path, "is required")
    elif not _NUMBER.fullmatch(value):
        yield FieldViolation(path, _NUMBER_RULE)


def tenant(message: types_pb2.Tenant) -> Iterator[FieldViolation]:
    """A tenant as a request's field ``tenant``."""
    yield from identifier(message.id, "tenant.id")
    yield from display_name(message.display_name, "tenant.display_name")
    yield from time_zone(message.time_zone, "tenant.time_zone")
    if message.HasField("recording"):
        yield from _recording(message.recording, "tenant.recording")


def _recording(message: types_pb2.RecordingPolicy, path: str) -> Iterator[FieldViolation]:
    yield from enums(message, path)
    if message.HasField("retention"):
        days, rest = divmod(message.retention.seconds, DAY_S)
        if rest or message.retention.nanos or not 1 <= days <= RETENTION_MAX_DAYS:
            yield FieldViolation(f"{path}.retention", f"must be 1 to {RETENTION_MAX_DAYS} whole days")


def trunk(message: types_pb2.Trunk) -> Iterator[FieldViolation]:
    """A trunk as a request's field ``trunk``. Overlaps with other trunks are not looked at."""
    yield from identifier(message.id, "trunk.id")
    yield from display_name(message.display_name, "trunk.display_name")
    yield from enums(message, "trunk")
    if message.source_addresses or not message.targets:
        yield from count(message.source_addresses, SOURCE_ADDRESSES_MAX, "trunk.source_addresses")
    yield from _sources(message)
    if len(message.targets) > TARGETS_MAX:
        yield FieldViolation("trunk.targets", f"must have at most {TARGETS_MAX} entries")
    for position, target in enumerate(message.targets):
        path = f"trunk.targets[{position}]"
        yield from host(target.host, f"{path}.host")
        yield from port(target.port, f"{path}.port")
        yield from enums(target, path)
    if message.HasField("health_check"):
        yield from _health_check(message.health_check, "trunk.health_check")


def _health_check(message: types_pb2.HealthCheck, path: str) -> Iterator[FieldViolation]:
    if message.HasField("interval"):
        given = message.interval
        if given.nanos or not CHECK_INTERVAL_MIN_S <= given.seconds <= CHECK_INTERVAL_MAX_S:
            yield FieldViolation(f"{path}.interval", "must be 5 s to 1 h in whole seconds")
    for name in ("failures", "successes"):
        if getattr(message, name) > CHECK_RUN_MAX:
            yield FieldViolation(f"{path}.{name}", f"must be 0 to {CHECK_RUN_MAX}")


def _sources(message: types_pb2.Trunk) -> Iterator[FieldViolation]:
    networks: list[tuple[int, Network]] = []
    for position, text in enumerate(message.source_addresses):
        path = f"trunk.source_addresses[{position}]"
        try:
            own = source_network(text)
        except ValueError as error:
            yield FieldViolation(path, str(error))
            continue
        for other_position, other in networks:
            if overlap(own, other):
                yield FieldViolation(path, f"overlaps trunk.source_addresses[{other_position}]")
                break
        networks.append((position, own))


def trunk_group(message: types_pb2.TrunkGroup) -> Iterator[FieldViolation]:
    """A trunk group as a request's field ``trunk_group``. Neither its trunks nor other groups are looked at."""
    yield from identifier(message.id, "trunk_group.id")
    yield from display_name(message.display_name, "trunk_group.display_name")
    yield from count(message.prefixes, PREFIXES_MAX, "trunk_group.prefixes")
    yield from different(message.prefixes, "trunk_group.prefixes", "prefix")
    for position, prefix in enumerate(message.prefixes):
        if not _PREFIX.fullmatch(prefix):
            yield FieldViolation(f"trunk_group.prefixes[{position}]", "must be at most 15 digits")
    yield from count(message.members, MEMBERS_MAX, "trunk_group.members")
    yield from different([member.trunk for member in message.members], "trunk_group.members", "trunk", ".trunk")
    for position, member in enumerate(message.members):
        path = f"trunk_group.members[{position}]"
        yield from identifier(member.trunk, f"{path}.trunk")
        if member.weight > WEIGHT_MAX:
            yield FieldViolation(f"{path}.weight", f"must be 0 to {WEIGHT_MAX}")


def line(message: types_pb2.Line) -> Iterator[FieldViolation]:
    """A line as a request's field ``line``."""
    yield from identifier(message.tenant, "line.tenant")
    yield from identifier(message.id, "line.id")
    yield from display_name(message.display_name, "line.display_name")
    if not message.user:
        yield FieldViolation("line.user", "is required")
    elif not _USER.fullmatch(message.user):
        yield FieldViolation("line.user", "must be 1 to 64 of A-Z a-z 0-9 - _ . ! ~ * ' ( ) & = + $ ,")
    if message.host:
        yield from host(message.host, "line.host")
        yield from port(message.port, "line.port")
    else:
        if message.user and not _TELEPHONE.fullmatch(message.user):
            yield FieldViolation("line.user", "must be a telephone number where there is no host")
        if message.port:
            yield FieldViolation("line.port", "must be 0 where there is no host")
    if message.agent_number and not _AGENT.fullmatch(message.agent_number):
        yield FieldViolation("line.agent_number", "must be 1 to 8 digits")
    yield from enums(message, "line")


def number(message: types_pb2.Number) -> Iterator[FieldViolation]:
    """A number as a request's field ``number``. Whether what it refers to exists is not looked at."""
    yield from digits(message.number, "number.number")
    yield from identifier(message.tenant, "number.tenant")
    yield from enums(message, "number")
    if message.flow:
        yield from identifier(message.flow, "number.flow")
        if message.stages:
            yield FieldViolation("number.stages", "must be empty where there is a flow")
    elif not message.stages:
        yield FieldViolation("number.stages", "is required, unless there is a flow")
    else:
        yield from count(message.stages, STAGES_MAX, "number.stages")
    for position, stage in enumerate(message.stages):
        yield from _stage(stage, f"number.stages[{position}]")
    lines = sum(len(stage.lines) for stage in message.stages)
    if lines > PLAN_LINES_MAX:
        reason = f"must have at most {PLAN_LINES_MAX} lines in all stages together, a line in two stages counted twice"
        yield FieldViolation("number.stages", f"{reason}; there are {lines}")
    yield from _lists(message.screening.blacklists, "number.screening.blacklists")
    yield from _lists(message.screening.whitelists, "number.screening.whitelists")
    if message.over_limit_flow:
        yield from identifier(message.over_limit_flow, "number.over_limit_flow")
    if message.HasField("max_call_duration"):
        given = message.max_call_duration
        if given.nanos or not CALL_DURATION_MIN_S <= given.seconds <= CALL_DURATION_MAX_S:
            yield FieldViolation("number.max_call_duration", "must be 10 s to 24 h in whole seconds")


def api_key(message: types_pb2.ApiKey) -> Iterator[FieldViolation]:
    """An API key as a request's field ``api_key``."""
    yield from owner(message.tenant, "api_key.tenant")
    yield from identifier(message.id, "api_key.id")
    yield from display_name(message.display_name, "api_key.display_name")
    if message.tenant:
        if message.role not in {types_pb2.ROLE_TENANT_ADMINISTRATOR, types_pb2.ROLE_TENANT_READER}:
            reason = "must be ROLE_TENANT_ADMINISTRATOR or ROLE_TENANT_READER for a tenant"
            yield FieldViolation("api_key.role", reason)
    elif message.role != types_pb2.ROLE_OPERATOR:
        yield FieldViolation("api_key.role", "must be ROLE_OPERATOR without a tenant")


def _lists(ids: Sequence[str], path: str) -> Iterator[FieldViolation]:
    if len(ids) > SCREENING_LISTS_MAX:
        yield FieldViolation(path, f"must have at most {SCREENING_LISTS_MAX} entries")
    for position, id in enumerate(ids):
        yield from identifier(id, f"{path}[{position}]")
    yield from different(ids, path, "list")


def source_network(text: str) -> Network:
    """The network of a trunk's source address. Raises ValueError with the reason if it is none."""
    address, slash, length = text.partition("/")
    _unicast(address)
    if not slash:
        return ipaddress.ip_network(address)
    try:
        # A net mask in place of a prefix length is not CIDR, though the library takes it.
        network = ipaddress.ip_network((address, int(length)), strict=False)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address or CIDR network") from None
    if network.prefixlen == 0:
        raise ValueError("must not be the whole internet")
    if str(network.network_address) != str(ipaddress.ip_address(address)):
        raise ValueError(f"has bits set beyond its prefix length; the network is {network}")
    return network


def overlap(one: Network, other: Network) -> bool:
    """True if an address is in both networks."""
    return one.version == other.version and one.overlaps(other)


def display_name(text: str, path: str) -> Iterator[FieldViolation]:
    """A name shown to people."""
    if len(text) > DISPLAY_NAME_MAX:
        yield FieldViolation(path, f"must have at most {DISPLAY_NAME_MAX} characters")
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in text):
        yield FieldViolation(path, "must not have control characters")


def count(items: Sized, most: int, path: str) -> Iterator[FieldViolation]:
    """A repeated field that must not be empty."""
    if not 1 <= len(items) <= most:
        yield FieldViolation(path, f"must have 1 to {most} entries")


def enums(rule: Message, at: str) -> Iterator[FieldViolation]:
    """Enumerated fields take any number in proto3: refuse those without a meaning."""
    for name, values in _enumerated(rule.DESCRIPTOR):
        value = getattr(rule, name)
        if value not in values:
            yield FieldViolation(f"{at}.{name}", f"has no value {value}")


@cache
def _enumerated(kind: Descriptor) -> Sequence[tuple[str, frozenset[int]]]:
    """The enumerated fields of a message with the numbers that mean something: to ask its description takes long."""
    return [(one.name, frozenset(one.enum_type.values_by_number)) for one in kind.fields if one.enum_type is not None]


def duration(value: Duration, least_ms: int, most_ms: int, path: str) -> Iterator[FieldViolation]:
    """A duration in whole milliseconds; the bounds are whole seconds."""
    milliseconds, rest = divmod(value.seconds * 1_000_000_000 + value.nanos, 1_000_000)
    if rest or not least_ms <= milliseconds <= most_ms:
        yield FieldViolation(path, f"must be {least_ms // 1000} s to {most_ms // 1000} s in whole milliseconds")


def host(text: str, path: str) -> Iterator[FieldViolation]:
    """An address that requests are sent to. Names are refused: no DNS in SIP workers."""
    if not text:
        yield FieldViolation(path, "is required")
        return
    try:
        _unicast(text)
    except ValueError as error:
        yield FieldViolation(path, str(error))


def port(value: int, path: str) -> Iterator[FieldViolation]:
    """A port, or 0 for the default."""
    if value > 65_535:
        yield FieldViolation(path, "must be 0 to 65535")


def time_zone(name: str, path: str) -> Iterator[FieldViolation]:
    """An IANA name of a time zone; empty: the default."""
    if name and name not in _time_zones():
        yield FieldViolation(path, 'must be the IANA name of a time zone, e.g. "Asia/Shanghai"')


@lru_cache(maxsize=1)
def _time_zones() -> frozenset[str]:
    """All names. Not "localtime", which is another zone on each machine."""
    return frozenset(zoneinfo.available_timezones() - {"localtime"})


def different(values: Sequence[str], path: str, what: str, part: str = "") -> Iterator[FieldViolation]:
    """Values that must all differ; ``part`` goes behind the position of one that does not."""
    seen: set[str] = set()
    for position, value in enumerate(values):
        if value in seen:
            yield FieldViolation(f"{path}[{position}]{part}", f"{what} {value!r} is there already")
        seen.add(value)


def _unicast(text: str) -> None:
    """Raises ValueError with the reason unless the text is one address that a packet can come from or go to."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address, not a name") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise ValueError("must not have a zone")
        if address.ipv4_mapped is not None:
            raise ValueError(f"must be written as the IPv4 address {address.ipv4_mapped}")
    if address.is_multicast or address.is_unspecified or text == "255.255.255.255":
        raise ValueError("must be a unicast address")


def _stage(stage: types_pb2.DialStage, path: str) -> Iterator[FieldViolation]:
    yield from count(stage.lines, STAGE_LINES_MAX, f"{path}.lines")
    seen: set[str] = set()
    for position, id in enumerate(stage.lines):
        yield from identifier(id, f"{path}.lines[{position}]")
        if id in seen:
            yield FieldViolation(f"{path}.lines[{position}]", f"line {id} is already in this stage")
        seen.add(id)
    if stage.HasField("ring_time"):
        yield from duration(stage.ring_time, RING_TIME_MIN_MS, RING_TIME_MAX_MS, f"{path}.ring_time")
