"""docs/inventory.md: every example is run, and its output is what the page shows; its tables are the code's.

After a change of output, write the page anew: ``WRITE_DOCS=1 python -m pytest tests/unit/docs``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from signalbox.domain.inventory import TRANSITIONS, Actor, Transition
from support.pages import check_page

if TYPE_CHECKING:
    import pytest
    from support.commands import Service

PAGE = Path(__file__).parents[3] / "docs" / "inventory.md"


def test_the_page_shows_what_happens(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, beginning in (
        ("licence.pdf", b"%PDF-1.7 "),
        ("id-card.jpg", b"\xff\xd8\xff "),
        ("order.pdf", b"%PDF-1.7 "),
    ):
        (tmp_path / name).write_bytes(beginning + b"content of " + name.encode())
    (tmp_path / "scan.pdf").write_bytes(b"an order")
    check_page(PAGE, service)


def test_the_table_of_transitions_is_the_code_s() -> None:
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    told = {cells[1].strip().strip("`"): [cell.strip() for cell in cells[2:5]] for cells in rows if len(cells) > 5}
    made = {}
    for transition in Transition:
        rule = TRANSITIONS[transition]
        before = ", ".join(state.name.lower() for state in sorted(rule.before))
        after = "active, suspended" if transition is Transition.ADOPT else rule.after.name.lower()
        who = "operator, administrator" if Actor.ADMINISTRATOR in rule.actors else ""
        who = who or ("operator" if Actor.OPERATOR in rule.actors else "time")
        made[transition.name.lower()] = [before, after, who]
    assert told == made
