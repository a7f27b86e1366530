"""Who works on this machine, as the kernel knows it: for records of what was done here."""

from __future__ import annotations

import pwd
from pathlib import Path

_NO_LOGIN = 2**32 - 1


def of_process(pid: int, user: int) -> str:
    """Who runs a process that has this user id: "user alice". Who logged in counts; if that is not known, the user."""
    login = _login(pid)
    return f"user {_name(user if login is None else login)}"


def _login(pid: int) -> int | None:
    """The audit user id of a process, which is set at the login and which sudo leaves as it is (proc(5), loginuid)."""
    try:
        login = int(Path(f"/proc/{pid}/loginuid").read_text())
    except (OSError, ValueError):
        return None
    return None if login == _NO_LOGIN else login


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
