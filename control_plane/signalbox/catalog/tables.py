"""The tables. What they look like in a database is made by the migrations; both must agree, which a test compares.

Times are Unix milliseconds. What a search needs is in columns, the rest in messages. Columns rule over messages where
both have it (state, legal hold, version).
"""

from __future__ import annotations

import sqlalchemy as sa

from signalbox.api.types.v1 import recordings_pb2

PROMISED = int(recordings_pb2.RECORDING_STATE_PROMISED)
STORED = int(recordings_pb2.RECORDING_STATE_STORED)
MISSING = int(recordings_pb2.RECORDING_STATE_MISSING)
DELETED = 100
"""State of a mark that stays of a deleted recording for a while: its call id and nothing else. No recording has it."""

CALLER_CHARACTERS = 128
"""So much of a caller is searched for: an index entry of PostgreSQL has 2.7 kB at most."""

metadata = sa.MetaData()

Key = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Text that is ordered by its bytes in both databases."""
Sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Only a column of this very type counts by itself in SQLite; it has 64 bits there all the same."""

recordings = sa.Table(
    "recordings",
    metadata,
    sa.Column("call_id", Key, primary_key=True),
    sa.Column("tenant", Key, nullable=False),
    sa.Column("number", Key, nullable=False),
    sa.Column("caller", Key, nullable=False),
    sa.Column("line", Key, nullable=False),
    sa.Column("media_node", sa.BigInteger, nullable=False),
    sa.Column("answer_ms", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Integer, nullable=False),
    sa.Column("flawed", sa.Boolean, nullable=False),
    sa.Column("legal_hold", sa.Boolean, nullable=False),
    # When it is deleted; null: never. 0 while it is being deleted.
    sa.Column("expire_ms", sa.BigInteger),
    # The latest attempt to store it.
    sa.Column("attempt", sa.BigInteger, nullable=False),
    # Name of the audio in the object store; empty unless it is stored.
    sa.Column("object", Key, nullable=False),
    # True: its objects are being deleted, and nobody is given it any more.
    sa.Column("deleting", sa.Boolean, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    # Where it was promised; empty and 0 if its capture came first.
    sa.Column("proxy", Key, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    # recording.v1.CallFacts, as promised.
    sa.Column("facts", sa.LargeBinary, nullable=False),
    # types.v1.Recording.
    sa.Column("recording", sa.LargeBinary, nullable=False),
    # recording.v1.Capture: beginning and segments of what it was made of; null: not known.
    sa.Column("capture", sa.LargeBinary),
    # The attempt that is stored; 0: none.
    sa.Column("kept", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    # Attempts up to this one have left nothing in the object store.
    sa.Column("tidied", sa.BigInteger, nullable=False, server_default=sa.text("0")),
)
_c = recordings.c
sa.Index("recordings_by_time", _c.answer_ms.desc(), _c.call_id)
sa.Index("recordings_by_tenant", _c.tenant, _c.answer_ms.desc(), _c.call_id)
sa.Index("recordings_by_number", _c.number, _c.answer_ms.desc(), _c.call_id)
sa.Index("recordings_by_caller", _c.caller, _c.answer_ms.desc(), _c.call_id)
# Few rows are in these, of millions.
sa.Index(
    "recordings_flawed",
    _c.answer_ms.desc(),
    _c.call_id,
    sqlite_where=sa.text("flawed = 1"),
    postgresql_where=sa.text("flawed"),
)
sa.Index(
    "recordings_promised",
    _c.media_node,
    _c.call_id,
    sqlite_where=sa.text("state = 1"),
    postgresql_where=sa.text("state = 1"),
)
sa.Index(
    "recordings_due",
    _c.expire_ms,
    sqlite_where=sa.text("legal_hold = 0"),
    postgresql_where=sa.text("NOT legal_hold"),
)

events = sa.Table(
    "recording_events",
    metadata,
    sa.Column("sequence", Sequence, sa.Identity(always=True), primary_key=True),
    sa.Column("time_ms", sa.BigInteger, nullable=False),
    sa.Column("tenant", Key, nullable=False),
    sa.Column("call_id", Key, nullable=False),
    sa.Column("kind", sa.Integer, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("detail", sa.String, nullable=False),
    # A sequence is never given twice, even if the latest events were deleted.
    sqlite_autoincrement=True,
)
sa.Index("recording_events_by_tenant", events.c.tenant, events.c.sequence)
sa.Index("recording_events_by_call", events.c.call_id, events.c.sequence)
