"""Files of past calls for tests, as ``signalbox calls export`` writes them."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from signalbox.commands.callrecords import FIELDS, CallRecord

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FRIDAY_MS = 1_800_000_000_000
"""2027-01-15 16:00 in Shanghai, a Friday."""
HOUR_MS = 3_600_000


def record(n: int, **fields: Any) -> dict[str, str | int]:
    """The n-th call of a file: to 4008001234, from Beijing, n seconds after FRIDAY_MS, a minute long."""
    begin_ms = fields.pop("begin_ms", FRIDAY_MS + n * 1000)
    given: dict[str, Any] = {
        "call_id": f"call-{n}",
        "trunk": "carrier",
        "called": "4008001234",
        "calling": "13800001234",
        "begin_ms": begin_ms,
        "end_ms": begin_ms + 60_000,
        **fields,
    }
    return CallRecord(**given).as_dict()


def as_csv(records: Iterable[dict[str, str | int]]) -> str:
    """Records under a head line."""
    text = io.StringIO()
    table = csv.DictWriter(text, FIELDS)
    table.writeheader()
    table.writerows(records)
    return text.getvalue()


def as_json(records: Iterable[dict[str, str | int]]) -> str:
    """A record a line."""
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records)


def write(directory: Path, *records: dict[str, str | int], name: str = "calls.csv") -> str:
    """A file of records in a directory; returns its name."""
    text = as_json(records) if name.endswith(".jsonl") else as_csv(records)
    (directory / name).write_bytes(text.encode())
    return name
