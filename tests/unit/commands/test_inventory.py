"""``signalbox inventory`` against a service: what the page of the documentation does not show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from signalbox.commands.stocktext import DURATION, NUMBER, amount, grouped, minor

if TYPE_CHECKING:
    from pathlib import Path

    from support.commands import Service, Shell


@pytest.fixture
def stocked(service: Service, shell: Shell) -> Shell:
    """A tenant with a line, and a range of a hundred numbers."""
    for line in (
        "tenants create acme",
        "lines create acme a --user 100 --host 192.0.2.7",
        "inventory ranges create main 4001230000 4001230099",
    ):
        shell(line)
    service.settle()
    return shell


@pytest.mark.parametrize(
    ("number", "written"),
    [
        ("4001234567", "400-123-4567"),
        ("8001234567", "800-123-4567"),
        ("95105123", "95105-123"),
        ("95588", "95588"),
        ("01088886666", "01088886666"),
    ],
)
def test_numbers_are_grouped_as_people_do_and_read_so(number: str, written: str) -> None:
    assert grouped(number) == written
    assert NUMBER.convert(written, None, None) == number


@pytest.mark.parametrize(
    ("units", "currency", "written"),
    [(200_000, "CNY", "2000.00 CNY"), (1, "CNY", "0.01 CNY"), (500, "JPY", "500 JPY"), (1500, "KWD", "1.500 KWD")],
)
def test_amounts_are_in_the_smallest_unit(units: int, currency: str, written: str) -> None:
    assert amount(units, currency) == written
    assert minor(written.split()[0], currency, "--agree") == units


def test_no_amount_is_not_written() -> None:
    assert amount(0, "CNY") == ""


@pytest.mark.parametrize(
    ("text", "currency"), [("x", "CNY"), ("1.001", "CNY"), ("-1", "CNY"), ("0.5", "JPY"), ("NaN", ""), ("Infinity", "")]
)
def test_what_is_no_amount(text: str, currency: str) -> None:
    with pytest.raises(click.BadParameter, match="is no amount"):
        minor(text, currency, "--agree")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("90m", 5400), ("72h", 259_200), ("30d", 2_592_000)])
def test_times(text: str, seconds: int) -> None:
    assert DURATION.convert(text, None, None).seconds == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "1.5h", "-1h", "1w"])
def test_what_is_no_time(stocked: Shell, text: str) -> None:
    result = stocked(["inventory", "reserve", "4001230001", "--tenant", "acme", "--for", text], code=2)
    assert "a time is expected" in result.output


def test_all_pages_of_a_search_as_json(stocked: Shell) -> None:
    assert len(stocked.json("inventory search --limit 2000")) == 100
    assert [one["number"] for one in stocked.json("inventory search --limit 2")] == ["4001230000", "4001230001"]
    assert stocked("inventory search ends:999").stdout == "0 free\n"


def test_a_trial_of_what_does_not_go_together(stocked: Shell, tmp_path: Path) -> None:
    rule = tmp_path / "rule.yaml"
    rule.write_text("stages: [{lines: [a]}]\n")
    for line, told in (
        ("inventory ranges update main", "nothing to change"),
        ("inventory classes create gold --minimum-spend 1", "--minimum-spend needs --currency"),
        (f"inventory activate 4001230000 --flow x --file {rule}", "--file excludes --stage and --flow"),
        ("inventory suspend 4001230000", "Missing option '--reason'"),
        ("inventory suspend 4001230000 --reason whim", "'whim' is not one of"),
        ("inventory apply 4001230000 --elsewhere other nowhere.pdf x", "does not exist"),
        ("inventory reserve 4001230000", "Missing option '--tenant'"),
    ):
        assert told in stocked(line, code=2).output


def test_a_rule_from_a_file(stocked: Shell, elsewhere: Path) -> None:
    for name in ("a.pdf", "b.png", "c.pdf"):
        (elsewhere / name).write_bytes(b"x")
    stocked("inventory reserve 400-123-0001 --tenant acme")
    stocked(
        "inventory apply 400-123-0001 --elsewhere business-licence a.pdf u:a --elsewhere legal-person-id b.png u:b "
        "--elsewhere signed-order c.pdf u:c"
    )
    stocked("inventory approve 4001230001")
    (elsewhere / "two.yaml").write_text("flow: x\n---\nflow: y\n")
    assert (
        "one document is expected, there are 2"
        in stocked("inventory activate 4001230001 --file two.yaml", code=1).output
    )
    (elsewhere / "rule.yaml").write_text("kind: Number\nstages:\n- lines: [a]\n  ring_time: 20s\n")
    assert stocked.json("inventory activate 4001230001 --file rule.yaml")["state"] == "INVENTORY_STATE_ACTIVE"
    shown = stocked.json("inventory show 4001230001")
    assert [one["media_type"] for one in shown["documents"]] == ["application/pdf", "image/png", "application/pdf"]


def test_ranges_and_classes_are_kept(stocked: Shell) -> None:
    stocked("inventory classes create gold --rank 1 --pattern AAA")
    stocked("inventory classes update gold --minimum-spend 5.50 --currency EUR --contract-months 12")
    assert "5.50 EUR" in stocked("inventory classes get gold").stdout
    assert [one["id"] for one in stocked.json("inventory classes list")] == ["gold"]
    assert "gold" in stocked("inventory ranges update main --class gold --disabled --quarantine 30d").stdout
    assert stocked.json("inventory ranges get main")["quarantine"] == "2592000s"
    assert "RESOURCE_IN_USE" in stocked("inventory classes delete gold", code=1).output
    assert stocked("inventory ranges delete main").stdout == "deleted number range main\n"
    assert stocked("inventory classes delete gold").stdout == "deleted number class gold\n"
    assert stocked.json("inventory ranges list") == []


def test_rules_that_are_not_as_the_inventory_says_are_told(stocked: Shell, service: Service) -> None:
    from signalbox.store import keys

    stocked("numbers create 4001230005 --tenant acme --stage a")
    rule = service.store._entries.pop(keys.number("4001230005"))
    stocked("inventory reserve 4001230005 --tenant acme")
    service.store._entries[rule.key] = rule
    result = stocked("inventory adopt main", code=1)
    assert "adopted 0 numbers" in result.output
    assert "conflict: 400-123-0005" in result.output
