"""What a step of a call flow brings along, so that the worker that executes it need ask nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.routing.v1 import routing_pb2
from signalbox.domain.flow_check import prompts
from signalbox.domain.leg import Leg, seal
from signalbox.domain.objects import MediaMode
from signalbox.domain.prompts import Prompt
from signalbox.g711 import A_LAW, MU_LAW
from signalbox.routing.messages import MEDIA
from signalbox.store import promptnames

if TYPE_CHECKING:
    from signalbox.domain.cursor import Cursor
    from signalbox.domain.flow import Node
    from signalbox.domain.prompts import Audio
    from signalbox.domain.rules import Rules

LEG_MARGIN_S = 60
"""So much longer than the step's lines may ring its legs are good: for what is played before a line rings, and a proxy
that has to be asked after another one."""


def call(rules: Rules, cursor: Cursor) -> routing_pb2.FlowCall:
    """The call at a cursor. Of a number that is gone by now the media are anchored."""
    number = rules.number(cursor.number)
    return routing_pb2.FlowCall(
        call_id=cursor.call_id,
        tenant=cursor.tenant,
        number=cursor.number,
        caller=cursor.caller.number,
        flow=cursor.flow,
        revision=cursor.revision,
        media=MEDIA[number.media if number is not None else MediaMode.ANCHOR],
    )


def give_legs(dial: routing_pb2.Dial, cursor: Cursor, key: bytes, now: float) -> None:
    """Write into each branch what its INVITE carries. ``now``: epoch seconds."""
    rings_s = sum(stage.ring_time_ms for stage in dial.stages) // 1000
    expires = int(now) + rings_s + LEG_MARGIN_S
    texts: dict[str, str] = {}
    for stage in dial.stages:
        for branch in stage.branches:
            if branch.line not in texts:
                leg = Leg(
                    cursor.call_id, cursor.tenant, cursor.number, branch.line, cursor.step, expires, dial.max_duration_s
                )
                texts[branch.line] = seal(leg, key)
            branch.leg = texts[branch.line]


def give_prompts(step: routing_pb2.ContinueResponse, rules: Rules, tenant: str, node: Node) -> None:
    """Write down where the audio of the prompts is that a node names, of those that there is some of."""
    for id in prompts(node):
        found = rules.owned(Prompt, tenant, id)
        if found is not None and found.audio is not None:
            step.prompts[id].CopyFrom(_prompt(tenant, found.audio))


def _prompt(tenant: str, audio: Audio) -> routing_pb2.FlowPrompt:
    return routing_pb2.FlowPrompt(
        alaw_object=promptnames.object(tenant, promptnames.file(A_LAW, audio.alaw_sha256)),
        alaw_sha256=audio.alaw_sha256.hex(),
        ulaw_object=promptnames.object(tenant, promptnames.file(MU_LAW, audio.ulaw_sha256)),
        ulaw_sha256=audio.ulaw_sha256.hex(),
        duration_ms=audio.duration_ms,
    )
