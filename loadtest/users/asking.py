"""What users who speak gRPC have alike."""

from __future__ import annotations

import itertools
import secrets
import time
from typing import TYPE_CHECKING

from locust import User
from signalbox.api.routing.v1 import routing_pb2

from loadtest import rows, run
from loadtest.rows import Row

if TYPE_CHECKING:
    from locust.env import Environment


class Asking(User):
    """Knows the run and its numbers, asks questions that nobody else asks, and tells how long answers took."""

    abstract = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.of_run = run.of(environment)
        self.site = self.of_run.callers.site
        self._ids = (f"loadtest-{secrets.token_hex(4)}-{n}" for n in itertools.count())

    def question(self, rank: int, calling: str = "") -> routing_pb2.DecideRequest:
        """What a proxy would ask for a call to the number of a rank."""
        return routing_pb2.DecideRequest(
            call_id=next(self._ids),
            trunk=self.site.trunk,
            called=self.site.number(rank),
            calling=calling,
            source_address=self.site.caller_host,
        )

    def tell(self, name: str, began: float, failure: str = "") -> None:
        """Put an answer into Locust's statistics. ``began``: of ``time.perf_counter``; ``failure``: why it is one."""
        self.of_run.fire(Row(rows.GRPC, name, (time.perf_counter() - began) * 1000, failure))
