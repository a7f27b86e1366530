"""Logging: structlog with constant event names and key=value fields, JSON for machines or console for people.

Caller numbers are personal data: wrap them in :func:`caller` before they enter a log line.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from signalbox.settings import LogSettings

_clear_numbers = False


def configure(settings: LogSettings, process: str) -> None:
    """Set logging up once at the start of a process. Everything goes to standard error."""
    global _clear_numbers
    _clear_numbers = settings.caller_numbers_in_clear
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def caller(number: str) -> str:
    """A caller's number as it may stand in a log: the last four digits hidden, unless the setting allows it all."""
    if _clear_numbers or not number:
        return number
    return number[:-4] + "****" if len(number) > 4 else "****"
