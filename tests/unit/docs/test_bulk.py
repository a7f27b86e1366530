"""What docs/bulk.md says of files holds."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from signalbox.commands.numbercsv import COLUMNS, Header
from signalbox.provisioning import validate

PAGE = (Path(__file__).parents[3] / "docs" / "bulk.md").read_text()


def test_every_column_is_told_and_no_other() -> None:
    table = PAGE.partition("| column | cell |")[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert [name for cell in first for name in re.findall(r"`(\w+)`", cell)] == list(COLUMNS)


def test_the_example_is_a_file() -> None:
    lines = [line.strip() for line in PAGE.splitlines() if line.startswith("    ") and line.count(",") > 3]
    names, *rows = csv.reader(line for line in lines if not line.startswith("100000"))
    header = Header(names)
    made = [header.row(cells) for cells in rows]
    assert [row.number.number for row in made] == ["4001234567", "4001234568"]
    for row in made:
        assert list(validate.number(row.number)) == []
        for line in row.lines:
            line.tenant = row.number.tenant
            assert list(validate.line(line)) == []


def test_the_ways_to_write_a_line() -> None:
    table = PAGE.partition("| written | means |")[2].partition("\n\n")[0]
    written = [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    header = Header(["number", "tenant", "lines"])
    for cells in written:
        for cell in cells:
            row = header.row(["4001234567", "acme", cell])
            for line in row.lines:
                line.tenant = "acme"
                assert list(validate.line(line)) == [], cell
            assert bool(row.lines) is (cell != "front-desk")
