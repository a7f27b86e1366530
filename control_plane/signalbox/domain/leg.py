"""A line that a worker with voice may ring, as text that only we can make (see sealing.py).

A step of a call flow gives one with each of its lines. The worker's INVITE carries it to a proxy, which asks with it
where the line is reached. So nobody can have a proxy call what no flow calls.
"""

from __future__ import annotations

from dataclasses import dataclass

from signalbox.domain import sealing

MAX_LEG = 1_024
"""Characters of the longest text."""

_FORM = "leg 1"
_FIELDS = 8


class LegError(sealing.SealError):
    """The text is no leg of ours."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A line of a call at a worker. No text in it has control characters.

    ``call_id``, ``tenant``, ``number`` are those of the caller's call; ``step``: how often its flow was continued.
    ``line`` is a line's id, or a telephone number in national form, which begins with a digit as no id does.
    ``expires``: epoch seconds. ``max_duration_s``: longest call, 0: any.
    """

    call_id: str
    tenant: str
    number: str
    line: str
    step: int
    expires: int
    max_duration_s: int = 0


def seal(leg: Leg, key: bytes) -> str:
    """The leg as text: what ids and numbers may be always fits."""
    fields = (
        _FORM, leg.call_id, leg.tenant, leg.number, leg.line, str(leg.step), str(leg.expires), str(leg.max_duration_s),
    )  # fmt: skip
    return sealing.seal(fields, key, MAX_LEG)


def open_(text: str, key: bytes) -> Leg:
    """The leg that a text was made of. Raises LegError if it is damaged, forged or of another key or form."""
    if len(text) > MAX_LEG:
        raise LegError(f"longer than {MAX_LEG} characters")
    try:
        fields = sealing.open_(text, key)
    except sealing.SealError as error:
        raise LegError(str(error)) from error
    if len(fields) != _FIELDS or fields[0] != _FORM:
        raise LegError("of another form")
    _, call_id, tenant, number, line, step, expires, max_duration_s = fields
    return Leg(call_id, tenant, number, line, int(step), int(expires), int(max_duration_s))
