"""How a line is reached: directly, or a telephone number through the trunks that carry its prefix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

from signalbox.domain.distribution import shuffled
from signalbox.domain.layout import MAX_STAGES
from signalbox.domain.numbering import caller, e164, international
from signalbox.domain.objects import Line, NumberFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox.domain.objects import Member, Target, Trunk, TrunkGroup
    from signalbox.domain.rules import Rules


Dead = Mapping[str, "Set[Target]"]
"""The targets that are dead to each edge, by its id."""


Way = tuple["Trunk", "Target"]
Tell = Callable[[str, str], object]
"""Takes the rule looked at and what was found."""


def carrier(rules: Rules, line: Line) -> TrunkGroup | None:
    """The trunk group that carries calls to a line without an address."""
    return rules.carrier(_national(line.user))


def attempts(
    rules: Rules, line: Line, call_id: str, dead: Set[Target] = frozenset(), tell: Tell | None = None
) -> tuple[Line, ...]:
    """Where to send a call for a line, in the order to try: the line with an address, its number as the trunk takes it.

    Trunks of the lowest priority first, those of one priority in random order by their weights (equal for equal call
    ids), the targets of each in their order. None for a number that no trunk in service carries.

    Targets in ``dead`` are passed over, unless their trunk wants no check. If that leaves none, all are tried: what
    answers no OPTIONS may take calls all the same, and a call that is sure to fail helps nobody. ``tell`` hears of it.
    """
    if line.host:
        return (line,)
    number = _national(line.user)
    group = rules.carrier(number)
    if group is None:
        return ()
    ways = [
        (trunk, target) for trunk in _trunks(rules, group, f"{call_id}/{line.id}") for target in trunk.targets
    ]  # fmt: skip
    if dead:
        ways = _alive(ways, line, dead, tell)
    return tuple([_through(line, written(number, trunk.called_format), target) for trunk, target in ways[:MAX_STAGES]])


def _alive(ways: list[Way], line: Line, dead: Set[Target], tell: Tell | None) -> list[Way]:
    """The ways that are not dead; all of them if none is left."""
    living = [way for way in ways if way[0].health_check is None or way[1] not in dead]
    if tell is not None and len(living) < len(ways):
        gone = ", ".join(f"{target} of trunk {trunk.id}" for trunk, target in ways if (trunk, target) not in living)
        finding = "dead, passed over" if living else "all dead, tried all the same"
        tell("target", f"line {line.id}: {gone}: {finding}")
    return living or ways


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
    if len(group.members) == 1:
        only = rules.trunk(group.members[0].trunk)
        if only is not None and not only.disabled:
            yield only
        return
    for _, members in groupby(sorted(group.members, key=_priority), key=_priority):
        equals = list(members)
        for member in shuffled(equals, [one.weight for one in equals], seed):
            trunk = rules.trunk(member.trunk)
            if trunk is not None and not trunk.disabled:
                yield trunk


def _priority(member: Member) -> int:
    return member.priority


@lru_cache(maxsize=8_192)
def _national(user: str) -> str:
    """What is no telephone number stays as it is: a group without prefix carries it all the same."""
    return caller(user, "").number or user


def _through(line: Line, user: str, target: Target) -> Line:
    """A line as a trunk's target reaches it."""
    return Line(
        line.tenant, line.id, user, target.host, target.port, target.transport, line.remove_identity,
        line.concurrent_calls, line.agent_number,
    )  # fmt: skip
