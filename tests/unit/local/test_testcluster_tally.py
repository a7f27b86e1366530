"""What a step has cost is counted from what each call's parties saw."""

from __future__ import annotations

from dataclasses import replace

from signalbox_local.testcluster.tally import Outcome, Record, Window, count

QUIET, DRAIN = Window("quiet", 100.0, 110.0), Window("drain", 110.0, 130.0, frozenset({"192.0.2.2"}))
FINE = Record(1, "short", 101.0, 101.2, 103.0, 103.0, Outcome.OK, node="192.0.2.1")


def call(begun: float, over: float, outcome: Outcome = Outcome.OK, at: float = 0.0, node: str = "192.0.2.1") -> Record:
    answered = 0.0 if outcome is Outcome.FAILED else begun + 0.1
    return replace(
        FINE, begun=begun, over=over, outcome=outcome, answered=answered, at=at or over, node=node, why="why"
    )


def test_a_call_counts_where_it_began_and_where_it_was_up():
    quiet, drain = count([call(101, 103), call(105, 115), call(112, 114)], [QUIET, DRAIN])
    assert (quiet.up, quiet.begun, quiet.calls) == (0, 2, 2)
    assert (drain.up, drain.begun, drain.calls) == (1, 1, 2)
    assert not quiet.bad
    assert not drain.bad


def test_a_call_that_failed_counts_where_it_began_however_late_it_was_known():
    quiet, drain = count([call(109, 139, Outcome.FAILED)], [QUIET, DRAIN])
    assert (quiet.failed, drain.failed) == (1, 0)
    assert quiet.whys == {"short: failed, why": 1}


def test_a_call_that_was_cut_counts_where_it_was_cut():
    quiet, drain = count([call(109, 115, Outcome.CUT, at=112)], [QUIET, DRAIN])
    assert (quiet.cut, drain.cut, drain.bad) == (0, 1, 1)


def test_what_happens_between_two_steps_belongs_to_the_one_before():
    later = replace(DRAIN, begin=120.0)
    quiet, drain = count([call(109, 118, Outcome.SILENT, at=115)], [QUIET, later])
    assert (quiet.silent, drain.silent) == (1, 0)


def test_what_happens_before_the_first_step_belongs_to_none():
    (quiet,) = count([call(90, 95, Outcome.CUT)], [QUIET])
    assert (quiet.cut, quiet.calls) == (0, 0)


def test_calls_of_a_lost_node_are_counted_and_held_against_nobody():
    records = [
        call(109, 115, Outcome.CUT, node="192.0.2.2"),
        call(109, 115, Outcome.LEFT),
        call(111, 113, Outcome.FAILED),
    ]
    _, drain = count(records, [QUIET, DRAIN])
    assert (drain.cut, drain.left, drain.failed, drain.on_lost_node, drain.bad) == (1, 1, 1, 1, 2)
    assert "short: cut, why (on the lost node)" in drain.whys


def test_a_step_is_told_to_programs_with_its_sums():
    _, drain = count([call(111, 113, Outcome.FAILED)], [QUIET, DRAIN])
    told = drain.json()
    assert (told["calls"], told["bad"], told["whys"]) == (1, 1, {"short: failed, why": 1})
