"""``signalbox explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.commands import Service, Shell


def test_the_steps_and_the_decision(shell: Shell, service: Service) -> None:
    told = shell("explain 4001234567 --from 13800001234 --trunk carrier --diversions 1").stdout
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
