"""How a load test ends, for who has started it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Of ``make loadtest``, and of Locust with our users."""

    REACHED = 0
    """All objectives."""
    BREACHED = 1
    """At least one of them is not reached."""
    VOID = 2
    """The generator was the bottleneck."""
    NOT_BEGUN = 3
    """No cluster, a wrong file, or calls that do not get through."""
    NOT_JUDGED = 4
    """As when there is no room for the report."""
