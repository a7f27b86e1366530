"""A clock for services that are told what time it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """Stands still unless it is told otherwise."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self.now += timedelta(seconds=seconds)
