"""Who works on which capture, and for how long still. In memory: a process that is gone has forgotten all claims."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from signalbox.errors import ClaimLostError


@dataclass(slots=True)
class Claim:
    """One recorder's claim of one capture."""

    token: str
    call_id: str
    recorder: str
    until: float
    """It holds until then."""


class Claims:
    """Times are seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self._by_token: dict[str, Claim] = {}
        self._by_call: dict[str, Claim] = {}
        self._not_before: dict[str, float] = {}

    def grant(self, call_id: str, recorder: str, lease_s: float, now: float) -> Claim:
        """Claim a capture that :meth:`free` says may be had."""
        claim = Claim(secrets.token_urlsafe(16), call_id, recorder, now + lease_s)
        self._by_token[claim.token] = self._by_call[call_id] = claim
        self._not_before.pop(call_id, None)
        return claim

    def of(self, token: str, now: float) -> Claim:
        """A claim that holds. Raises ClaimLostError."""
        claim = self._by_token.get(token)
        if claim is None or claim.until <= now:
            raise ClaimLostError
        return claim

    def renew(self, token: str, lease_s: float, now: float) -> None:
        """Hold it for another while. Raises ClaimLostError."""
        self.of(token, now).until = now + lease_s

    def release(self, token: str, not_before_s: float, now: float) -> Claim:
        """Give it back; nobody gets the capture for so long. Raises ClaimLostError."""
        claim = self.of(token, now)
        self.drop(claim.call_id)
        if not_before_s > 0:
            self._not_before[claim.call_id] = now + not_before_s
        return claim

    def claimed(self, call_id: str, now: float) -> bool:
        """True if somebody works on it."""
        claim = self._by_call.get(call_id)
        return claim is not None and claim.until > now

    def free(self, call_id: str, now: float) -> bool:
        """True if it may be claimed."""
        return not self.claimed(call_id, now) and self._not_before.get(call_id, now) <= now

    def drop(self, call_id: str) -> bool:
        """The capture is no longer what was claimed, or gone; True if there was a claim."""
        claim = self._by_call.pop(call_id, None)
        self._not_before.pop(call_id, None)
        if claim is None:
            return False
        del self._by_token[claim.token]
        return True

    def lapsed(self, now: float) -> list[Claim]:
        """Forget claims that have run out, and tell them; forget times that are over."""
        self._not_before = {call_id: until for call_id, until in self._not_before.items() if until > now}
        over = [claim for claim in self._by_call.values() if claim.until <= now]
        for claim in over:
            self.drop(claim.call_id)
        return over

    def next_change(self) -> float | None:
        """When, without anybody doing anything, a capture may become free next."""
        times = [claim.until for claim in self._by_call.values()]
        return min([*times, *self._not_before.values()], default=None)
