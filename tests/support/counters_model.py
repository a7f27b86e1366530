"""The slow, obvious counters: plain sets of calls. What the real ones do is compared with what these do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signalbox.domain.claims import Claim, Claimed, DialClaim, Limit, Order, Window

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Call:
    """What one call holds and was told."""

    tenant: str
    limits: set[str] = field(default_factory=set)
    lines: set[str] = field(default_factory=set)
    months: set[tuple[str, str]] = field(default_factory=set)
    turns: list[tuple[str, int]] = field(default_factory=list)
    told: dict[str, Claimed] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    dials: list[tuple[DialClaim, tuple[int, ...]]] = field(default_factory=list)
    served: str | None = None


class ModelCounters:
    """No leases, and no limits of a second: time does not pass here."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self.ended: set[str] = set()
        self.noted: dict[str, str] = {}
        self.month_counts: dict[tuple[str, str], int] = {}
        self.turns: dict[str, int] = {}
        self.returned: dict[str, list[int]] = {}
        self.recent: dict[str, list[str]] = {}
        self.served: dict[str, str] = {}

    def settle(self, claims: Sequence[Claim]) -> list[Claimed]:
        return [self._settle(claim) for claim in claims]

    def give_back(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            call = self.calls.get(claim.call_id)
            if call is None or claim.part not in call.told or call.told[claim.part].over >= 0:
                continue
            call.waiting[claim.part] = max(0, call.waiting[claim.part] - 1)
            if not any(call.waiting.values()):
                del self.calls[claim.call_id]
                for month in call.months:
                    self.month_counts[month] -= 1
                for key, turn in call.turns:
                    self.returned.setdefault(key, []).append(turn)

    def answered(self, call_id: str, line: str) -> None:
        call = self.calls.get(call_id)
        if call is None:
            if call_id not in self.ended:
                self.noted[call_id] = line
            return
        call.served = line
        if not line:
            return
        name = f"line/{call.tenant}/{line}"
        for dial, told in call.dials:
            if name in [dial.lines[at] for at in told]:
                if dial.order is Order.STICKY:
                    self.served[dial.key] = name
                if dial.order is Order.LEAST_RECENT:
                    self._mark(dial.key, name)
        call.lines = {name}

    def recover(self, claim: Claim, claimed: Claimed) -> None:
        """Count a claim that went on uncounted with this answer."""
        if claim.call_id in self.ended:
            return
        call = self._call(claim)
        self._take(claim, call)
        call.lines = set()
        for dial, found in zip(claim.dials, claimed.dials, strict=True):
            call.lines |= {dial.lines[at] for at in found[: dial.takes] if dial.caps[at]}
            call.dials.append((dial, found))
        if call.served is not None:
            self.answered(claim.call_id, call.served)
        call.told[claim.part] = claimed._replace(counted=True)
        call.waiting[claim.part] = 1

    def end(self, call_id: str) -> None:
        self.calls.pop(call_id, None)
        self.noted.pop(call_id, None)
        self.ended.add(call_id)

    def count(self, limit: Limit, but: str) -> int:
        if limit.window is Window.MONTH:
            own = but in self.calls and (limit.name, limit.period) in self.calls[but].months
            return self.month_counts.get((limit.name, limit.period), 0) - own
        return sum(limit.name in call.limits | call.lines for id, call in self.calls.items() if id != but)

    def _settle(self, claim: Claim) -> Claimed:
        if claim.look:
            counts = tuple(self.count(limit, claim.call_id) for limit in claim.limits)
            reached = [at for at, limit in enumerate(claim.limits) if counts[at] >= limit.most]
            if reached:
                return Claimed(over=reached[0], counts=counts)
            return Claimed(dials=self._dials(claim, None), counts=counts)
        if claim.call_id in self.ended:
            return Claimed(dials=self._dials(claim, None))
        call = self._call(claim)
        if claim.part not in call.told:
            call.told[claim.part] = self._grant(claim, call)
        told = call.told[claim.part]
        if told.over < 0:
            call.waiting[claim.part] = call.waiting.get(claim.part, 0) + 1
        return told

    def _grant(self, claim: Claim, call: Call) -> Claimed:
        for at, limit in enumerate(claim.limits):
            calls = limit.window is Window.CALLS
            held = limit.name in call.limits if calls else (limit.name, limit.period) in call.months
            if not held and self.count(limit, claim.call_id) >= limit.most:
                return Claimed(over=at)
        self._take(claim, call)
        call.lines = set()
        call.served = None
        return Claimed(dials=self._dials(claim, call))

    def _call(self, claim: Claim) -> Call:
        if claim.call_id not in self.calls:
            self.calls[claim.call_id] = Call(claim.tenant, served=self.noted.pop(claim.call_id, None))
        return self.calls[claim.call_id]

    def _take(self, claim: Claim, call: Call) -> None:
        for limit in claim.limits:
            month = (limit.name, limit.period)
            if limit.window is Window.CALLS:
                call.limits.add(limit.name)
            elif month not in call.months:
                call.months.add(month)
                self.month_counts[month] = self.month_counts.get(month, 0) + 1

    def _dials(self, claim: Claim, call: Call | None) -> tuple[tuple[int, ...], ...]:
        return tuple(self._dial(claim, dial, call) for dial in claim.dials)

    def _dial(self, claim: Claim, dial: DialClaim, call: Call | None) -> tuple[int, ...]:
        order = self._order(dial, call)
        free = [
            at
            for at in order
            if not dial.caps[at]
            or self.count(Limit(dial.lines[at], Window.CALLS, 0), claim.call_id if call or claim.look else "")
            < dial.caps[at]
        ][: dial.most]
        if call is not None:
            for at in free[: dial.takes]:
                if dial.caps[at]:
                    call.lines.add(dial.lines[at])
                if dial.order is Order.LEAST_RECENT:
                    self._mark(dial.key, dial.lines[at])
            call.dials.append((dial, tuple(free)))
        return tuple(free)

    def _order(self, dial: DialClaim, call: Call | None) -> list[int]:
        positions = list(range(len(dial.lines)))
        match dial.order:
            case Order.TURN:
                first = self._turn(dial.key, call) % len(positions)
                return positions[first:] + positions[:first]
            case Order.STICKY:
                return sorted(positions, key=lambda at: dial.lines[at] != self.served.get(dial.key))
            case Order.LEAST_RECENT:
                marks = self.recent.get(dial.key, [])
                return sorted(positions, key=lambda at: marks.index(dial.lines[at]) if dial.lines[at] in marks else -1)
        return positions

    def _turn(self, key: str, call: Call | None) -> int:
        returned, turn = self.returned.get(key, []), self.turns.get(key, 0)
        if call is None:
            return returned[0] if returned else turn
        if returned:
            turn = returned.pop(0)
        else:
            self.turns[key] = turn + 1
        call.turns.append((key, turn))
        return turn

    def _mark(self, key: str, line: str) -> None:
        marks = self.recent.setdefault(key, [])
        if line in marks:
            marks.remove(line)
        marks.append(line)
