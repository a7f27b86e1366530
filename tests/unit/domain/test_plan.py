"""Plans as stages with jumps."""

from __future__ import annotations

from signalbox.domain.decided import Stage, Why
from signalbox.domain.flow import Distribution
from signalbox.domain.layout import lay_out
from signalbox.domain.objects import Line
from signalbox.domain.plan import End, Plan, Ring

A, B, C = (Line("acme", id, "1", "192.0.2.1") for id in "abc")
BUSY, VAIN, DEAD = End(486, Why.LINES_BUSY), End(480, Why.NO_LINE), End(0, Why.NO_LINE)


FAR = Line("acme", "far", "13800001234", "")


def laid(plan: Plan, *, taken: tuple[Line, ...] = (), ways: int = 1) -> list[tuple[str, int, int, int]] | End:
    """Lines and jumps of the stages; each line is reached in so many ways."""
    free = tuple(
        tuple(at for at, line in enumerate(ring.lines) if line not in taken) for ring in plan.rings.values()
    )  # fmt: skip
    plan.direct = plan.direct and ways == 1
    stages = lay_out(plan, free, lambda line: (line,) * ways)
    if isinstance(stages, End):
        return stages
    return [("".join(line.id for line in one.lines), one.on_busy, one.on_no_answer, one.on_failed) for one in stages]


def one(*lines: Line, together: bool = False) -> Plan:
    distribution = Distribution.ALL if together else Distribution.SEQUENTIAL
    return Plan("one", {"one": Ring(lines, 1_000, BUSY, VAIN, DEAD, distribution)})


def test_a_single_line_ends_as_it_failed() -> None:
    assert laid(one(A)) == [("a", 486, 480, 0)]


def test_lines_together_are_one_stage() -> None:
    assert laid(one(A, B, together=True)) == [("ab", 486, 480, 0)]


def test_a_line_stands_in_a_stage_for_each_way_in_which_others_failed_before_it() -> None:
    assert laid(one(A, B)) == [
        ("a", 2, 3, 4),
        ("b", 486, 486, 486),
        ("b", 486, 480, 480),
        ("b", 486, 480, 0),
    ]


def test_where_all_ways_lead_to_the_same_a_line_stands_in_one() -> None:
    ring = Ring((A, B, C), 1_000, VAIN, VAIN, VAIN)
    assert laid(Plan("one", {"one": ring})) == [("a", 2, 2, 2), ("b", 3, 3, 3), ("c", 480, 480, 480)]


def test_another_trunk_is_tried_on_failure_alone() -> None:
    assert laid(one(A), ways=2) == [("a", 486, 480, 2), ("a", 486, 480, 0)]


def test_a_dial_that_leads_to_another_begins_it_wherever_it_comes_from() -> None:
    first = Ring((A,), 1_000, "two", "two", VAIN)
    plan = Plan("one", {"one": first, "two": Ring((B,), 2_000, BUSY, VAIN, DEAD)})
    assert laid(plan) == [("a", 2, 2, 480), ("b", 486, 480, 0)]


def test_a_dial_whose_lines_are_all_taken_is_passed_over_as_busy() -> None:
    plan = Plan("one", {"one": Ring((A,), 1_000, "two", VAIN, VAIN), "two": Ring((B,), 1_000, BUSY, VAIN, DEAD)})
    assert laid(plan, taken=(A,)) == [("b", 486, 480, 0)]
    assert laid(plan, taken=(A, B)) == BUSY


def test_a_dial_without_lines_or_ways_to_them_has_failed() -> None:
    plan = Plan("one", {"one": Ring((), 1_000, BUSY, VAIN, "two"), "two": Ring((B,), 1_000, BUSY, VAIN, DEAD)})
    assert laid(plan) == [("b", 486, 480, 0)]
    assert laid(plan, ways=0) == End(480, Why.NO_LINE)


def test_a_plan_that_does_not_fit_tries_fewer_ways_but_every_line() -> None:
    lines = tuple(Line("acme", f"l{n}", "1", "192.0.2.1") for n in range(16))
    found = laid(one(*lines), ways=3)
    assert isinstance(found, list)
    assert [line for line, *_ in found] == [line.id for line in lines]
    assert found[-1][1:] == (486, 480, 0)


def test_lines_that_are_too_many_are_those_of_the_dials_reached_last() -> None:
    lines = tuple(Line("acme", f"l{n}", "1", "192.0.2.1") for n in range(12))
    plan = Plan("one", {"one": Ring(lines, 1_000, "two", "two", "two"), "two": Ring(lines, 1_000, DEAD, DEAD, DEAD)})
    found = laid(plan)
    assert isinstance(found, list)
    assert [line for line, *_ in found] == [f"l{n}" for n in (*range(12), *range(4))]


def test_a_plan_gets_the_identical_stages_for_the_same_lines() -> None:
    plan = one(A, B)
    first = lay_out(plan, ((1, 0),), lambda line: (line,))
    assert lay_out(plan, ((1, 0),), lambda line: (line,)) is first
    assert lay_out(plan, ((0, 1),), lambda line: (line,)) != first


def test_a_line_without_an_address_is_looked_for_anew_for_each_call() -> None:
    plan = one(A, FAR)
    for far, lines in ((), [(A,)]), ((B,), [(B,), (A,), (A,), (A,)]):
        stages = lay_out(plan, ((1, 0),), lambda line, far=far: (line,) if line.host else far)  # type: ignore[misc]
        assert not isinstance(stages, End)
        assert [stage.lines for stage in stages] == lines


def test_a_stage_for_a_worker_carries_the_cursor() -> None:
    plan = Plan("menu", {"menu": Ring((A,), 1_000, VAIN, VAIN, VAIN, cursor="text")})
    assert lay_out(plan, ((0,),), lambda line: (line,)) == (Stage((A,), 1_000, 480, 480, 480, "text"),)
