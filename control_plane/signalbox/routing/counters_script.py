"""What ``counters.lua`` is told and what it answers: claims as operations, one line of text per operation back."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from signalbox.domain.claims import Claimed
from signalbox.redis_client import Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.domain.claims import Claim

Operation = list[object]
"""Name and arguments of one of the script's operations."""

SCRIPT = Script(__package__, "counters.lua")

PROBE: Operation = ["probe"]
"""Does nothing but write: a server that answers but takes no writes is of no use."""

PARSED = 4096
"""Most different answers that are kept parsed: there are few, and they come again and again."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encoded(operations: Sequence[Operation]) -> str:
    """Operations as the script reads them."""
    return _encode(operations)


def claim(claim: Claim) -> Operation:
    """Settle a claim, or look if it only looks."""
    return ["look" if claim.look else "claim", *_content(claim)]


def count(claim: Claim, claimed: Claimed) -> Operation:
    """Count a claim that was answered so without being counted."""
    return ["count", *_content(claim), _text(claimed)]


def give_back(claim: Claim) -> Operation:
    """Nobody got what this claim was for."""
    return ["return", claim.call_id, claim.part]


@lru_cache(PARSED)
def claimed(line: bytes) -> Claimed:
    """The answer to a claim: ``over|position,...;position,...;`` and for one that looks ``|count,...``."""
    over, dials, *counts = line.split(b"|")
    return Claimed(
        over=int(over),
        dials=tuple(map(_numbers, dials.split(b";")[:-1])),
        counts=_numbers(counts[0]) if counts else (),
    )


def _content(claim: Claim) -> list[object]:
    return [
        claim.call_id,
        claim.part,
        claim.tenant,
        [[limit.window.value, limit.name, limit.most, limit.period] for limit in claim.limits],
        [[dial.lines, dial.caps, dial.order.value, dial.key, dial.takes, dial.most] for dial in claim.dials],
    ]


def _text(claimed: Claimed) -> str:
    return f"{claimed.over}|{''.join(','.join(map(str, dial)) + ';' for dial in claimed.dials)}"


def _numbers(text: bytes) -> tuple[int, ...]:
    return tuple(map(int, text.split(b","))) if text else ()
