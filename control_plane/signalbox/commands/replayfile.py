"""Reads files of past calls, as ``signalbox calls export`` writes them: CSV with a head line, or a JSON object a line.

Each line of the file is a record: exported text has no line ends in it. So a damaged line is one record and no more,
and can be told by its number.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from signalbox.domain.replay import PastCall, Recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

LINE_BYTES_MAX = 64 * 1024
LATEST_MS = 253_402_300_800_000
"""The year 10000: no call is of then."""

_REQUIRED = ("called", "begin_ms")
_TEXTS = {"called": 64, "calling": 64, "asserted": 64, "trunk": 64, "call_id": 128}
"""Texts that a call is decided by, and how long they may be (routing.v1.DecideRequest)."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Damaged:
    """A line that is no call: its number from 1 on, and why."""

    line: int
    why: str


def read(
    file: BinaryIO, name: str, moved: Callable[[int], object], *, ordered: bool = False
) -> Iterator[PastCall | Damaged]:
    """The calls of a file as they stand there, and what is damaged. Empty lines are nothing.

    ``moved`` is told how many bytes each line has. With ``ordered`` a call that began before one that stands above it
    is damaged, too. Raises UsageError for a file that is none of calls.
    """
    latest = 0.0
    fields: Callable[[str], Mapping[str, Any]] | None = None
    for number, raw in enumerate(_lines(file), 1):
        moved(len(raw))
        if len(raw) > LINE_BYTES_MAX:
            yield Damaged(number, f"longer than {LINE_BYTES_MAX} bytes")
            continue
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            if not text:
                continue
            if fields is None:
                fields = _json if text.startswith("{") else _Csv(text, name).fields
                if fields is not _json:
                    continue
            call = _call(fields(text))
            if ordered and call.begin < latest:
                raise ValueError("began before a call that stands above it")
            latest = call.begin
            yield call
        except UnicodeDecodeError:
            yield Damaged(number, "is not UTF-8")
        except ValueError as error:
            yield Damaged(number, str(error))


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; of one that is too long only the beginning."""
    while raw := file.readline(LINE_BYTES_MAX + 1):
        yield raw
        while len(raw) > LINE_BYTES_MAX and not raw.endswith(b"\n"):
            raw = file.readline(LINE_BYTES_MAX + 1)
            if not raw:
                return


class _Csv:
    """Rows under their head line (RFC 4180)."""

    def __init__(self, head: str, name: str) -> None:
        try:
            self._names = _row(head)
        except ValueError as error:
            raise click.UsageError(f"{name}: no file of calls: the head line: {error}") from error
        missing = [name for name in _REQUIRED if name not in self._names]
        if missing:
            raise click.UsageError(f"{name}: no file of calls: the head line has no {' and no '.join(missing)}")

    def fields(self, line: str) -> Mapping[str, str]:
        """A row's values by name. Raises ValueError."""
        row = _row(line)
        if len(row) != len(self._names):
            raise ValueError(f"{len(row)} columns, the head line has {len(self._names)}")
        return dict(zip(self._names, row, strict=True))


def _row(line: str) -> Sequence[str]:
    try:
        return next(csv.reader((line,), strict=True))
    except csv.Error as error:
        raise ValueError(f"is no row of CSV: {error}") from error


def _json(line: str) -> Mapping[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError("is no JSON object")
    return fields


def _call(fields: Mapping[str, Any]) -> PastCall:
    """The call of a record. Raises ValueError."""
    texts = {name: _text(fields, name, longest) for name, longest in _TEXTS.items()}
    begin_ms = _number(fields, "begin_ms")
    if not texts["called"]:
        raise ValueError("called: is empty")
    if not 0 < begin_ms < LATEST_MS:
        raise ValueError(f"begin_ms: {begin_ms} is no time")
    tried = [one.rpartition("=")[0] or one for one in str(fields.get("tried", "")).split()]
    recorded = Recorded(str(fields.get("why", "")), str(fields.get("number", "")), tuple(tried))
    return PastCall(
        texts["call_id"],
        texts["called"],
        texts["calling"],
        begin_ms / 1000,
        _number(fields, "end_ms") / 1000,
        texts["trunk"],
        texts["asserted"],
        _number(fields, "diversions"),
        recorded,
    )


def _text(fields: Mapping[str, Any], name: str, longest: int) -> str:
    text = fields.get(name, "")
    if not isinstance(text, str):
        raise ValueError(f"{name}: is no text")
    if len(text) > longest:
        raise ValueError(f"{name}: longer than {longest} characters")
    if _CONTROL.search(text):
        raise ValueError(f"{name}: has control characters")
    return text


def _number(fields: Mapping[str, Any], name: str) -> int:
    given = fields.get(name, 0)
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) <= 18:
        return int(given)
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 10**18:
        return given
    raise ValueError(f"{name}: {str(given)[:40]!r} is no number")
