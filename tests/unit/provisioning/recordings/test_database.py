"""A database that cannot be reached keeps nothing else from being served; it is tried again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.errors import ConfigurationError, DatabaseUnavailableError
from signalbox.provisioning.recordings import database as opening
from signalbox.provisioning.recordings.database import Database
from signalbox.settings import DatabaseSettings
from support.ports import free_port
from support.recordings import database
from support.stores import until

if TYPE_CHECKING:
    from pathlib import Path


class Opened:
    """A catalog, as far as it is closed."""

    closed = False

    async def close(self) -> None:
        self.closed = True


class Opening:
    """In place of the catalog: opens as it is told."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.hanging = asyncio.Event()
        self.hanging.set()
        self.opened = Opened()

    async def open(self, settings: DatabaseSettings) -> Any:
        await self.hanging.wait()
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return self.opened


def there(made: Database) -> bool:
    try:
        made.catalog()
    except DatabaseUnavailableError:
        return False
    return True


async def test_a_database_that_is_there_is_open_from_the_start(tmp_path: Path) -> None:
    made = Database(database(tmp_path))
    with pytest.raises(DatabaseUnavailableError, match="is being opened"):
        made.catalog()
    await made.start()
    await made.catalog().ping()
    await made.close()


async def test_one_that_is_away_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    away = DatabaseUnavailableError("database: no route to host")
    outcomes = Opening(away, away, ConfigurationError("database.url: wrong password"), None)
    monkeypatch.setattr(opening, "Catalog", outcomes)
    made = Database(DatabaseSettings(), retry_s=0.01)
    await made.start()
    with pytest.raises(DatabaseUnavailableError, match="no route to host"):
        made.catalog()
    running = asyncio.create_task(made.run())
    await until(lambda: there(made), "the database")
    assert not running.done(), "it must live as long as the process"
    running.cancel()
    await asyncio.wait({running})
    await made.close()
    assert outcomes.opened.closed


async def test_one_that_is_slow_does_not_hold_the_start_up(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = Opening(None)
    outcomes.hanging.clear()
    monkeypatch.setattr(opening, "Catalog", outcomes)
    made = Database(DatabaseSettings())
    await made.start(wait_s=0.01)
    assert not there(made)
    running = asyncio.create_task(made.run())
    outcomes.hanging.set()
    await until(lambda: there(made), "the database")
    running.cancel()
    await asyncio.wait({running})
    await made.close()


async def test_a_setting_that_is_wrong_ends_the_start(tmp_path: Path) -> None:
    made = Database(DatabaseSettings(url=f"sqlite:///{tmp_path}"))
    with pytest.raises(ConfigurationError):
        await made.start()
    await made.close()


async def test_what_is_being_opened_is_given_up_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = Opening(None)
    outcomes.hanging.clear()
    monkeypatch.setattr(opening, "Catalog", outcomes)
    made = Database(DatabaseSettings())
    await made.start(wait_s=0.01)
    await made.close()
    assert outcomes.outcomes == [None]


async def test_a_server_that_is_not_there_is_away() -> None:
    made = Database(DatabaseSettings(url=f"postgresql://nobody@127.0.0.1:{free_port()}/none", timeout_s=1))
    await made.start()
    assert not there(made)
    await made.close()
