"""What an error of the database means, by the codes of SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

_WRONG_CLASSES = {"0A", "21", "22", "23", "26", "34", "42"}
"""Classes of SQLSTATE (PostgreSQL, appendix A) that say that a statement or a value is wrong."""
_NO_PRIVILEGE = "42501"
_REFUSED_CLASSES = {"28", "3D", "3F"}
"""No such user, wrong password, no such database, no such schema."""

_WRONG_CODES = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE}
_REFUSED_CODES = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}


def asked_wrongly(error: BaseException) -> bool:
    """True: it is our mistake, whatever the database does. False: it is away, full, broken or refuses us."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return False
        state, code = _state(error), _code(error)
        if state is None and code is None:
            return True
        return (state is not None and state[:2] in _WRONG_CLASSES and state != _NO_PRIVILEGE) or code in _WRONG_CODES
    return isinstance(error, SQLAlchemyError) and not isinstance(error, PoolTimeoutError)


def refused_for_good(error: BaseException) -> bool:
    """True: a setting is wrong, or rights are missing, so trying again would not help."""
    state = _state(error)
    return (state is not None and (state[:2] in _REFUSED_CLASSES or state == _NO_PRIVILEGE)) or (
        _code(error) in _REFUSED_CODES
    )


def _state(error: BaseException) -> str | None:
    """SQLSTATE."""
    return getattr(getattr(error, "orig", error), "sqlstate", None)


def _code(error: BaseException) -> int | None:
    """SQLite's primary result code."""
    extended = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF
