"""Call events as people read them."""

from __future__ import annotations

from signalbox.api.events.v1 import events_pb2
from signalbox.api.types.v1 import recordings_pb2
from signalbox.commands.ruleoptions import short


def describe(event: events_pb2.CallEvent) -> tuple[str, str]:
    """What happened, in a word or two, and the details."""
    kind = event.WhichOneof("event")
    if kind is None:
        return "unknown", "an event of a later release"
    return kind.replace("_", " "), _DETAILS[kind](event)


def milliseconds(event: events_pb2.CallEvent) -> int:
    """When it happened, milliseconds since 1970 UTC."""
    return event.time.ToMilliseconds()


def stamp(event: events_pb2.CallEvent) -> str:
    """When it happened, UTC: 2026-01-31 09:30:00.125."""
    return event.time.ToDatetime().isoformat(sep=" ", timespec="milliseconds")


def _asked(event: events_pb2.CallEvent) -> str:
    asked = event.asked
    caller = asked.calling or "anonymous"
    where = f"on trunk {asked.trunk} from {asked.source_address}, Call-ID {asked.sip_call_id}"
    return f"{caller} → {asked.called} {where}" + (f", for call {asked.parent}" if asked.parent else "")


def _decided(event: events_pb2.CallEvent) -> str:
    decided = event.decided
    source = short(events_pb2.DecisionSource, decided.source).replace("_", " ")
    parts = [f"{decided.action}: {decided.why} (by {source}, {decided.took_ms} ms)"]
    if decided.number:
        parts.append(f"number {decided.number} of {decided.tenant}")
    if decided.media_node:
        parts.append(f"media node {decided.media_node}")
    if decided.unusable_decision:
        parts.append(f"unusable: {decided.unusable_decision}")
    return ", ".join(parts)


def _line_tried(event: events_pb2.CallEvent) -> str:
    tried = event.line_tried
    return f"{tried.line} at {tried.uri}, stage {tried.stage}"


def _ringing(event: events_pb2.CallEvent) -> str:
    return f"{event.ringing.line} ({event.ringing.code})"


def _answered(event: events_pb2.CallEvent) -> str:
    media = f", media node {event.answered.media_node}" if event.answered.media_node else ""
    return event.answered.line + media


def _line_failed(event: events_pb2.CallEvent) -> str:
    failed = event.line_failed
    return f"{failed.line}: {failed.code} {failed.phrase}"


def _failed(event: events_pb2.CallEvent) -> str:
    return f"caller got {event.failed.code} {event.failed.phrase}"


def _connected(event: events_pb2.CallEvent) -> str:
    connected = event.connected
    limit = f", for {connected.max_duration_s} s at most" if connected.max_duration_s else ""
    return f"{connected.line} at {connected.line_contact}, the caller at {connected.caller_contact}{limit}"


def _dialog_changed(event: events_pb2.CallEvent) -> str:
    changed = event.dialog_changed
    contact = f", now at {changed.contact}" if changed.contact else ""
    return f"by the {short(events_pb2.Party, changed.party)}{contact}"


def _recording_started(event: events_pb2.CallEvent) -> str:
    started = event.recording_started
    message = "message to " if started.kind == recordings_pb2.RECORDING_KIND_MESSAGE else ""
    return f"{message}{started.line}, at media node {started.media_node}"


def _hung_up(event: events_pb2.CallEvent) -> str:
    return f"by the {short(events_pb2.Party, event.hung_up.party)}" + (
        f", {event.hung_up.cause}" if event.hung_up.cause else ""
    )


def _events_lost(event: events_pb2.CallEvent) -> str:
    lost = event.events_lost
    return f"{lost.count} events from {lost.first_sequence} on were given up for lack of disk"


def _flow_step(event: events_pb2.CallEvent) -> str:
    step = event.flow_step
    parts = [
        f"{step.kind} {step.node} of flow {step.flow}, revision {step.revision}: {step.outcome or 'the call ended'}"
    ]
    if step.digits:
        parts.append(f"keyed {step.digits}")
    if step.line:
        parts.append(f"line {step.line}")
    return ", ".join([*parts, f"{step.took_ms} ms"])


def _flow_ended(event: events_pb2.CallEvent) -> str:
    ended = event.flow_ended
    code = f", caller got {ended.code}" if ended.code else ""
    return f"cause {ended.cause}{code}" + (f", {ended.detail}" if ended.detail else "")


_DETAILS = {
    "asked": _asked,
    "decided": _decided,
    "line_tried": _line_tried,
    "ringing": _ringing,
    "answered": _answered,
    "line_failed": _line_failed,
    "failed": _failed,
    "hung_up": _hung_up,
    "events_lost": _events_lost,
    "connected": _connected,
    "dialog_changed": _dialog_changed,
    "recording_started": _recording_started,
    "flow_step": _flow_step,
    "flow_ended": _flow_ended,
}
