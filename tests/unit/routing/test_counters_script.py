"""What the script of the counters is told and what its answers mean."""

from __future__ import annotations

import json
import re

import pytest
from signalbox.domain.claims import Claim, Claimed, DialClaim, Limit, Order, Window
from signalbox.routing import counters, counters_script

CLAIM = Claim(
    "call-1",
    "acme",
    (Limit("number/400", Window.CALLS, 10), Limit("tenant/acme", Window.MONTH, 99, "2026-11")),
    (DialClaim(("line/acme/a", "line/acme/b"), (0, 2), Order.TURN, "turn/x", 1),),
    "part",
)


def test_a_claim_as_the_script_reads_it() -> None:
    assert json.loads(counters_script.encoded([counters_script.claim(CLAIM)])) == [
        [
            "claim",
            "call-1",
            "part",
            "acme",
            [["number/400", "calls", 10, ""], ["tenant/acme", "month", 99, "2026-11"]],
            [[["line/acme/a", "line/acme/b"], [0, 2], "turn", "turn/x", 1, 16]],
        ]
    ]


def test_names_are_told_as_they_are() -> None:
    odd = 'a"b\\c\x07号'
    claim = CLAIM._replace(call_id=odd, tenant=odd, part=odd, limits=(Limit(odd, Window.SECOND, 0),), look=True)
    (told,) = json.loads(counters_script.encoded([counters_script.claim(claim)]))
    assert told[:5] == ["look", odd, odd, odd, [[odd, "second", 0, ""]]]


def test_operations_of_both_kinds_go_together() -> None:
    told = json.loads(counters_script.encoded([counters_script.PROBE, counters_script.claim(CLAIM)]))
    assert [name for name, *_ in told] == ["probe", "claim"]


def test_of_lines_in_turn_without_caps_their_number_is_told() -> None:
    dial = CLAIM.dials[0]
    claims = [CLAIM._replace(dials=(dial._replace(caps=(0, 0), order=order),)) for order in (Order.TURN, Order.GIVEN)]
    told = json.loads(counters_script.encoded([counters_script.claim(claim) for claim in claims]))
    assert [dials for *_, (dials,) in told] == [
        [2, [], "turn", "turn/x", 1, 16],
        [["line/acme/a", "line/acme/b"], [0, 0], "given", "turn/x", 1, 16],
    ]


def test_what_was_uncounted_is_told_with_its_answer() -> None:
    operation = counters_script.count(CLAIM, Claimed(dials=((1, 0), ())))
    assert (operation[0], operation[-1]) == ("count", "-1|1,0;;")


@pytest.mark.parametrize(
    ("line", "claimed"),
    [
        (b"-1|", Claimed()),
        (b"2|", Claimed(over=2)),
        (b"-1|;", Claimed(dials=((),))),
        (b"-1|1,0;;2;", Claimed(dials=((1, 0), (), (2,)))),
        (b"-1|0;|3,0", Claimed(dials=((0,),), counts=(3, 0))),
        (b"-1||", Claimed()),
    ],
)
def test_answers(line: bytes, claimed: Claimed) -> None:
    assert counters_script.claimed(line) == claimed


def test_uncounted_calls_are_remembered_as_long_as_redis_knows_of_ends() -> None:
    match = re.search(r"UNKNOWN_MS = (\d+)", counters_script.SCRIPT.source)
    assert match is not None
    assert int(match[1]) / 1000 == counters.OWED_S
