"""Finds records by object, actor, time and method: an SQLite file beside the segments, made of nothing but them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.errors import SignalboxError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from signalbox.api.types.v1 import audit_pb2

NAME = "index.sqlite"
_VERSION = 1
_BUSY_S = 10.0
_SCHEMA = """
-- Every index ends with the sequence, as it is the table's key.
CREATE TABLE records (
    sequence INTEGER PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL, time INTEGER NOT NULL,
    actor TEXT NOT NULL, tenant TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
    method TEXT NOT NULL, refused INTEGER NOT NULL
) STRICT;
CREATE INDEX by_object ON records (id, kind);
CREATE INDEX by_tenant ON records (tenant);
CREATE INDEX by_actor ON records (actor);
CREATE INDEX by_method ON records (method);
CREATE INDEX by_time ON records (time);
CREATE INDEX by_refusal ON records (refused) WHERE refused = 1;
"""


class IndexFailedError(SignalboxError):
    """The index cannot be read or written, perhaps for lack of space."""


class IndexDamagedError(IndexFailedError):
    """The index is not what it was: make it anew."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is: its segment's first sequence, and the offset of its frame, bytes."""

    sequence: int
    segment: int
    offset: int


@dataclass(frozen=True)
class Query:
    """Which records are wanted; what is empty or None does not matter. Times are nanoseconds since 1970."""

    tenant: str = ""
    kind: str = ""
    id: str = ""
    actor: str = ""
    method: str = ""
    begin: int | None = None
    end: int | None = None
    refused: bool = False

    def where(self) -> tuple[str, list[object]]:
        """The condition in SQL, and its values."""
        terms: list[str] = []
        values: list[object] = []
        for column in ("tenant", "kind", "id", "actor", "method"):
            if value := getattr(self, column):
                terms.append(f"{column} = ?")
                values.append(value)
        for condition, moment in (("time >= ?", self.begin), ("time < ?", self.end)):
            if moment is not None:
                terms.append(condition)
                values.append(moment)
        if self.refused:
            terms.append("refused = 1")
        return " AND ".join(terms) or "1", values


class Index:
    """One open index. Not to be used by two threads at once. Methods raise IndexFailedError."""

    def __init__(self, directory: Path) -> None:
        """Opens it, or makes an empty one."""
        self._path = directory / NAME
        try:
            self._open()
        except sqlite3.Error:
            self.clear()

    def _open(self) -> None:
        self._database = sqlite3.connect(self._path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
        # The last records may be lost with the machine, for they are in the segments; the file stays whole.
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("PRAGMA journal_mode = WAL")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version != _VERSION:
            if version or self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise sqlite3.DatabaseError(f"an index of version {version}")
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")

    def clear(self) -> None:
        """Begin again with an empty one."""
        self.close()
        for suffix in ("", "-wal", "-shm", "-journal"):
            self._path.with_name(NAME + suffix).unlink(missing_ok=True)
        try:
            self._open()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> IndexFailedError:
        # A full disk and a file that cannot be opened are operational errors; a damaged file is none.
        kind = IndexFailedError if isinstance(error, sqlite3.OperationalError) else IndexDamagedError
        return kind(f"{self._path}: {error}")

    def close(self) -> None:
        """Close it."""
        if hasattr(self, "_database"):
            self._database.close()

    def last(self) -> Place | None:
        """Of all records that it knows, the last."""
        found = self._read("SELECT sequence, segment, offset FROM records ORDER BY sequence DESC LIMIT 1", [])
        return found[0] if found else None

    def add(self, records: Iterable[tuple[Place, audit_pb2.AuditRecord]]) -> None:
        """Know these records too, all or none."""
        rows = [_row(place, record) for place, record in records]
        try:
            self._database.execute("BEGIN")
            try:
                marks = ", ".join("?" * 10)
                self._database.executemany(f"INSERT OR REPLACE INTO records VALUES ({marks})", rows)
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def forget(self, *, before: int = 0, after: int | None = None) -> None:
        """Forget the records before a sequence, and those after one."""
        try:
            self._database.execute(
                "DELETE FROM records WHERE sequence < ? OR sequence > ?", [before, 2**62 if after is None else after]
            )
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def find(self, query: Query, before: int | None, limit: int) -> Sequence[Place]:
        """The latest records of a query that come before a sequence (None: all)."""
        where, values = query.where()
        if before is not None:
            where, values = f"{where} AND sequence < ?", [*values, before]
        text = f"SELECT sequence, segment, offset FROM records WHERE {where} ORDER BY sequence DESC LIMIT ?"
        return self._read(text, [*values, limit])

    def at_or_before(self, sequence: int) -> Place | None:
        """The record, or if it is not known the last one before it."""
        text = "SELECT sequence, segment, offset FROM records WHERE sequence <= ? ORDER BY sequence DESC LIMIT 1"
        found = self._read(text, [sequence])
        return found[0] if found else None

    def newest(self, begin: int, end: int) -> int | None:
        """Latest time of the records from a sequence on and before another, nanoseconds since 1970; None: there are
        none."""
        try:
            text = "SELECT max(time) FROM records WHERE sequence >= ? AND sequence < ?"
            found: int | None = self._database.execute(text, [begin, end]).fetchone()[0]
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return found

    def _read(self, text: str, values: Sequence[object]) -> Sequence[Place]:
        try:
            return [Place(*row) for row in self._database.execute(text, values)]
        except sqlite3.Error as error:
            raise self._failed(error) from error


def owner(record: audit_pb2.AuditRecord) -> str:
    """The tenant that may see a record; "": the operator alone.

    A refusal belongs to who was refused: another tenant need not know who tried what. He himself must not learn from it
    that there is what he was told does not exist.
    """
    if record.HasField("refusal"):
        return "" if record.refusal.hidden else record.actor.tenant
    return record.change.tenant


def _row(place: Place, record: audit_pb2.AuditRecord) -> tuple[object, ...]:
    refused = record.HasField("refusal")
    change, refusal = record.change, record.refusal
    return (
        place.sequence,
        place.segment,
        place.offset,
        record.time.ToNanoseconds(),
        record.actor.name,
        owner(record),
        "" if refused else change.kind,
        refusal.id if refused else change.id,
        record.method,
        int(refused),
    )
