"""Logging: JSON lines with what is bound, and callers' numbers hidden."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from signalbox import log
from signalbox.settings import LogSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Other tests log as before."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    log._clear_numbers = False


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_line_has_time_level_event_process_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings(), "edge")
    with structlog.contextvars.bound_contextvars(call_id="c-1"):
        structlog.get_logger("test").info("call_decided", why="dial")
    (line,) = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "call_decided", "level": "info", "process": "edge", "call_id": "c-1", "why": "dial"}


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", ["d", "i", "w", "e"]), ("info", ["i", "w", "e"]), ("warning", ["w", "e"]), ("error", ["e"])],
)
def test_the_level_is_the_least_that_is_written(
    capsys: pytest.CaptureFixture[str], level: Any, expected: list[str]
) -> None:
    log.configure(LogSettings(level=level), "edge")
    logger = structlog.get_logger("test")
    logger.debug("d")
    logger.info("i")
    logger.warning("w")
    logger.error("e")
    assert [line["event"] for line in lines(capsys)] == expected


def test_an_exception_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings(), "edge")
    try:
        raise RuntimeError("worn out")
    except RuntimeError as error:
        structlog.get_logger("test").error("task_died", exc_info=error)
    (line,) = lines(capsys)
    assert "RuntimeError: worn out" in line["exception"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_values_cannot_make_lines_or_terminal_commands(capsys: pytest.CaptureFixture[str], log_format: Any) -> None:
    log.configure(LogSettings(format=log_format), "edge")
    structlog.get_logger("test").info("refused", why="a\nlevel=error\x1b[31m")
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "\x1b[31m" not in text
