"""What ``counters.lua`` is told and what it answers: claims as operations, one line of text per operation back."""

from __future__ import annotations

import json
from functools import lru_cache
from json.encoder import encode_basestring as _quoted
from typing import TYPE_CHECKING

from signalbox.domain.claims import Claimed, Order
from signalbox.redis_client import Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.domain.claims import Claim, DialClaim
    from signalbox.settings import CountersSettings

Operation = list[object]
"""Name and arguments of one of the script's operations."""

Encoded = str
"""One as the script reads it: JSON."""

SCRIPT = Script(__package__, "counters.lua")

PROBE: Operation = ["probe"]
"""Does nothing but write: a server that answers but takes no writes is of no use."""

KEPT = 4096
"""Most different dials that are kept encoded, and answers that are kept parsed: they come again and again."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def settings(prefix: str, settings: CountersSettings) -> Encoded:
    """What all operations go by: the prefix of all keys, and for how long what is held."""
    lives_ms = [int(s * 1000) for s in (settings.setup_lease_s, settings.call_lease_s, settings.media_lease_s)]
    return _encode([prefix, *lives_ms, int(settings.sticky_days * 86400)])


def encoded(operations: Sequence[Operation | Encoded]) -> str:
    """Operations as the script reads them."""
    return f"[{','.join([one if isinstance(one, str) else _encode(one) for one in operations])}]"


def claim(claim: Claim) -> Encoded:
    """Settle a claim, or look if it only looks. Every call has one, so it is put together of what others had too."""
    call_id, tenant, limits, dials, part, look = claim
    counted = ",".join([f'[{_quoted(name)},"{window}",{most},"{period}"]' for name, window, most, period in limits])
    dialled = ",".join([_dial(dial) for dial in dials])
    name = "look" if look else "claim"
    return f'["{name}",{_quoted(call_id)},{_quoted(part)},{_quoted(tenant)},[{counted}],[{dialled}]]'


def count(claim: Claim, claimed: Claimed) -> Operation:
    """Count a claim that was answered so without being counted."""
    dials = [_content(dial) for dial in claim.dials]
    return ["count", claim.call_id, claim.part, claim.tenant, claim.limits, dials, _text(claimed)]


def give_back(claim: Claim) -> Operation:
    """Nobody got what this claim was for."""
    return ["return", claim.call_id, claim.part]


@lru_cache(KEPT)
def claimed(line: bytes) -> Claimed:
    """The answer to a claim: ``over|position,...;position,...;`` and for one that looks ``|count,...``."""
    over, dials, *counts = line.split(b"|")
    return Claimed(
        over=int(over),
        dials=tuple(map(_numbers, dials.split(b";")[:-1])),
        counts=_numbers(counts[0]) if counts else (),
    )


@lru_cache(KEPT)
def _dial(dial: DialClaim) -> Encoded:
    return _encode(_content(dial))


def _content(dial: DialClaim) -> tuple[object, ...]:
    """Of lines in turn without caps nothing is counted but the turn: how many they are is all that matters."""
    if dial.order is not Order.TURN or any(dial.caps):
        return dial
    return len(dial.lines), (), dial.order, dial.key, dial.takes, dial.most


def _text(claimed: Claimed) -> str:
    return f"{claimed.over}|{''.join(','.join(map(str, dial)) + ';' for dial in claimed.dials)}"


def _numbers(text: bytes) -> tuple[int, ...]:
    return tuple(map(int, text.split(b","))) if text else ()
