"""Calls of workers with voice, as rtpengine knows them: ``<worker>.<call's id in Signalbox>``.

Ids that proxies make have no dot. What follows the id after another dot is media beside the call's own, and after ``~``
a recording of the call that has ended.
"""

from __future__ import annotations

import re

ENDED = "~"
"""Between a call's name at rtpengine and what tells its recordings apart."""

_WORKERS = re.compile(r"[a-z][a-z0-9-]{0,62}\.([^.~]+).*", re.DOTALL)


def call_of(name: str) -> str:
    """Id in Signalbox of the call that rtpengine knows by this name."""
    match = _WORKERS.fullmatch(name)
    return match[1] if match else name


def is_workers(name: str) -> bool:
    """True for what a worker has at rtpengine."""
    return _WORKERS.fullmatch(name) is not None


def is_beside(name: str) -> bool:
    """True for media that a worker has beside a call's own, as of a line that asks another one."""
    return is_workers(name) and name.count(".") > 1


def ended(name: str, mark: str) -> str:
    """Name of a recording of a call that may go on. ``mark``: unique among the call's recordings."""
    return f"{name}{ENDED}{mark}"
