"""Entries of screening lists as they are written."""

from __future__ import annotations

import pytest
from signalbox.api.types.v1.screening_pb2 import ScreeningEntry
from signalbox.commands import entries


@pytest.mark.parametrize(
    ("written", "entry"),
    [
        ("13800001234", ScreeningEntry(number="13800001234")),
        ("1391234*", ScreeningEntry(prefix="1391234")),
        ("*", ScreeningEntry(prefix="")),
        ("province:内蒙古", ScreeningEntry(province="内蒙古")),
        ("area:0471", ScreeningEntry(area_code="0471")),
        ("anonymous", ScreeningEntry(anonymous=True)),
        ("sip:x", ScreeningEntry(number="sip:x")),
    ],
)
def test_an_entry_is_written_as_people_write_it(written: str, entry: ScreeningEntry) -> None:
    assert entries.parse(written) == entry
    assert entries.text(entry) == written
