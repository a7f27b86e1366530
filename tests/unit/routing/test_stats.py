"""Figures as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from signalbox.routing.stats import PowersOfTwo, Stats


def test_values_fall_into_the_bucket_that_holds_them() -> None:
    histogram = PowersOfTwo(3)
    for value in (0, 1, 2, 3, 4, 8, 9, 1000):
        histogram.observe(value)
    assert histogram.buckets(1) == [("1", 2), ("2", 3), ("4", 5), ("8", 6), ("+Inf", 8)]
    assert histogram.total == 1027


def test_everything_that_is_counted_is_exposed() -> None:
    stats = Stats(lambda: {"numbers": 3.0, "rule_age_seconds": float("inf")})
    stats.decisions["dial"] += 2
    stats.refused["INVALID_FIELD"] += 1
    stats.batch.observe(16)
    stats.took_us.observe(300)
    registry = CollectorRegistry()
    registry.register(stats)
    text = generate_latest(registry).decode()
    for line in (
        'signalbox_routing_decisions_total{why="dial"} 2.0',
        'signalbox_routing_questions_refused_total{reason="INVALID_FIELD"} 1.0',
        'signalbox_routing_batch_questions_bucket{le="16"} 1.0',
        'signalbox_routing_batch_questions_bucket{le="8"} 0.0',
        'signalbox_routing_unrecordable_calls_total{outcome="goes_on"} 0.0',
        'signalbox_routing_unrecordable_calls_total{outcome="refused"} 0.0',
        "signalbox_routing_answer_seconds_sum 0.0003",
        "signalbox_routing_numbers 3.0",
        "signalbox_routing_rule_age_seconds +Inf",
    ):
        assert line in text
