"""``signalbox apply``: what a file says, in one step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.commands import Service, Shell

EXAMPLE = Path(__file__).parents[3] / "docs/examples/acme.yaml"

SMALL = """
kind: Tenant
id: acme
---
kind: Line
tenant: acme
id: desk
user: "0100"
host: 192.0.2.7
---
kind: Number
number: 4001234567
tenant: acme
stages: [{lines: [desk], ring_time: 20s}]
"""


def write(directory: Path, text: str, name: str = "rules.yaml") -> str:
    (directory / name).write_text(text)
    return name


def test_the_example_of_the_documents_is_written_in_one_step(shell: Shell) -> None:
    first = shell(f"apply -f {EXAMPLE}").stdout
    assert "+ number 4008001234" in first
    assert first.splitlines()[-1] == "13 objects written in one step"
    flow = shell.json("flows get acme main")
    assert [revision["number"] for revision in flow["revisions"]] == [1]
    assert shell(f"apply -f {EXAMPLE}").stdout.splitlines()[-1] == "nothing to do: everything is as the files say"


def test_a_dry_run_checks_and_writes_nothing(shell: Shell, elsewhere: Path) -> None:
    file = write(elsewhere, SMALL)
    assert shell(f"apply -f {file} --dry-run").stdout.splitlines()[-1] == "3 objects checked; nothing was written"
    assert shell.json("tenants list") == []
    bad = write(elsewhere, SMALL.replace("[desk]", "[nobody]"), "bad.yaml")
    refused = shell(f"apply -f {bad} --dry-run", code=1).stderr
    assert refused.splitlines()[1] == "  number 4001234567: stages[0].lines[0]: tenant acme has no line nobody"
    worse = write(elsewhere, SMALL.replace("id: desk", "id: Desk"), "worse.yaml")
    assert "  line acme/Desk: id: must be" in shell(f"apply -f {worse} --dry-run", code=1).stderr


def test_only_what_differs_is_shown_and_written(shell: Shell, elsewhere: Path) -> None:
    shell(f"apply -f {write(elsewhere, SMALL)}")
    shell("numbers update 4001234567 --state suspended")
    told = shell(f"apply -f {write(elsewhere, SMALL.replace('20s', '25s'))}").stdout
    assert told.splitlines() == [
        "  tenant acme",
        "  line acme/desk",
        "~ number 4001234567",
        *("    " + line for line in [
            "@@ -1,7 +1,6 @@", " number: 4001234567", " tenant: acme", "-state: NUMBER_STATE_SUSPENDED", " stages:",
            " - lines:", "   - desk", "-  ring_time: 20s", "+  ring_time: 25s",
        ]),
        "1 object written in one step",
    ]  # fmt: skip
    assert shell.json("numbers get 4001234567")["state"] in ("NUMBER_STATE_UNSPECIFIED", "NUMBER_STATE_ACTIVE")


def test_all_or_none(shell: Shell, elsewhere: Path) -> None:
    bad = write(elsewhere, SMALL.replace("192.0.2.7", "phone.example"))
    refused = shell(f"apply -f {bad}", code=1).stderr
    assert "host" in refused
    assert shell.json("tenants list") == []


def test_deleting_what_a_file_names(shell: Shell, elsewhere: Path) -> None:
    file = write(elsewhere, SMALL)
    shell(f"apply -f {file}")
    assert shell(f"apply -f {file} --delete").stdout.splitlines() == [
        "- tenant acme", "- line acme/desk", "- number 4001234567", "3 objects written in one step"
    ]  # fmt: skip
    assert shell.json("tenants list") == []
    assert shell(f"apply -f {file} --delete").stdout.splitlines()[0] == "  tenant acme: is not there"


def test_what_is_printed_as_yaml_can_be_applied(shell: Shell, elsewhere: Path) -> None:
    shell(f"apply -f {write(elsewhere, SMALL)}")
    printed = shell("lines get acme desk --output yaml").stdout
    file = write(elsewhere, printed.replace("0100", "0101"), "line.yaml")
    shell(f"apply -f {file}")
    assert shell.json("lines get acme desk")["user"] == "0101"
    assert "nothing to do" in shell(f"apply -f {file}").stdout
    shell("lines update acme desk --user 0102")
    assert "ETAG_MISMATCH" in shell(f"apply -f {file}", code=1).stderr, "changed by somebody since it was printed"


def test_a_whole_company_that_is_printed_can_be_applied(shell: Shell, elsewhere: Path) -> None:
    shell(f"apply -f {EXAMPLE}")
    kinds = ("lines", "line-groups", "calendars", "schedules", "region-groups", "screening-lists", "flows")
    lists = [*(f"{kind} list acme" for kind in kinds), "tenants list", "numbers list --tenant acme"]
    printed = "---\n".join(shell(f"{one} --output yaml").stdout for one in lists)
    told = shell(f"apply -f {write(elsewhere, printed)}").stdout.splitlines()
    assert told[-1] == "nothing to do: everything is as the files say"
    assert len(told) == EXAMPLE.read_text().count("kind: ") - EXAMPLE.read_text().count(", kind: ") + 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no object in the files"),
        ("id: acme\n", "document 1: kind: one of Tenant"),
        ("kind: Tenant\nid: a\n---\nkind: Elephant\n", "document 2: kind: one of Tenant"),
        ("kind: Line\ntenant: acme\nhosst: 192.0.2.7\n", "document 1: Message type"),
        ("kind: [\n", "rules.yaml"),
    ],
)
def test_what_is_no_object_is_refused_before_anybody_is_asked(
    bare: Shell, elsewhere: Path, text: str, told: str
) -> None:
    refused = bare(["apply", "-f", write(elsewhere, text), "--api", "127.0.0.1:9"], code=2 if not text else 1)
    assert told in refused.stderr


def test_a_store_that_is_away_is_exit_code_3(shell: Shell, service: Service, elsewhere: Path) -> None:
    service.store.available = False
    assert "(STORE_UNAVAILABLE)" in shell(f"apply -f {write(elsewhere, SMALL)}", code=3).stderr
