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
            [["calls", "number/400", 10, ""], ["month", "tenant/acme", 99, "2026-11"]],
            [[["line/acme/a", "line/acme/b"], [0, 2], "turn", "turn/x", 1, 16]],
        ]
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
    match = re.search(r"UNKNOWN_ENDED_MS = (\d+)", counters_script.SCRIPT.source)
    assert match is not None
    assert int(match[1]) / 1000 == counters.OWED_S
