"""One record per call, folded from its events."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from signalbox.api.events.v1 import events_pb2
from signalbox.commands.eventtext import milliseconds
from signalbox.commands.ruleoptions import short

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass
class CallRecord:
    """What is known of one call. Times are milliseconds since 1970 UTC, 0: never; so are durations."""

    call_id: str
    parent: str = ""
    """Not empty: a worker with voice called a line, for the call of this id."""
    sip_call_id: str = ""
    proxy: str = ""
    """The edge that saw it begin."""
    trunk: str = ""
    source_address: str = ""
    called: str = ""
    calling: str = ""
    tenant: str = ""
    number: str = ""
    decided_by: str = ""
    """routing, last_good or edge."""
    why: str = ""
    begin_ms: int = 0
    ring_ms: int = 0
    answer_ms: int = 0
    end_ms: int = 0
    post_dial_delay_ms: int = 0
    """From the INVITE to the first 18x or 2xx; 0 if there was none."""
    talk_ms: int = 0
    """From the answer to the end."""
    line: str = ""
    """The line that answered."""
    tried: str = ""
    """Lines in the order in which they were tried, each with the code with which it failed: "desk=486 mobile"."""
    code: int = 0
    """Final status code for the caller; 0: not known (yet)."""
    hung_up_by: str = ""
    """caller or line."""
    cause: str = ""
    recorded: int = 0
    """1: it was to be recorded."""
    _lines: list[str] = field(default_factory=list, repr=False)
    _failed: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        """False: its end has not been seen."""
        return bool(self.end_ms)

    def add(self, event: events_pb2.CallEvent) -> None:
        """Take in one more event of the call; events come in the order of their times."""
        now = milliseconds(event)
        match event.WhichOneof("event"):
            case "asked":
                asked = event.asked
                self.begin_ms, self.proxy, self.parent = now, event.proxy, asked.parent
                self.sip_call_id, self.trunk, self.source_address = asked.sip_call_id, asked.trunk, asked.source_address
                self.called, self.calling = asked.called, asked.calling
            case "decided":
                decided = event.decided
                self.decided_by = short(events_pb2.DecisionSource, decided.source)
                self.tenant, self.number, self.why = decided.tenant, decided.number, decided.why
            case "line_tried":
                self._lines.append(event.line_tried.line)
            case "ringing":
                self.ring_ms = self.ring_ms or now
            case "line_failed":
                self._failed[event.line_failed.line] = event.line_failed.code
            case "answered":
                self.answer_ms, self.line, self.code = now, event.answered.line, 200
            case "recording_started":
                self.recorded = 1
            case "failed":
                self.end_ms, self.code, self.cause = now, event.failed.code, event.failed.phrase
            case "hung_up":
                self.end_ms, self.cause = now, event.hung_up.cause
                self.hung_up_by = short(events_pb2.Party, event.hung_up.party)
        self._derive()

    def _derive(self) -> None:
        first = min(filter(None, (self.ring_ms, self.answer_ms)), default=0)
        self.post_dial_delay_ms = max(0, first - self.begin_ms) if first and self.begin_ms else 0
        self.talk_ms = max(0, self.end_ms - self.answer_ms) if self.answer_ms and self.end_ms else 0
        self.tried = " ".join(f"{id}={self._failed[id]}" if id in self._failed else id for id in self._lines)

    def as_dict(self) -> dict[str, str | int]:
        """The record's fields, in their order."""
        return {name: getattr(self, name) for name in FIELDS}


FIELDS = tuple(each.name for each in fields(CallRecord) if not each.name.startswith("_"))


def records(events: Iterable[events_pb2.CallEvent]) -> list[CallRecord]:
    """One record for each call of which there is an event, in the order of their first events."""
    found: dict[str, CallRecord] = {}
    for event in events:
        if event.call_id:
            found.setdefault(event.call_id, CallRecord(event.call_id)).add(event)
    return list(found.values())
