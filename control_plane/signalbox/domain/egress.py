"""How a line is reached: directly, or a telephone number through the trunks that carry its prefix."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

from signalbox.domain.distribution import shuffled
from signalbox.domain.numbering import caller, e164, international
from signalbox.domain.objects import NumberFormat
from signalbox.domain.plan import MAX_STAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox.domain.objects import Line, Member, Target, Trunk, TrunkGroup
    from signalbox.domain.rules import Rules


def carrier(rules: Rules, line: Line) -> TrunkGroup | None:
    """The trunk group that carries calls to a line without an address."""
    return rules.carrier(_national(line.user))


def attempts(rules: Rules, line: Line, call_id: str) -> tuple[Line, ...]:
    """Where to send a call for a line, in the order to try: the line with an address, its number as the trunk takes it.

    Trunks of the lowest priority first, those of one priority in random order by their weights (equal for equal call
    ids), the targets of each in their order. None for a number that no trunk in service carries.
    """
    if line.host:
        return (line,)
    group = carrier(rules, line)
    if group is None:
        return ()
    found = [
        _through(line, trunk.called_format, target)
        for trunk in _trunks(rules, group, f"{call_id}/{line.id}")
        for target in trunk.targets
    ]
    return tuple(found[:MAX_STAGES])


def written(number: str, form: NumberFormat) -> str:
    """A telephone number in national form as a trunk takes it."""
    match form:
        case NumberFormat.E164:
            return e164(number)
        case NumberFormat.INTERNATIONAL:
            return international(number)
    return number


def _trunks(rules: Rules, group: TrunkGroup, seed: str) -> Iterator[Trunk]:
    """The group's trunks that are in service, in the order to try them."""
    for _, members in groupby(sorted(group.members, key=_priority), key=_priority):
        equals = list(members)
        for member in shuffled(equals, [one.weight for one in equals], seed):
            trunk = rules.trunk(member.trunk)
            if trunk is not None and not trunk.disabled:
                yield trunk


def _priority(member: Member) -> int:
    return member.priority


def _national(user: str) -> str:
    """What is no telephone number stays as it is: a group without prefix carries it all the same."""
    return caller(user, "").number or user


@lru_cache(maxsize=16_384)
def _through(line: Line, form: NumberFormat, target: Target) -> Line:
    user = written(_national(line.user), form)
    return replace(line, user=user, host=target.host, port=target.port, transport=target.transport)
