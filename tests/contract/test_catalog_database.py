"""The database of recordings: how it is made, brought up to date and reached, and what is told when it is away."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sqlite3
import stat
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from signalbox.api.types.v1 import recordings_pb2 as pb
from signalbox.catalog import schema, tables
from signalbox.catalog.catalog import Catalog, Query
from signalbox.errors import ConfigurationError, DatabaseUnavailableError
from signalbox.settings.shared import ClientTlsSettings, DatabaseSettings
from sqlalchemy.exc import DBAPIError, IntegrityError
from support.catalogs import capture, facts, memory_path, opened, promise, store  # noqa: F401  (a fixture)
from support.etcd import make_tls
from support.ports import free_address
from support.postgres import NAME, PASSWORD, STRICT, PostgresServer, postgres_server  # noqa: F401  (a fixture)

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

ACCESSED = pb.RECORDING_EVENT_KIND_ACCESSED
SHORT_S = 0.4
LONG_S = 20.0
"""An answer that takes longer did not come from the time limit."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a database of SQLite is to be."""
    return tmp_path / "var" / "signalbox.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, file: Path) -> DatabaseSettings:
    """An empty database."""
    if request.param == "sqlite":
        return of_file(file)
    made: DatabaseSettings = request.getfixturevalue("postgres_server").database()
    return made


def of_file(file: Path, **settings: Any) -> DatabaseSettings:
    return DatabaseSettings(url=f"sqlite:///{file}", **settings)


def mode(file: os.DirEntry[str]) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def with_url(settings: DatabaseSettings, **parts: Any) -> DatabaseSettings:
    url = sa.make_url(settings.url).set(**parts).render_as_string(hide_password=False)
    return settings.model_copy(update={"url": url})


async def test_a_file_is_made_for_its_owner_alone_and_kept(file: Path) -> None:
    async with opened(of_file(file)) as catalog:
        await catalog.promise([promise()])
        assert {mode(part) for part in os.scandir(file.parent)} == {0o600}
    async with opened(of_file(file)) as catalog:
        assert await catalog.get("c1") is not None


async def test_many_that_start_at_once_find_the_tables_made(settings: DatabaseSettings) -> None:
    catalogs = await asyncio.gather(*(Catalog.open(settings) for _ in range(5)))
    for number, catalog in enumerate(catalogs):
        await catalog.promise([promise(f"c{number}")])
    assert len(await catalogs[0].find(Query(), 10, None)) == 5
    await asyncio.gather(*(catalog.close() for catalog in catalogs))


async def test_the_migrations_make_what_the_statements_expect(settings: DatabaseSettings) -> None:
    def differences(connection: Connection) -> list[Any]:
        options = {"version_table": schema.VERSION_TABLE}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata))

    async with opened(settings) as catalog, catalog.database.writing() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_database_of_the_first_version_keeps_what_it_has(settings: DatabaseSettings) -> None:
    async with opened(settings) as catalog:
        found = await store(catalog, facts())
        async with catalog.database.writing() as connection:
            for column in ("capture", "kept", "tidied"):
                await connection.execute(sa.text(f"ALTER TABLE recordings DROP COLUMN {column}"))
            await connection.execute(sa.text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '0001'"))
    async with opened(settings) as catalog:
        assert await catalog.get("c1") == found
        begun = await catalog.begin(facts(), capture(100))
        assert (begun.stored, begun.severed, begun.tidied) == (found.recording, False, 0)


async def test_a_database_that_is_newer_than_the_program_is_refused(settings: DatabaseSettings) -> None:
    async with opened(settings) as catalog, catalog.database.writing() as connection:
        await connection.execute(sa.text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match=r"of version 9999, .* up to version \d{4}"):
        await Catalog.open(settings)


async def test_a_server_has_a_clock_and_a_file_has_none(settings: DatabaseSettings) -> None:
    async with opened(settings) as catalog:
        before = time.time_ns() // 1_000_000
        told = await catalog.database.clock_ms()
        if catalog.database.is_sqlite:
            assert told is None
        else:
            assert told is not None
            assert before - 1 <= told <= time.time_ns() // 1_000_000 + 1


async def test_a_statement_that_is_wrong_is_not_taken_for_a_failure(settings: DatabaseSettings) -> None:
    async with opened(settings) as catalog:
        with pytest.raises(DBAPIError, match="nowhere"):
            async with catalog.database.reading() as connection:
                await connection.execute(sa.text("SELECT * FROM nowhere"))
        with pytest.raises(IntegrityError):
            async with catalog.database.writing() as connection:
                await connection.execute(sa.text("INSERT INTO recordings (call_id) VALUES ('c1')"))
        await catalog.ping()


async def test_who_waits_too_long_for_a_connection_is_told(settings: DatabaseSettings) -> None:
    narrow = settings.model_copy(update={"connections": 1})
    async with opened(narrow) as catalog:
        async with catalog.database.reading():
            catalog.database.timeout_s = SHORT_S
            with pytest.raises(DatabaseUnavailableError, match=r"0\.4 s"):
                await catalog.ping()
        catalog.database.timeout_s = LONG_S
        await catalog.ping()


async def test_who_is_cancelled_leaves_no_connection_and_no_lock_behind(settings: DatabaseSettings) -> None:
    async with opened(settings.model_copy(update={"connections": 2})) as catalog:
        for step in range(60):
            both = [asyncio.create_task(catalog.promise([promise()])), asyncio.create_task(catalog.get("c1"))]
            await asyncio.sleep(step / 20_000)
            for one in both:
                one.cancel()
            await asyncio.wait(both)
        # What was left behind is told of as a warning.
        gc.collect()
        await catalog.promise([promise("c2")])
        assert await catalog.get("c2") is not None


# --- SQLite -----------------------------------------------------------------------------------------------------


async def test_a_file_that_another_writes_for_long_is_unavailable_for_writes_and_read_all_the_same(file: Path) -> None:
    async with opened(of_file(file, connections=1)) as catalog:
        async with catalog.database.writing() as connection:
            await connection.exec_driver_sql(f"PRAGMA busy_timeout = {SHORT_S * 1000:.0f}")
        with closing(sqlite3.connect(file)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseUnavailableError, match="locked"):
                await catalog.promise([promise()])
            assert await catalog.get("c1") is None
            other.rollback()
        await catalog.promise([promise()])


async def test_a_file_that_has_no_room_is_unavailable_until_it_has(file: Path) -> None:
    async with opened(of_file(file, connections=1)) as catalog:
        async with catalog.database.writing() as connection:
            await connection.exec_driver_sql("PRAGMA max_page_count = 1")
        many = [promise(f"c{number}") for number in range(1_000)]
        with pytest.raises(DatabaseUnavailableError, match="full"):
            await catalog.promise(many)
        assert await catalog.find(Query(), 1, None) == []
        async with catalog.database.writing() as connection:
            await connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        await catalog.promise(many)


async def test_a_file_whose_tables_another_makes_for_long_is_unavailable(file: Path) -> None:
    async with opened(of_file(file)):
        pass
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailableError):
            await Catalog.open(of_file(file, timeout_s=SHORT_S))


async def test_a_new_file_that_another_has_for_itself_is_waited_for(file: Path) -> None:
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseUnavailableError, match="locked"):
            await Catalog.open(of_file(file, timeout_s=SHORT_S))
        opening = asyncio.create_task(Catalog.open(of_file(file)))
        await asyncio.sleep(0)
        other.rollback()
    await (await opening).close()


def test_a_file_that_is_no_database_is_refused(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"This is no database." * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        asyncio.run(Catalog.open(of_file(file)))


async def test_a_place_that_cannot_be_made_is_refused(file: Path) -> None:
    file.parent.write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"database\.url: .*signalbox\.db"):
        await Catalog.open(of_file(file))


async def test_a_file_that_is_damaged_is_unavailable(file: Path) -> None:
    async with opened(of_file(file)):
        pass
    with file.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"\xff" * 65536)
    with pytest.raises(DatabaseUnavailableError, match="malformed"):
        await Catalog.open(of_file(file))


# --- PostgreSQL -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///:memory:",
        "sqlite:///var/x.db?mode=ro",
        "postgresql://signalbox:secret@127.0.0.1/x",
        "postgresql://a@b/c?sslmode=disable",
        "postgresql://a@b:port/c",
    ],
)
async def test_a_url_that_says_what_other_settings_say_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"database\.url") as refused:
        await Catalog.open(DatabaseSettings(url=url))
    assert "secret" not in str(refused.value)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(DatabaseUnavailableError):
        await Catalog.open(DatabaseSettings(url=f"postgresql://signalbox@{free_address()}/x"))


async def test_a_server_that_does_not_answer_is_unavailable_when_the_time_is_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        settings = DatabaseSettings(url=f"postgresql://signalbox@{host}:{port}/x", timeout_s=SHORT_S)
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailableError):
            await Catalog.open(settings)
        assert time.monotonic() - began < LONG_S


async def test_a_database_or_user_that_is_not_there_is_refused(postgres_server: PostgresServer) -> None:  # noqa: F811
    settings = await asyncio.to_thread(postgres_server.database)
    for part in ({"database": "nowhere"}, {"username": "nobody"}):
        with pytest.raises(ConfigurationError, match=r"database\.url: .*nobody|nowhere"):
            await Catalog.open(with_url(settings, **part))


async def test_a_server_that_was_killed_is_unavailable_until_it_is_back(postgres_server: PostgresServer) -> None:  # noqa: F811
    settings = await asyncio.to_thread(postgres_server.database)
    async with opened(settings) as catalog:
        await catalog.promise([promise()])

        async def killed_on_the_way() -> None:
            async with catalog.database.writing() as connection:
                await connection.execute(sa.text("SELECT 1"))
                await asyncio.to_thread(postgres_server.kill)

        with pytest.raises(DatabaseUnavailableError):
            await killed_on_the_way()
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError):
                await catalog.get("c1")
        await asyncio.to_thread(postgres_server.start)
        assert await catalog.get("c1") is not None


async def test_rows_that_another_locks_for_long_are_unavailable(postgres_server: PostgresServer) -> None:  # noqa: F811
    settings = await asyncio.to_thread(postgres_server.database)
    async with opened(settings) as other, opened(settings) as catalog:
        async with other.database.writing() as connection:
            await connection.execute(sa.text("LOCK TABLE recordings"))
            catalog.database.timeout_s = SHORT_S
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailableError, match=r"0\.4 s"):
                await catalog.promise([promise()])
            assert time.monotonic() - began < LONG_S
        catalog.database.timeout_s = LONG_S
        await catalog.promise([promise()])
        assert await catalog.get("c1") is not None


async def test_an_event_that_is_committed_late_has_no_lower_sequence_than_one_that_was_read(
    postgres_server: PostgresServer,  # noqa: F811
) -> None:
    settings = await asyncio.to_thread(postgres_server.database)
    async with opened(settings) as catalog:
        async with catalog.database.writing() as connection:
            await catalog.append(connection, ACCESSED, "acme", "first", "", "")
            second = asyncio.create_task(catalog.event(ACCESSED, "acme", "second", "", ""))
            await _waits_for_lock(catalog)
            assert await catalog.events("", "", 0, 10) == []
            assert not second.done()
        await second
        events = await catalog.events("", "", 0, 10)
    assert [event.call_id for event in events] == ["first", "second"]


async def _waits_for_lock(catalog: Catalog) -> None:
    asked = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    async with asyncio.timeout(LONG_S):
        while True:
            async with catalog.database.reading() as connection:
                if await connection.scalar(asked):
                    return


async def test_tls_is_used_and_the_password_read_for_every_connection(
    postgres_server: PostgresServer,  # noqa: F811
    tmp_path: Path,
) -> None:
    def prepare() -> DatabaseSettings:
        settings = postgres_server.database()
        postgres_server.sql(f"CREATE ROLE {STRICT} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        return with_url(settings, username=STRICT)

    password = tmp_path / "password"
    password.write_text("wrong\n")
    plain = await asyncio.to_thread(prepare)
    tls = ClientTlsSettings(ca_file=postgres_server.tls.ca, server_name=NAME)
    strict = plain.model_copy(update={"tls": tls, "password_file": password})
    with pytest.raises(ConfigurationError, match="password"):
        await Catalog.open(strict)
    password.write_text(f"{PASSWORD}\n")
    async with opened(strict) as catalog, catalog.database.reading() as connection:
        assert await connection.scalar(sa.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
    with pytest.raises(ConfigurationError, match="no encryption"):
        await Catalog.open(plain.model_copy(update={"password_file": password}))
    other = await asyncio.to_thread(make_tls, tmp_path / "other")
    for wrong in (tls.model_copy(update={"server_name": None}), ClientTlsSettings(ca_file=other.ca, server_name=NAME)):
        with pytest.raises(DatabaseUnavailableError, match="certificate verify failed"):
            await Catalog.open(strict.model_copy(update={"tls": wrong}))


async def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    settings = DatabaseSettings(url="postgresql://signalbox@127.0.0.1/x")
    away = tmp_path / "away"
    with pytest.raises(ConfigurationError, match=r"database\.password_file: .*away"):
        await Catalog.open(settings.model_copy(update={"password_file": away}))
    with pytest.raises(ConfigurationError, match=r"database\.tls: "):
        await Catalog.open(settings.model_copy(update={"tls": ClientTlsSettings(ca_file=away)}))
