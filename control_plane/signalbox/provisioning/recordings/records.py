"""What the audit log and the events are told of recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalbox.api.types.v1 import audit_pb2, recordings_pb2
from signalbox.provisioning.audit import changes

if TYPE_CHECKING:
    from signalbox.provisioning.access import Principal

RESOURCE = "recording"

_OPERATOR = "operator"


def change(recording: recordings_pb2.Recording, **did: Any) -> audit_pb2.AuditChange:
    """What was done with a recording that changed nothing that is known of it; ``did``: the field that says what."""
    return audit_pb2.AuditChange(kind=RESOURCE, tenant=recording.tenant, id=recording.call_id, **did)


def changed(before: recordings_pb2.Recording, after: recordings_pb2.Recording | None) -> audit_pb2.AuditChange:
    """What a recording was and is; None: it is deleted.

    Who called is left out. The log outlives the recording, and that is not what it is kept for.
    """
    return changes.between(_without_caller(before), after and _without_caller(after), before.call_id)


def _without_caller(recording: recordings_pb2.Recording) -> recordings_pb2.Recording:
    told = recordings_pb2.Recording()
    told.CopyFrom(recording)
    told.ClearField("caller")
    return told


def actor(principal: Principal) -> str:
    """Who does something, for an event."""
    return f"{_OPERATOR} {principal.actor}" if principal.is_operator else principal.actor


def told(event: recordings_pb2.RecordingEvent, principal: Principal) -> recordings_pb2.RecordingEvent:
    """An event as somebody is told it: to a tenant all of the operator's people are the operator, as in the log."""
    role, _, name = event.actor.partition(" ")
    if role == _OPERATOR:
        event.actor = name if principal.is_operator else _OPERATOR
    return event


def plain(value: Any) -> str:
    """Name of a state without its prefix: "stored"."""
    return recordings_pb2.RecordingState.Name(value).removeprefix("RECORDING_STATE_").lower()
