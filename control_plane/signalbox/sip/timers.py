"""The times of the transaction machines (RFC 3261 section 17 and table 4 in its appendix A, RFC 6026)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timers:
    """All in seconds. Timers A to M are made of these three; tests use smaller ones."""

    t1: float = 0.5
    """Estimated round trip: first wait before a retransmission (timers A, E, G)."""
    t2: float = 4.0
    """Longest wait between retransmissions, except of an INVITE (E, G)."""
    t4: float = 5.0
    """Longest time that a message stays in the network: how long its repetitions are awaited (I, K)."""
    trying: float = 0.2
    """An INVITE that the user has not answered by then is answered 100 (section 17.2.1)."""

    @property
    def whole(self) -> float:
        """64 * T1: how long one side goes on trying, and the other remembers (B, D, F, H, J, L, M)."""
        return 64 * self.t1
