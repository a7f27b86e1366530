"""A connection pool of SQLite or PostgreSQL, whose errors are ours."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import ssl
import time
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from signalbox.catalog import schema
from signalbox.catalog.failures import asked_wrongly, refused_for_good
from signalbox.errors import ConfigurationError, DatabaseUnavailableError
from signalbox.tlsfiles import TlsFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

    from signalbox.settings.shared import ClientTlsSettings, DatabaseSettings
    from signalbox.tlsfiles import Material

BUSY_SHARE = 0.8
"""How much of the time limit SQLite waits for others: it must give up before we do, for it cannot be cancelled."""
RETRY_S = 0.02

_READ = "signalbox_read"
"""Option of a connection of SQLite: no transaction is begun."""


class Database:
    """Transactions within the time limit, and the 2 s that a frozen server's connection takes to be let go.

    Who uses it sees DatabaseUnavailableError, or errors that are bugs.
    """

    def __init__(self, engine: AsyncEngine, timeout_s: float) -> None:
        self._engine = engine
        # A read is one statement, which needs no transaction. SQLAlchemy's own option is a statement in SQLite, and who
        # is cancelled at that leaves the connection behind.
        option = {_READ: True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reads = engine.execution_options(**option)
        self.timeout_s = timeout_s
        # SQLite lets one write at a time and makes the others poll, which starves them: within a process they queue.
        self._turn: AbstractAsyncContextManager[Any] = asyncio.Lock() if self.is_sqlite else nullcontext()

    @classmethod
    async def open(cls, settings: DatabaseSettings) -> Database:
        """The database of the settings, its schema up to date. Raises ConfigurationError, DatabaseUnavailableError."""
        database = cls(_engine(settings), settings.timeout_s)
        try:
            if database.is_sqlite:
                await asyncio.to_thread(_make_file, _path(settings), settings.timeout_s * BUSY_SHARE)
            await database._upgrade()
        except BaseException:
            await database.close()
            raise
        return database

    @property
    def is_sqlite(self) -> bool:
        """True: a file; false: PostgreSQL."""
        return self._engine.dialect.name == "sqlite"

    async def clock_ms(self) -> int | None:
        """The server's clock, Unix milliseconds; None: there is no server. Raises DatabaseUnavailableError."""
        if self.is_sqlite:
            return None
        async with self.reading() as connection:
            return int(await connection.scalar(sa.select(sa.extract("epoch", sa.func.clock_timestamp()) * 1000)) or 0)

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one statement that reads."""
        async with self._connection(self._reads) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, which is committed at the end, or undone if there is an error."""
        async with self._connection(self._engine, self._turn) as connection:
            yield connection

    @asynccontextmanager
    async def _connection(
        self, engine: AsyncEngine, turn: AbstractAsyncContextManager[Any] | None = None
    ) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(self.timeout_s), turn or nullcontext(), engine.begin() as connection:
                yield connection
        except TimeoutError as error:
            raise DatabaseUnavailableError(f"the database took longer than {self.timeout_s:g} s") from error
        except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            if asked_wrongly(error):
                raise
            raise DatabaseUnavailableError(f"database: {_text(error)}") from error

    async def _upgrade(self) -> None:
        try:
            async with self.writing() as connection:
                await connection.run_sync(schema.upgrade)
        except DatabaseUnavailableError as error:
            if error.__cause__ and refused_for_good(error.__cause__):
                raise ConfigurationError(f"database.url: {_text(error.__cause__)}") from error
            raise


def _text(error: BaseException) -> str:
    """What the driver said, without the statement, whose parameters are of callers."""
    return str(getattr(error, "orig", error)).strip()


def _engine(settings: DatabaseSettings) -> AsyncEngine:
    """Connects when it is used."""
    try:
        url = sa.make_url(settings.url)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError("database.url: it is not a URL") from error
    pool: dict[str, Any] = {"pool_size": settings.connections, "max_overflow": 0, "pool_timeout": settings.timeout_s}
    if url.drivername == "sqlite":
        if url.query or url.database == ":memory:":
            raise ConfigurationError("database.url: SQLite is to have the path of a file and nothing else")
        engine = create_async_engine(
            url.set(drivername="sqlite+aiosqlite"),
            connect_args={"timeout": settings.timeout_s * BUSY_SHARE},
            **pool,
        )
        sa.event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        sa.event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    if url.query or url.password is not None:
        raise ConfigurationError(
            "database.url: nothing may follow the database's name, and the password belongs in database.password_file"
        )
    return create_async_engine(
        url.set(drivername="postgresql+asyncpg"), connect_args=_postgresql(settings), pool_pre_ping=True, **pool
    )


def _postgresql(settings: DatabaseSettings) -> dict[str, Any]:
    """Arguments of asyncpg."""
    arguments: dict[str, Any] = {
        "timeout": settings.timeout_s,
        # Explicitly: else the environment decides.
        "ssl": _tls(settings.tls) if settings.tls.enabled else False,
        "server_settings": {"application_name": "signalbox"},
    }
    if settings.password_file is not None:
        read = _password(settings.password_file)
        try:
            read()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"database.password_file: {error}") from error
        # Read anew for every connection: it may have been changed.
        arguments["password"] = read
    return arguments


def _password(file: Path) -> Callable[[], str]:
    return lambda: file.read_text(encoding="utf-8").strip()


class _Context(ssl.SSLContext):
    """Expects a certificate of a name that is not that of the address, and takes files that were renewed."""

    expected: str | None = None
    files: TlsFiles
    _taken: Material | None = None

    def take(self) -> None:
        """The files as they are now. Raises OSError, SSLError."""
        material = self.files.material
        if material is not self._taken:
            assert material.ca is not None
            self.load_verify_locations(cadata=material.ca.decode())
            if self.files.cert is not None:
                self.load_cert_chain(self.files.cert, self.files.key)
            self._taken = material

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As SSLContext does."""
        self.take()
        return super().wrap_bio(incoming, outgoing, server_side, self.expected or server_hostname, session)


def _tls(tls: ClientTlsSettings) -> ssl.SSLContext:
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.expected = tls.server_name
    context.files = TlsFiles("database.tls", ca=tls.ca_file, cert=tls.cert_file, key=tls.key_file)
    try:
        context.take()
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"database.tls: {error}") from error
    return context


# --- SQLite -----------------------------------------------------------------------------------------------------


def _path(settings: DatabaseSettings) -> Path:
    return Path(sa.make_url(settings.url).database or "")


def _make_file(path: Path, timeout_s: float) -> None:
    """An empty database for us alone if there is none; write-ahead, so that who reads waits for nobody."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _write_ahead(path, time.monotonic() + timeout_s)
    except (OSError, sqlite3.DatabaseError) as error:
        raise ConfigurationError(f"database.url: {path}: {error}") from error


def _write_ahead(path: Path, deadline: float) -> None:
    """Of several that do it at once SQLite refuses some without waiting."""
    while True:
        connection = sqlite3.connect(path, timeout=0)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if time.monotonic() > deadline:
                raise DatabaseUnavailableError(f"database: {error}") from error
        finally:
            connection.close()
        time.sleep(RETRY_S)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # What was answered outlives a failure of power: only then may a capture be deleted.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """A transaction that is to write takes the lock at its beginning: who reads first may not write any more later."""
    if not connection.get_execution_options().get(_READ):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
