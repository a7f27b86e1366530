"""The catalog of recordings, once the database has been reached: rules and numbers are served without it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from signalbox.catalog.catalog import Catalog
from signalbox.errors import ConfigurationError, DatabaseUnavailableError

if TYPE_CHECKING:
    from signalbox.settings import DatabaseSettings

logger = structlog.get_logger(__name__)

START_S = 2.0
"""How long the start of the process waits for the database. Then it is tried again beside everything else."""
RETRY_S = 2.0


class Database:
    """Opens the catalog. :meth:`run` is to be run beside the service."""

    def __init__(self, settings: DatabaseSettings, retry_s: float = RETRY_S) -> None:
        self._settings = settings
        self._retry_s = retry_s
        self._catalog: Catalog | None = None
        self._opening: asyncio.Task[Catalog] | None = None
        self._why = "it is being opened"

    def catalog(self) -> Catalog:
        """The catalog. Raises DatabaseUnavailableError until it has been opened."""
        if self._catalog is None:
            raise DatabaseUnavailableError(f"the database has not been reached yet: {self._why}")
        return self._catalog

    async def start(self, wait_s: float = START_S) -> None:
        """Try once, and wait some time for it. Raises ConfigurationError for settings with which it never will be."""
        self._opening = asyncio.create_task(Catalog.open(self._settings), name="catalog-open")
        await asyncio.wait({self._opening}, timeout=wait_s)
        if self._opening.done():
            with suppress(DatabaseUnavailableError):
                await self._opened()

    async def run(self) -> None:
        """Long-lived coroutine: goes on trying until the catalog is open.

        A setting that turns out to be wrong only now ends nothing: everything else is being served.
        """
        while self._catalog is None:
            if self._opening is None:
                await asyncio.sleep(self._retry_s)
                self._opening = asyncio.create_task(Catalog.open(self._settings), name="catalog-open")
            await asyncio.wait({self._opening})
            with suppress(DatabaseUnavailableError, ConfigurationError):
                await self._opened()
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Close connections, and give up what is being opened."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
            if not self._opening.cancelled() and self._opening.exception() is None:
                self._catalog = self._opening.result()
        if self._catalog is not None:
            await self._catalog.close()

    async def _opened(self) -> None:
        """Take over what opening has come to. Raises DatabaseUnavailableError, ConfigurationError."""
        opening, self._opening = self._opening, None
        if opening is None:
            return
        try:
            self._catalog = await opening
        except (DatabaseUnavailableError, ConfigurationError) as error:
            if self._why != str(error):
                logger.warning("database_unreachable", error=str(error))
            self._why = str(error)
            raise
        logger.info("database_open")
