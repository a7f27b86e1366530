"""``signalbox audit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import audit_pb2
from signalbox.commands.audit import STATES, _described, _row, _what
from signalbox.provisioning import kinds
from signalbox.provisioning.audit.log import segments

if TYPE_CHECKING:
    from pathlib import Path

    from support.commands import Service, Shell


@pytest.fixture(autouse=True)
def changes(service: Service, shell: Shell) -> None:
    """A tenant and a line that was changed."""
    shell("tenants create acme")
    shell("lines create acme a --user 100 --host 192.0.2.7")
    shell("lines update acme a --user 101")


def objects(shell: Shell, line: str) -> list[str]:
    """What the records of a list are about, the latest first."""
    return [row.split("anonymous")[1].strip() for row in shell(line).stdout.splitlines()[1:]]


def test_records_are_listed_the_latest_first(shell: Shell) -> None:
    assert [row.split() for row in objects(shell, "audit list")] == [
        ["UpdateLine", "line", "acme/a", "changed:", "user"],
        ["CreateLine", "line", "acme/a", "created"],
        ["CreateTenant", "tenant", "acme", "created"],
    ]
    assert len(objects(shell, "audit list --limit 2")) == 2
    assert len(objects(shell, "audit list --kind line --id a --tenant acme --method UpdateLine --actor anonymous")) == 1
    assert objects(shell, "audit list --since 2100-01-01") == []
    assert objects(shell, "audit list --until 2020-01-01T00:00") == []
    assert objects(shell, "audit list --kind number-range") == []


def test_long_lists_are_read_page_by_page(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalbox.commands.audit.PAGE_SIZE", 1)
    assert len(objects(shell, "audit list")) == 3


def test_a_record_shows_before_and_after(shell: Shell) -> None:
    text = shell("audit show 3").stdout
    assert "object    line acme/a" in text
    assert "  -user: 100\n  +user: 101\n" in text.replace("'", "")
    assert shell("audit show 4", code=1).stderr.startswith("Error: audit_record 4 does not exist")


def test_programs_get_whole_records(shell: Shell) -> None:
    found = shell.json("audit list --method UpdateLine")
    assert found[0]["change"]["before"]["object"]["user"] == "100"
    assert found[0]["change"]["after"]["object"]["user"] == "101"
    assert shell.json("audit show 3") == found[0]
    assert "user: 101" in shell("audit show 3 -o yaml").stdout.replace("'", "")


def test_refusals_are_told_with_their_number() -> None:
    record = audit_pb2.AuditRecord(actor=audit_pb2.AuditActor(name="api-key acme/admin"))
    record.refusal.reason, record.refusal.times = "PERMISSION_REFUSED", 1
    assert _what(record) == "refused: PERMISSION_REFUSED"
    record.refusal.times, record.refusal.unrecorded = 7, 3
    record.refusal.last_time.FromSeconds(1_795_318_705)
    assert _what(record) == "refused: PERMISSION_REFUSED, 7 times until 03:38:25, and 3 before"
    assert _row(record)[3] == "(various)"
    assert "method    (various)" in list(_described(record))


def test_every_kind_of_object_can_be_shown() -> None:
    """Of a type that nobody has imported a message cannot be told."""
    assert {kind.message for kind in kinds.ALL} <= set(STATES)


def test_a_copy_is_verified_against_a_line_of_before(
    shell: Shell, bare: Shell, service: Service, tmp_path: Path
) -> None:
    told = shell("audit verify").stdout
    assert told.startswith("records 1 to 3: unchanged and complete\nlast: 3:")
    assert shell.json("audit verify")["records"] == "3"
    last = told.split("last: ")[1].strip()
    [segment] = segments(service.audit)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / segment.name).write_bytes(segment.read_bytes())
    assert "unchanged" in bare(f"audit verify-files {copy} --last {last}").stdout
    assert "unchanged" in bare(f"audit verify-files {copy}").stdout
    with (copy / segment.name).open("r+b") as file:
        file.truncate(segment.stat().st_size - 1)
    assert "record 3 in" in bare(f"audit verify-files {copy} --last {last}", code=1).stdout
    assert bare(f"audit verify-files {copy} --last nonsense", code=2).exit_code == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no records" in bare(f"audit verify-files {empty}").stdout


def test_a_fault_is_named_and_the_exit_code_tells(shell: Shell, service: Service) -> None:
    shell("audit verify")
    [segment] = segments(service.audit)
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b"anonymous", b"anonymity", 1))
    result = shell("audit verify", code=1)
    assert result.stdout.startswith("record 1 in")
    assert "NOT" in result.stderr
