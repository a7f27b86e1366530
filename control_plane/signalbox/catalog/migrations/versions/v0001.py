"""Recordings and their events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LATEST = sa.text("answer_ms DESC")


def upgrade() -> None:
    """Make the tables."""
    _recordings()
    _recording_events()


def _recordings() -> None:
    op.create_table(
        "recordings",
        sa.Column("call_id", _KEY, primary_key=True),
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("number", _KEY, nullable=False),
        sa.Column("caller", _KEY, nullable=False),
        sa.Column("line", _KEY, nullable=False),
        sa.Column("media_node", sa.BigInteger, nullable=False),
        sa.Column("answer_ms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("flawed", sa.Boolean, nullable=False),
        sa.Column("legal_hold", sa.Boolean, nullable=False),
        sa.Column("expire_ms", sa.BigInteger),
        sa.Column("attempt", sa.BigInteger, nullable=False),
        sa.Column("object", _KEY, nullable=False),
        sa.Column("deleting", sa.Boolean, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("proxy", _KEY, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("facts", sa.LargeBinary, nullable=False),
        sa.Column("recording", sa.LargeBinary, nullable=False),
    )
    op.create_index("recordings_by_time", "recordings", [_LATEST, "call_id"])
    for column in ("tenant", "number", "caller"):
        op.create_index(f"recordings_by_{column}", "recordings", [column, _LATEST, "call_id"])
    _partial("recordings_flawed", [_LATEST, "call_id"], sqlite="flawed = 1", postgresql="flawed")
    _partial("recordings_promised", ["media_node", "call_id"], sqlite="state = 1", postgresql="state = 1")
    _partial("recordings_due", ["expire_ms"], sqlite="legal_hold = 0", postgresql="NOT legal_hold")


def _partial(name: str, columns: list[sa.TextClause | str], sqlite: str, postgresql: str) -> None:
    op.create_index(name, "recordings", columns, sqlite_where=sa.text(sqlite), postgresql_where=sa.text(postgresql))


def _recording_events() -> None:
    op.create_table(
        "recording_events",
        sa.Column("sequence", _SEQUENCE, sa.Identity(always=True), primary_key=True),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("call_id", _KEY, nullable=False),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("recording_events_by_tenant", "recording_events", ["tenant", "sequence"])
    op.create_index("recording_events_by_call", "recording_events", ["call_id", "sequence"])
