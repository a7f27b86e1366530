"""Steps of explanations that take more than a line to say, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.domain.claims import Order
from signalbox.domain.decided import Step, Why
from signalbox.domain.flow import DialRecording
from signalbox.domain.objects import MediaMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from signalbox.domain.objects import Tenant
    from signalbox.domain.plan import Plan, Positions, Trial


def counted(plan: Plan, trials: Sequence[Trial], counted: Sequence[Positions]) -> Iterator[Step]:
    """What was counted for the dials."""
    answers = iter(counted)
    for name, trial in zip(plan.rings, trials, strict=True):
        if (dial := trial.claim) is None:
            continue
        positions = next(answers)
        if len(positions) < min(dial.most, len(dial.lines)):
            busy = [dial.lines[at] for at in range(len(dial.lines)) if at not in positions]
            yield Step("line_cap", f"{name}: {', '.join(busy)} at the cap, passed over")
        if dial.order is not Order.GIVEN and positions:
            first = dial.lines[positions[0]].rpartition("/")[2]
            yield Step("turn", f"{name}: {first} is first by {dial.order.value} ({dial.key})")


def recording(number: MediaMode, plan: Plan) -> Step:
    """Whether calls are recorded, and by what; ``number``: the media of the number."""
    found = [f"{'on' if number is MediaMode.RECORD else 'off'} by the number's media, {number.value}"]
    for name, ring in plan.rings.items():
        if ring.cursor:
            found.append(f"node {name}: off while a worker with voice has the call")
        elif ring.recording is not DialRecording.AS_NUMBER:
            found.append(f"node {name}: {ring.recording.value}")
    return Step("recording", "; ".join(found))


def unrecorded(tenant: Tenant) -> Step:
    """That no media node promises to record a call that is to be recorded, and what becomes of it."""
    then = "is refused" if tenant.refuses_unrecorded else "goes on unrecorded, media: anchor"
    finding = f"no media node records now: by the tenant's policy the call {then}"
    return Step(Why.RECORDING_UNAVAILABLE.value, finding, tenant.refuses_unrecorded)
