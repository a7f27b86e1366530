"""What workers with voice tell of a call in their journals."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.commands.journals import JournalReader

from signalbox_local.cluster import ClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.api.events.v1 import events_pb2

    from signalbox_local.cluster import Cluster

TOLD_S = 20.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Told:
    """A call that is over."""

    call_id: str
    worker: str
    steps: Sequence[events_pb2.FlowStep]
    cause: str
    """Why the flow ended."""

    def step(self, node: str) -> events_pb2.FlowStep | None:
        """The step that was a node; None if none was."""
        return next((step for step in self.steps if step.node == node), None)

    @property
    def path(self) -> str:
        """The steps, each with how it ended: ``menu (digits 1), desk (line_left)``."""
        return ", ".join(f"{step.node} ({' '.join(filter(None, (step.outcome, step.digits)))})" for step in self.steps)


async def told(cluster: Cluster, sip_call_id: str) -> Told:
    """Wait until a worker is done with a call, named by the Call-ID of its caller. Raises ClusterError if none is."""
    deadline = time.monotonic() + TOLD_S
    while time.monotonic() < deadline:
        call_id = _id(cluster, sip_call_id)
        for worker in cluster.names("ivr") if call_id else ():
            events = [event for event in JournalReader(cluster.journal(worker)).read() if event.call_id == call_id]
            causes = [event.flow_ended.cause for event in events if event.HasField("flow_ended")]
            if causes:
                steps = [event.flow_step for event in events if event.HasField("flow_step")]
                return Told(call_id, worker, steps, causes[0])
        # Another process writes the journals: nothing here could set an event.
        await asyncio.sleep(POLL_S)
    raise ClusterError(f"no worker told within {TOLD_S:.0f} s that the call {sip_call_id} is over")


def _id(cluster: Cluster, sip_call_id: str) -> str:
    """The id that a call was given; empty: no proxy has told of it yet."""
    for name in cluster.names("edge"):
        for event in JournalReader(cluster.journal(name)).read():
            if event.asked.sip_call_id == sip_call_id:
                return event.call_id
    return ""
