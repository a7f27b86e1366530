"""A shape that is told in calls a second."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from locust import LoadTestShape

from loadtest.users.sip import SipCaller

if TYPE_CHECKING:
    from locust import User

SPAWN_RATE = 100.0
"""The most that Locust takes without a warning."""


class ByRate(LoadTestShape):
    """As many SipCallers as make so many calls a second, and the other users as many as they are."""

    abstract = True

    @property
    def options(self) -> Any:
        """Those of the command line."""
        assert self.runner is not None
        return self.runner.environment.parsed_options

    @abstractmethod
    def rate(self, second: float) -> float | None:
        """Calls a second at a second of the run; None: it is over."""

    def tick(self) -> tuple[int, float, list[type[User]] | None] | None:
        """See LoadTestShape."""
        rate = self.rate(self.get_run_time())
        if rate is None:
            return None
        assert self.runner is not None
        others = sum(kind.fixed_count for kind in self.runner.user_classes if kind is not SipCaller)
        return max(1, round(rate / self.options.calls_per_user)) + others, SPAWN_RATE, None
