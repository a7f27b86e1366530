"""The parts of a decision's time: the shares are of their sum, and the server with the kept answer gives it."""

from __future__ import annotations

from typing import Any

from signalbox.api.routing.v1 import routing_pb2
from signalbox.domain.claims import Claim
from signalbox_local import decide_parts
from signalbox_local.bench_decide import BATCHES, summary
from signalbox_local.decide_parts import Parts


def test_shares_are_measured_parts_of_their_sum() -> None:
    runs: list[dict[str, Any]] = [{"batch": b, "per_s_core": 10_000.0, "redis_us": 1.0, "p99_ms": 1.0} for b in BATCHES]
    found = summary(runs, runs, Parts(rules_us=50, redis_us=30, grpc_us=20))
    assert found["share"] == {"grpc": 0.2, "rules": 0.5, "redis": 0.3}
    times = {"whole": 100.0, "sum_of_parts": 100, "grpc": 20, "rules": 50, "redis": 30}
    assert found["us_per_decision_at_batch_10"] == times


def test_messages_that_are_under_way_are_counted_together() -> None:
    claims = [[Claim(str(n), "acme", ())] for n in range(6)]
    rounds = decide_parts._joined(claims)
    assert [[claim.call_id for claim in one] for one in rounds] == [["0"], ["1", "2", "3"], ["4"], ["5"]]


async def test_a_server_of_its_own_gives_the_kept_answer(monkeypatch: Any) -> None:
    monkeypatch.setattr(decide_parts, "GRPC_S", 0.3)
    kept = routing_pb2.DecideStreamResponse(rule_revision=7)
    for _ in range(decide_parts.BATCH):
        kept.answers.add().decision.dial.SetInParent()
    assert await decide_parts._grpc_us(kept, ["4001234567"], "trunk", 1) > 0
