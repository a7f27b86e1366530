"""Brings the schema of a database up to date."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Connection

VERSION_TABLE = "recordings_version"
"""Where alembic keeps the version: the database may have other tables, with versions of their own."""

LOCK = 0x5349_474E_0001
"""Advisory lock of PostgreSQL that one upgrades under."""


def upgrade(connection: Connection) -> None:
    """Bring the tables up to date within the connection's transaction, one process at a time.

    A transaction of SQLite is to have begun by taking the write lock. Raises ConfigurationError if the database is
    newer than we are.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    config = Config()
    config.set_main_option("script_location", str(resources.files("signalbox.catalog").joinpath("migrations")))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    there = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    if there == head:
        return
    if there is not None and there not in {script.revision for script in scripts.walk_revisions()}:
        raise ConfigurationError(
            f"database.url: the tables of recordings there are of version {there}, this program knows them up to "
            f"version {head}: it takes a newer one"
        )
    command.upgrade(config, "head")
