"""Who may call a number, from the store into memory."""

from __future__ import annotations

from signalbox.api.types.v1 import types_pb2
from signalbox.domain.screening import ScreeningRules
from signalbox.routing import convert_screening


def test_the_rules_of_a_number() -> None:
    message = types_pb2.Screening(blacklists=["a", "b"], whitelists=["c"], whitelist_only=True, refuse_anonymous=True)
    assert convert_screening.rules(message) == ScreeningRules(("a", "b"), ("c",), True, True)
    assert convert_screening.rules(types_pb2.Screening()) == ScreeningRules()
