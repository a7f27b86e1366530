"""What errors of the database mean."""

from __future__ import annotations

import sqlite3

import pytest
from signalbox.catalog.failures import asked_wrongly, refused_for_good
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class StateError(Exception):
    """As the driver of PostgreSQL raises them."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class CodeError(sqlite3.DatabaseError):
    """As the driver of SQLite raises them."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.sqlite_errorcode = code


def wrapped(error: Exception, *, lost: bool = False) -> DBAPIError:
    return DBAPIError("SELECT", {}, error, connection_invalidated=lost)


@pytest.mark.parametrize(
    ("state", "wrong", "final"),
    [
        ("08006", False, False),  # connection failure
        ("22021", True, False),  # character not in repertoire
        ("23505", True, False),  # unique violation
        ("28P01", False, True),  # invalid password
        ("3D000", False, True),  # no such database
        ("40P01", False, False),  # deadlock detected
        ("42501", False, True),  # insufficient privilege
        ("42P01", True, False),  # undefined table
        ("53100", False, False),  # disk full
        ("57P01", False, False),  # admin shutdown
        ("57P03", False, False),  # starting up
    ],
)
def test_a_state_of_postgresql_tells_whose_mistake_it_is(state: str, wrong: bool, final: bool) -> None:
    error = wrapped(StateError(state))
    assert (asked_wrongly(error), refused_for_good(error)) == (wrong, final)
    assert refused_for_good(StateError(state)) == final


@pytest.mark.parametrize(
    ("code", "wrong", "final"),
    [
        (sqlite3.SQLITE_ERROR, True, False),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, True, False),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, False, False),
        (sqlite3.SQLITE_CORRUPT, False, False),
        (sqlite3.SQLITE_FULL, False, False),
        (sqlite3.SQLITE_IOERR_FSYNC, False, False),
        (sqlite3.SQLITE_NOTADB, False, True),
        (sqlite3.SQLITE_READONLY, False, True),
    ],
)
def test_a_code_of_sqlite_tells_whose_mistake_it_is(code: int, wrong: bool, final: bool) -> None:
    error = wrapped(CodeError(code))
    assert (asked_wrongly(error), refused_for_good(error)) == (wrong, final)


def test_what_has_no_code_is_our_mistake_unless_the_connection_is_lost() -> None:
    assert asked_wrongly(wrapped(ValueError("no integer")))
    assert not asked_wrongly(wrapped(ValueError("closed"), lost=True))
    assert asked_wrongly(InvalidRequestError("used wrongly"))
    assert not asked_wrongly(PoolTimeoutError("all in use"))
    assert not asked_wrongly(OSError("unreachable"))
