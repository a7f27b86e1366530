"""Calls as they are to be made: who calls which number, what the line does, how long both talk.

Hold times are lognormal (V. A. Bolotin, *Telephone circuit holding time distributions*, ITC 14, 1994), numbers are
called by rank as words are used (Zipf), calls begin independently of one another (Poisson), and callers who do not
get through call again.
"""

from __future__ import annotations

import math
from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from loadtest.model.settings import Lognormal, Traffic

MOBILE_DIGITS = 11
FIXED_DIGITS = 8
"""Of a subscriber in a city, behind the area code."""
KEYS = "0123456789*#"
"""In the order of their events (RFC 4733 section 3.2)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One call. Times in seconds."""

    caller: str
    """National form."""
    region: str
    rank: int
    """Of the number that is called, from 0 on."""
    kind: str
    protocol: str
    """``udp`` or ``tcp``."""
    line: str
    """``answers``, ``busy`` or ``silent``."""
    alerting_s: float
    ring_s: float
    hold_s: float
    patience_s: float
    keys: str
    """What the caller presses while both talk; empty: nothing."""


class Model:
    """Makes plans of calls. It keeps nothing: what is random comes from who asks."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        weights = [(rank + 1) ** -traffic.numbers.zipf for rank in range(traffic.numbers.count)]
        whole = sum(weights)
        self.popularity = tuple(weight / whole for weight in weights)
        """Share of the calls that the number of each rank gets."""
        self.kinds = spread(traffic.calls.kinds, self.popularity)
        """What kind of number each rank is."""
        self._ranks = tuple(accumulate(self.popularity))
        self._regions = tuple(accumulate(region.weight for region in traffic.regions))

    def call(self, random: Random) -> Plan:
        """The next call."""
        rank = min(bisect(self._ranks, random.random()), len(self._ranks) - 1)
        return self._plan(random, *self._caller(random), rank)

    def again(self, random: Random, plan: Plan, attempt: int) -> tuple[float, Plan] | None:
        """The call that follows one in which the caller did not get through, his attempt number ``attempt`` (1: the
        first): in how many seconds, and which; None: he gives up."""
        callers = self.traffic.callers
        if attempt >= callers.attempts or random.random() >= callers.retry_share:
            return None
        return duration(random, callers.retry_after), self._plan(random, plan.region, plan.caller, plan.rank)

    def _caller(self, random: Random) -> tuple[str, str]:
        at = random.random() * self._regions[-1]
        region = self.traffic.regions[min(bisect(self._regions, at), len(self._regions) - 1)]
        prefix = random.choice(region.prefixes)
        more = FIXED_DIGITS if prefix.startswith("0") else MOBILE_DIGITS - len(prefix)
        # No number of a subscriber begins with 0 or 1.
        first = random.randrange(2, 9) if prefix.startswith("0") else random.randrange(10)
        return region.name, f"{prefix}{first}{random.randrange(10 ** (more - 1)):0{more - 1}d}"

    def _plan(self, random: Random, region: str, caller: str, rank: int) -> Plan:
        traffic = self.traffic
        kind = self.kinds[rank]
        chance = random.random()
        line = "answers"
        if kind in ("direct", "recorded"):
            # Of the others a line is rung by a flow or after another one.
            if chance < traffic.lines.busy_share:
                line = "busy"
            elif chance < traffic.lines.busy_share + traffic.lines.silent_share:
                line = "silent"
        keys = ""
        if random.random() < traffic.calls.keys_share and kind != "menu":
            keys = "".join(random.choice(KEYS) for _ in range(3))
        return Plan(
            caller=caller,
            region=region,
            rank=rank,
            kind=kind,
            protocol="tcp" if random.random() < traffic.calls.tcp_share else "udp",
            line=line,
            alerting_s=traffic.lines.alerting_s,
            ring_s=duration(random, traffic.lines.ring),
            hold_s=duration(random, traffic.calls.hold),
            patience_s=duration(random, traffic.callers.patience),
            keys=keys,
        )


def duration(random: Random, time: Lognormal) -> float:
    """A lognormal time with this mean, seconds."""
    if not time.sigma:
        return time.mean_s
    return random.lognormvariate(math.log(time.mean_s) - time.sigma**2 / 2, time.sigma)


def spread(shares: dict[str, float], popularity: Sequence[float]) -> tuple[str, ...]:
    """A kind for each rank, so that each kind gets its share of the calls as nearly as ranks allow: from the most
    popular number on, each to the kind that lacks most."""
    lacks = dict(shares)
    found = []
    for popular in popularity:
        kind = max(lacks, key=lambda name: lacks[name])
        lacks[kind] -= popular
        found.append(kind)
    return tuple(found)
