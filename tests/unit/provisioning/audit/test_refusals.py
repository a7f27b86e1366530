"""How many records refusals leave, whoever is refused and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import audit_pb2
from signalbox.provisioning.audit import refusals
from signalbox.provisioning.audit.refusals import PERIOD, PLACES, Refusals

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

T0 = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def refusal(id: str = "a", actor: str = "api-key acme/admin", method: str = "DeleteLine") -> audit_pb2.AuditRecord:
    record = audit_pb2.AuditRecord(
        actor=audit_pb2.AuditActor(name=actor, tenant="acme", peer="ipv4:192.0.2.7:40112"), method=method
    )
    record.time.FromDatetime(T0)
    record.refusal.reason, record.refusal.tenant, record.refusal.id = "PERMISSION_REFUSED", "best", id
    return record


def stranger(host: str, id: str = "a") -> audit_pb2.AuditRecord:
    record = refusal(id, "anonymous")
    record.refusal.reason, record.actor.peer, record.actor.tenant = "CREDENTIALS_REFUSED", f"ipv4:{host}:40112", ""
    return record


def told(records: Sequence[audit_pb2.AuditRecord]) -> list[tuple[str, str, int]]:
    return [(one.method, one.refusal.id, one.refusal.times) for one in records]


def test_the_first_is_told_at_once_and_those_like_it_after_a_minute_with_their_number() -> None:
    waiting = Refusals()
    waiting.add(refusal(), T0)
    [first] = waiting.take(T0)
    assert first.refusal.times == 1
    assert not first.refusal.HasField("last_time")
    for n in range(1, 4):
        waiting.add(refusal(), T0 + n * SECOND)
        assert not waiting.take(T0 + n * SECOND)
    [rest] = waiting.take(T0 + PERIOD)
    assert rest.refusal.times == 3
    assert rest.refusal.last_time.ToDatetime(UTC) == T0 + 3 * SECOND
    assert not waiting.take(T0 + 2 * PERIOD)


def test_other_methods_objects_and_actors_are_told_apart() -> None:
    waiting = Refusals()
    for one in (refusal("a"), refusal("b"), refusal("a", method="UpdateLine"), refusal("a", "api-key acme/other")):
        waiting.add(one, T0)
    assert told(waiting.take(T0)) == [
        ("DeleteLine", "a", 1), ("DeleteLine", "b", 1), ("UpdateLine", "a", 1), ("DeleteLine", "a", 1),
    ]  # fmt: skip


def test_who_tries_very_many_objects_has_the_rest_told_together() -> None:
    waiting = Refusals()
    for n in range(10_000):
        waiting.add(refusal(f"line-{n}"), T0)
    records = waiting.take(T0)
    assert len(records) == PLACES + 1
    assert told(records)[-1] == ("", "", 10_000 - PLACES)
    assert not records[-1].refusal.tenant
    for second in range(120):
        for n in range(100):
            waiting.add(refusal(f"line-{second}-{n}"), T0 + second * SECOND)
        records += waiting.take(T0 + second * SECOND)
    records += waiting.take(T0 + 120 * SECOND, early=True)
    assert sum(one.refusal.times for one in records) == 22_000
    assert len(records) <= 5 * (PLACES + 1)


def test_of_somebody_unknown_hosts_are_told_and_nothing_that_he_wrote() -> None:
    waiting = Refusals()
    for n in range(100):
        waiting.add(stranger("192.0.2.7", f"made-up-{n}"), T0)
    waiting.add(stranger("192.0.2.8"), T0)
    records = waiting.take(T0)
    assert told(records) == [("DeleteLine", "", 100), ("DeleteLine", "", 1)]
    assert not any(one.refusal.tenant for one in records)


def test_who_comes_back_after_a_minute_is_told_at_once_again() -> None:
    waiting = Refusals()
    for n in range(3):
        at = T0 + n * 2 * PERIOD
        waiting.add(refusal(), at)
        assert told(waiting.take(at)) == [("DeleteLine", "a", 1)]


def test_what_has_not_had_its_minute_is_told_at_the_end() -> None:
    waiting = Refusals()
    waiting.add(refusal(), T0)
    waiting.take(T0)
    waiting.add(refusal(), T0)
    assert told(waiting.take(T0, early=True)) == [("DeleteLine", "a", 1)]


def test_many_records_come_in_batches() -> None:
    waiting = Refusals()
    for n in range(250):
        waiting.add(refusal(actor=f"api-key acme/{n}"), T0)
    assert [len(waiting.take(T0)) for _ in range(4)] == [100, 100, 50, 0]


def test_of_too_many_actors_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "ACTORS", 2)
    waiting = Refusals()
    for n in range(5):
        waiting.add(refusal(actor=f"api-key acme/{n}"), T0)
    assert [one.refusal.unrecorded for one in waiting.take(T0)] == [0, 0]
    later = T0 + PERIOD
    waiting.add(refusal(actor="api-key acme/9"), later)
    assert [one.refusal.unrecorded for one in waiting.take(later)] == [3]
