"""Which calls are recorded, and what becomes of those that are to be while no media node promises to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.domain.decided import Decision, Dial, Reject, Why, reject
from signalbox.domain.objects import MediaMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.domain.decided import Stage
    from signalbox.domain.objects import Tenant

UNAVAILABLE_CODE = 503
"""How a call ends that is not to go on unrecorded: to its carrier another way may be open."""


def media_of(number: MediaMode, stages: Sequence[Stage]) -> MediaMode:
    """The media of a call to a number: recorded if a stage is. One media node has the call from the first stage to the
    last, so all of them are anchored then."""
    if any(stage.record for stage in stages):
        return MediaMode.RECORD
    return MediaMode.ANCHOR if number is MediaMode.RECORD else number


def unrecorded_of(number: MediaMode) -> MediaMode:
    """The media of a call to a number that is to be recorded and cannot be: as if no stage were."""
    return media_of(number, ())


def unrecorded(decision: Decision, tenant: Tenant) -> Decision:
    """What becomes of a call that is to be recorded while no media node promises to.

    It is so at this moment, so the decision is none to be used again.
    """
    assert isinstance(decision.action, Dial)
    action = unrecorded_dial(decision.action, tenant)
    why = Why.RECORDING_UNAVAILABLE if isinstance(action, Reject) else decision.why
    return decision._replace(action=action, why=why, caller_independent=False)


def unrecorded_dial(dial: Dial, tenant: Tenant) -> Dial | Reject:
    """The same of its dial: the call goes on as if it were not to be recorded, or is refused, as its tenant wants."""
    return reject(UNAVAILABLE_CODE) if tenant.refuses_unrecorded else dial._replace(media=dial.unrecorded)
