"""The statements that look for something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from signalbox.catalog import rows
from signalbox.catalog.tables import DELETED, MISSING, PROMISED, STORED, events, recordings

if TYPE_CHECKING:
    from signalbox.catalog.rows import Position, Query

_c = recordings.c
_ROW = (_c.call_id, _c.tenant, _c.state, _c.legal_hold, _c.attempt, _c.object, _c.version, _c.recording)
_BEGUN = (_c.deleting, _c.capture, _c.tidied)


def _constant(value: int) -> sa.BindParameter[int]:
    """Written into the statement: what an index was made for must be known before there are parameters."""
    return sa.literal(value, literal_execute=True)


_OPEN = _c.state == _constant(PROMISED)


def whole() -> sa.Select[Any]:
    """What :mod:`rows` reads."""
    return sa.select(*_ROW)


def begun(call_id: str) -> sa.Select[Any]:
    """The same, and what an attempt is to know; nobody else changes it meanwhile."""
    return sa.select(*_ROW, *_BEGUN).where(_c.call_id == call_id).with_for_update()


def promised(node: int, before_ms: int, after: str, limit: int) -> sa.Select[tuple[str]]:
    """Ids of calls whose promise is open at a node."""
    return (
        sa.select(_c.call_id)
        .where(_OPEN, _c.media_node == node, _c.answer_ms < before_ms, _c.call_id > after)
        .order_by(_c.call_id)
        .limit(limit)
    )


def nodes() -> sa.Select[tuple[int]]:
    """Nodes that promises are open at."""
    return sa.select(_c.media_node).distinct().where(_OPEN).order_by(_c.media_node)


def find(query: Query, limit: int, after: Position | None) -> sa.Select[Any]:
    """Recordings, the latest first."""
    where = [_c.state != DELETED, sa.not_(_c.deleting)]
    for column, value in (
        (_c.tenant, query.tenant),
        (_c.number, query.number),
        (_c.caller, rows.caller(query.caller)),
        (_c.line, query.line),
    ):
        if value:
            where.append(column == rows.text(value))
    if query.start_ms:
        where.append(_c.answer_ms >= query.start_ms)
    if query.end_ms:
        where.append(_c.answer_ms < query.end_ms)
    if query.state:
        where.append(_c.state == _constant(query.state))
    if query.flawed or query.state == MISSING:
        where.append(_c.flawed)
    if after is not None:
        where += [
            _c.answer_ms <= after.answer_ms,
            sa.or_(_c.answer_ms < after.answer_ms, _c.call_id > rows.text(after.call_id)),
        ]
    return whole().where(*where).order_by(_c.answer_ms.desc(), _c.call_id).limit(limit)


def due(now_ms: int, limit: int) -> sa.Select[Any]:
    """Recordings whose time is over."""
    return (
        whole()
        .where(_c.expire_ms <= now_ms, sa.not_(_c.legal_hold), _c.state.in_((STORED, MISSING)))
        .order_by(_c.expire_ms)
        .limit(limit)
    )


def forget_marks(now_ms: int, limit: int) -> sa.Delete:
    """Removes marks of recordings that were deleted long ago."""
    old = sa.select(_c.call_id).where(_c.expire_ms <= now_ms, sa.not_(_c.legal_hold), _c.state == DELETED).limit(limit)
    return sa.delete(recordings).where(_c.call_id.in_(old))


def events_after(tenant: str, call_id: str, after: int, limit: int) -> sa.Select[Any]:
    """Events in their order."""
    asked = sa.select(events).where(events.c.sequence > after)
    if tenant:
        asked = asked.where(events.c.tenant == rows.text(tenant))
    if call_id:
        asked = asked.where(events.c.call_id == rows.text(call_id))
    return asked.order_by(events.c.sequence).limit(limit)
