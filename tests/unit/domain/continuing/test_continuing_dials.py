"""Dials of a flow at a worker with voice, and cursors of rules that have changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from signalbox.domain.claims import Claim
from signalbox.domain.cursor import CursorError
from signalbox.domain.decided import Dial, Reject
from signalbox.domain.flow import (
    DialLine,
    DialNode,
    Distribution,
    Flow,
    FlowGraph,
    FlowRevision,
    HangUpNode,
    LineGroup,
)
from signalbox.domain.objects import HealthCheck, Line, MediaMode, Member, Target, Trunk, TrunkGroup
from signalbox.domain.outcomes import Ended, Outcome, OutcomeError
from support.continuing import GIVEN, NODES, cursor_at, following
from support.deciding import NOW, Call, decided

if TYPE_CHECKING:
    from signalbox.domain.rules import Rules


def test_a_dial_says_how_it_failed_and_what_the_line_hears(rules: Rules) -> None:
    claims: list[Claim] = []
    found = following(rules, "menu", Outcome(Ended.DIGITS, "1"), {"turn/acme/flow/main/sales": 1}, claims)
    assert isinstance(found.do, Dial)
    assert found.dial == NODES["sales"]
    assert (found.do.media, found.do.max_duration_s) == (MediaMode.BYPASS, 60)
    assert [stage.lines[0].id for stage in found.do.stages] == ["b", "a", "a", "a"]
    ends = {way for stage in found.do.stages for way in (stage.on_busy, stage.on_no_answer, stage.on_failed)}
    assert ends - {1, 2, 3, 4} == {486, 480, 0}
    assert (claims[0].part, claims[0].limits, claims[0].dials[0].takes) == ("step 1", (), 1)


@pytest.mark.parametrize(
    ("ended", "node"), [(Ended.LINE_LEFT, "survey"), (Ended.TRANSFER, "mail"), (Ended.BUSY, "menu")]
)
def test_what_follows_a_dial_lets_go_of_its_lines_first(rules: Rules, ended: Ended, node: str) -> None:
    claims: list[Claim] = []
    assert following(rules, replace(cursor_at("sales"), step=4), Outcome(ended), claims=claims).do == (
        node, NODES[node],
    )  # fmt: skip
    assert claims == [Claim("call-1", "acme", (), (), "after step 4")]
    # To ask for a step again lets go of nothing.
    assert isinstance(following(rules, "sales", None, claims=claims).do, Dial)
    assert [claim.part for claim in claims] == ["after step 4", "step 0"]


@pytest.mark.parametrize(("edge", "hosts"), [("edge-1", ["192.0.2.8"]), ("edge-2", ["192.0.2.7"])])
def test_a_dial_passes_over_targets_that_are_dead_to_the_edge(rules: Rules, edge: str, hosts: list[str]) -> None:
    dead, alive = Target("192.0.2.7"), Target("192.0.2.8")
    rules.put(Line("acme", "a", "13900001111", ""))
    rules.put(Trunk("out", targets=(dead, alive), health_check=HealthCheck()))
    rules.put(TrunkGroup("all", ("",), (Member("out"),)))
    given = replace(GIVEN, dead={"edge-1": frozenset({dead})})
    found = following(rules, "plain", None, given=given, edge=edge).do
    assert isinstance(found, Dial)
    assert [stage.lines[0].host for stage in found.stages] == hosts


def test_lines_ring_for_their_own_times(rules: Rules) -> None:
    lines = (DialLine("a"), DialLine("b", ring_ms=5_000), DialLine("gone"))
    times = {}
    for distribution in (Distribution.SEQUENTIAL, Distribution.ALL):
        node = DialNode(lines, distribution, ring_ms=20_000)
        rules.put(Flow("acme", "main", (FlowRevision(3, 0.0, FlowGraph("n", {**NODES, "n": node})),)))
        action = decided(rules, Call(), given=GIVEN).action
        assert isinstance(action, Dial)
        times[distribution] = [(one.lines[0].id, one.ring_time_ms) for one in action.stages]
    assert set(times[Distribution.SEQUENTIAL]) == {("a", 20_000), ("b", 5_000)}
    assert times[Distribution.ALL] == [("a", 20_000)]


def test_a_line_of_a_group_rings_for_its_own_time_through_every_trunk(rules: Rules) -> None:
    rules.put(Line("acme", "a", "13900001111", ""))
    rules.put(Trunk("out", targets=(Target("192.0.2.7"), Target("192.0.2.8"))))
    rules.put(TrunkGroup("all", ("",), (Member("out"),)))
    rules.put(LineGroup("acme", "team", (DialLine("a", ring_ms=7_000), DialLine("b"))))
    node = DialNode(line_group="team")
    rules.put(Flow("acme", "main", (FlowRevision(3, 0.0, FlowGraph("n", {**NODES, "n": node})),)))
    action = decided(rules, Call(), given=GIVEN).action
    assert isinstance(action, Dial)
    assert {(one.lines[0].host, one.ring_time_ms) for one in action.stages} == {
        ("192.0.2.7", 7_000), ("192.0.2.8", 7_000), ("192.0.2.2", 30_000)
    }  # fmt: skip


def test_a_dial_without_a_free_line_leads_on_at_once(rules: Rules) -> None:
    rules.delete(Line, "acme", "a")
    busy = following(rules, "menu", Outcome(Ended.DIGITS, "1"), {"line/acme/b": 1})
    assert (busy.do, busy.cursor.step) == (("menu", NODES["menu"]), 2)
    rules.delete(Line, "acme", "b")
    failed = following(rules, "menu", Outcome(Ended.DIGITS, "1"))
    assert failed.do == Reject(480, "Temporarily Unavailable")


@pytest.mark.parametrize(
    ("at", "node", "vain"), [("asks", "to-b", Ended.BUSY), ("asks-for-number", "to-number", Ended.FAILED)]
)
def test_a_line_that_would_speak_with_somebody_who_cannot_be_rung_keeps_the_call(
    rules: Rules, at: str, node: str, vain: Ended
) -> None:
    full = {"line/acme/b": 1}
    found = following(rules, at, Outcome(Ended.TRANSFER), full, talking=True)
    assert isinstance(found.do, Dial)
    assert (found.do.stages, found.cursor.node, found.vain) == ((), node, vain)
    assert found.dial is NODES[node]
    # Without a line that could keep it the flow goes on.
    gone = following(rules, at, Outcome(Ended.TRANSFER), full)
    assert (gone.cursor.node, gone.vain) == ("mail" if vain is Ended.BUSY else "bye", None)


def test_an_attended_transfer_that_finds_somebody_and_a_blind_one_that_does_not(rules: Rules) -> None:
    found = following(rules, "asks", Outcome(Ended.TRANSFER), talking=True)
    assert isinstance(found.do, Dial)
    assert ([line.id for stage in found.do.stages for line in stage.lines], found.vain) == (["b"], None)
    blind = following(rules, "hands-on", Outcome(Ended.TRANSFER), {"line/acme/b": 1}, talking=True)
    assert blind.cursor.node == "mail"


def test_a_call_goes_on_with_the_revision_it_began_with(rules: Rules) -> None:
    changed = FlowGraph("menu", {"menu": HangUpNode()})
    kept = FlowRevision(3, 0.0, FlowGraph("north", NODES))
    rules.put(Flow("acme", "main", (kept, FlowRevision(4, NOW - 1, changed))))
    assert following(rules, "menu", None).do == ("menu", NODES["menu"])


def test_a_cursor_of_what_is_no_longer_kept_is_refused(rules: Rules) -> None:
    rules.put(Flow("acme", "main", (FlowRevision(4, 0.0, FlowGraph("north", NODES)),)))
    with pytest.raises(CursorError, match="no longer kept"):
        following(rules, "menu", None)
    rules.delete(Flow, "acme", "main")
    with pytest.raises(CursorError, match="no longer kept"):
        following(rules, "menu", None)


def test_a_cursor_at_a_node_that_never_was_is_refused(rules: Rules) -> None:
    with pytest.raises(CursorError, match="not in the flow"):
        following(rules, "nowhere", None)


@pytest.mark.parametrize(
    ("node", "ended"),
    [
        ("note", Ended.DONE),
        ("greet", Ended.BUSY),
        ("menu", Ended.DONE),
        ("sales", Ended.DIGITS),
        ("plain", Ended.TRANSFER),
        ("bye", Ended.NO_INPUT),
    ],
)
def test_a_step_cannot_end_as_one_of_another_kind(rules: Rules, node: str, ended: Ended) -> None:
    with pytest.raises(OutcomeError):
        following(rules, node, Outcome(ended))


def test_a_call_goes_on_when_its_number_is_gone(rules: Rules) -> None:
    rules.delete_number("4001234567")
    found = following(rules, "greet", Outcome(Ended.DONE)).do
    assert isinstance(found, Dial)
    assert found.media is MediaMode.ANCHOR
