"""``signalbox explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.api.routing.v1 import routing_pb2
from signalbox.commands import explain

if TYPE_CHECKING:
    from support.commands import Service, Shell


def test_the_steps_and_the_decision(shell: Shell, service: Service) -> None:
    told = shell("explain 4001234567 --from 13800001234 --trunk carrier --diversions 1 --edge edge-2").stdout
    assert told.splitlines() == [
        "   STEP   FINDING",
        "   trunk  any trunk",
        "→  dial   1 stage\\x1b[31m",
        "",
        "dial (dial, number 4001234567 of tenant acme)",
        "  1. a at sip:100@192.0.2.7:5060 via sip:192.0.2.7:5060, for 20.5 s",
        "rules of revision 7, known to be current 0.2 s ago",
    ]
    asked = service.explainer.asked[0]
    assert (asked.called, asked.calling, asked.trunk, asked.diversions) == ("4001234567", "13800001234", "carrier", 1)
    assert asked.edge == "edge-2"


def test_the_provisioning_service_is_asked(shell: Shell) -> None:
    """Here no replica is there that it could ask."""
    assert "ROUTING_UNAVAILABLE" in shell("explain 4001234567 --from 1 --ask provisioning", code=3).stderr


def test_a_reject(shell: Shell) -> None:
    assert "reject with 404 Not Found (number_unknown)" in shell("explain 404 --from 1").stdout


def test_json(shell: Shell) -> None:
    told = shell.json("explain 4001234567 --from 1")
    assert told["decision"]["dial"]["stages"][0]["ring_time_ms"] == 20_500
    assert [step["decisive"] for step in told["steps"]] == [False, True]


def test_a_refusal(shell: Shell) -> None:
    assert "request.called: is no number" in shell("explain x --from 1", code=1).stderr


def test_the_caller_must_be_given(shell: Shell) -> None:
    shell("explain 4001234567", code=2)


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        ((0, 0, 0), "1. a at sip:a via sip:a, for 5 s"),
        ((2, 2, 2), "1. a at sip:a via sip:a, for 5 s; else 2."),
        ((486, 3, 0), "1. a at sip:a via sip:a, for 5 s; busy: 486, no answer: 3., failed: the end"),
    ],
)
def test_what_follows_a_stage_is_told(targets: tuple[int, int, int], told: str) -> None:
    busy, no_answer, failed = targets
    branch = routing_pb2.Branch(line="a", uri="sip:a", destination="sip:a")
    stage = routing_pb2.Stage(
        branches=[branch], ring_time_ms=5000, on_busy=busy, on_no_answer=no_answer, on_failed=failed
    )
    decision = routing_pb2.Decision(dial=routing_pb2.Dial(stages=[stage]), why="dial")
    assert list(explain.describe(decision))[1].strip() == told
