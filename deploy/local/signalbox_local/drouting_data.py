"""Tables of Kamailio's ``drouting`` module in an SQLite file, and the proxy that routes by them.

A prefix is a whole service number here. Few gateways serve them all: ``drouting`` finds that of a rule by walking a
list of all of them, so that a gateway for every number is loaded in quadratic time.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SCHEMA = """
CREATE TABLE version (table_name VARCHAR(32) NOT NULL, table_version INTEGER DEFAULT 0 NOT NULL);
INSERT INTO version VALUES ('dr_gateways', 3), ('dr_rules', 3), ('dr_gw_lists', 1), ('dr_groups', 2);
CREATE TABLE dr_gateways (
    gwid INTEGER PRIMARY KEY NOT NULL, type INTEGER DEFAULT 0 NOT NULL, address VARCHAR(128) NOT NULL,
    strip INTEGER DEFAULT 0 NOT NULL, pri_prefix VARCHAR(64) DEFAULT NULL, attrs VARCHAR(255) DEFAULT NULL,
    description VARCHAR(128) DEFAULT '' NOT NULL
);
CREATE TABLE dr_rules (
    ruleid INTEGER PRIMARY KEY NOT NULL, groupid VARCHAR(255) NOT NULL, prefix VARCHAR(64) NOT NULL,
    timerec VARCHAR(255) NOT NULL, priority INTEGER DEFAULT 0 NOT NULL, routeid VARCHAR(64) NOT NULL,
    gwlist VARCHAR(255) NOT NULL, description VARCHAR(128) DEFAULT '' NOT NULL
);
CREATE TABLE dr_gw_lists (
    id INTEGER PRIMARY KEY NOT NULL, gwlist VARCHAR(255) NOT NULL, description VARCHAR(128) DEFAULT '' NOT NULL
);
CREATE TABLE dr_groups (
    id INTEGER PRIMARY KEY NOT NULL, username VARCHAR(64) NOT NULL, domain VARCHAR(128) DEFAULT '' NOT NULL,
    groupid INTEGER DEFAULT 0 NOT NULL, description VARCHAR(128) DEFAULT '' NOT NULL
);
"""
"""As Kamailio 5.6 has it (``db_sqlite/drouting-create.sql``)."""

_PATH = re.compile(r"[A-Za-z0-9_./-]+")


def write(file: Path, gateways: Mapping[int, str], rules: Iterable[tuple[str, int]]) -> None:
    """Write the tables anew: gateways ("host:port") by id, and prefixes with the id of their gateway."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(SCHEMA)
        connection.executemany("INSERT INTO dr_gateways (gwid, address) VALUES (?, ?)", gateways.items())
        connection.executemany(
            "INSERT INTO dr_rules (groupid, prefix, timerec, routeid, gwlist) VALUES ('0', ?, '', '0', ?)",
            ((prefix, str(gateway)) for prefix, gateway in rules),
        )


def change(file: Path, prefix: str, gateway: int) -> None:
    """Give one prefix another gateway. Raises KeyError if there is no such prefix."""
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        # The module has no index on prefixes either; whoever keeps the table would.
        done = connection.execute("UPDATE dr_rules SET gwlist = ? WHERE prefix = ?", (str(gateway), prefix))
        if not done.rowcount:
            raise KeyError(prefix)


def route_by(file: Path, config: Path) -> None:
    """Let a proxy's instance file, of the variant that asks nobody, route by the tables from its next start on."""
    path = str(file.resolve())
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} has characters other than A-Z a-z 0-9 _ . / -")
    first, _, rest = config.read_text().partition("\n")
    config.write_text(f'{first}\n#!substdef "!DROUTING_FILE!{path}!g"\n{rest}')
