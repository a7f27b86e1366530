"""docs/rules/distributions.md: its objects are what the store has, and calls ring what its tables say."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import json_format
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.commands import documents
from signalbox.domain.decided import Decision, Dial
from signalbox.domain.objects import HealthCheck
from signalbox.routing import convert
from signalbox.routing.book import Book
from signalbox.routing.messages import decision_message
from signalbox.store import keys
from signalbox.store.base import Change
from support import routing
from support.deciding import Call, decided, setup

PAGE = (Path(__file__).parents[3] / "docs" / "rules" / "distributions.md").read_text(encoding="utf-8")
KINDS = {"LineGroup": flows_pb2.LineGroup, "Trunk": types_pb2.Trunk, "TrunkGroup": types_pb2.TrunkGroup}


def rows(header: str) -> list[list[str]]:
    """The cells of the table with this header."""
    table = PAGE.split(f"| {header} |\n")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


def book(*more: object) -> Book:
    """The page's objects, its desks, and a number that rings one of its groups."""
    texts = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    objects = [fields for text in texts for fields in documents.read(io.StringIO(text))]
    messages = [json_format.ParseDict(fields, KINDS[fields.pop("kind")]()) for fields in objects]
    desks = [routing.line(f"desk-{n}", concurrent_calls=int(n == 2)) for n in (1, 2, 3)]
    sales = routing.flow("main", routing.dial_node("sales", line_group="sales"))
    number = types_pb2.Number(number=routing.NUMBER, tenant="acme", flow="main")
    made = Book(lambda: None)
    routing.at_once(made.reset_rules(routing.listing(routing.trunk(), *messages, *desks, sales, number, *more)))  # type: ignore[arg-type]
    assert made.damaged == {}
    return made


def uris(decision: Decision) -> list[tuple[str, str]]:
    """Lines and request URIs in the order in which a proxy rings them that hears of failures only."""
    assert isinstance(decision.action, Dial)
    stages, at, found = decision_message(decision).dial.stages, 1, []
    while 1 <= at <= len(stages):
        found += [(branch.line, branch.uri) for branch in stages[at - 1].branches]
        at = stages[at - 1].on_failed
    return found


@pytest.mark.parametrize(("counts", "rings"), rows("counts | rings"))
def test_lines_ring_as_the_counts_are(counts: str, rings: str) -> None:
    given = {name: int(count) for name, count in (part.split(": ") for part in counts.split(", ") if part)}
    decision = decided(book().rules, Call(), counts=given)
    assert [line for line, _ in uris(decision)] == rings.split(", ")


@pytest.mark.parametrize(("user", "expected"), rows("number of the line | request URIs, in this order"))
def test_telephone_numbers_go_to_the_trunks_of_their_prefix(user: str, expected: str) -> None:
    line = routing.line("phone", user=user, host="")
    number = routing.number("4007654321", ("phone",))
    decision = decided(book(line, number).rules, Call(called="4007654321"))
    assert [uri for _, uri in uris(decision)] == expected.split(", ")


@pytest.mark.parametrize(("dead", "expected"), rows("dead to the proxy | 01088886666 is sent to, in this order"))
def test_dead_targets_are_passed_over(dead: str, expected: str) -> None:
    made = book(routing.line("phone", user="01088886666", host=""), routing.number("4007654321", ("phone",)))
    hosts = () if dead == "nothing" else dead.split(", ")
    made.change_live([Change(keys.live_targets("edge-1"), routing.entry(routing.targets("edge-1", *hosts)), 1)])
    given = replace(setup(), dead=made.dead)
    action = decided(made.rules, Call(called="4007654321"), given=given).action
    assert isinstance(action, Dial)
    assert [stage.lines[0].host for stage in action.stages] == expected.split(", ")


def test_what_a_trunk_need_not_say_of_its_check_is_on_the_page() -> None:
    told = {cells[0].strip("`"): cells[1].strip("`") for cells in rows("field | if it is not given | meaning")}
    check = convert.DEFAULT_CHECK
    assert told == {
        "interval": f"{check.interval_s}s",
        "failures": str(check.failures),
        "successes": str(check.successes),
        "disabled": "false",
    }
    rules = book().rules
    checks = [rules.trunk(id).health_check for id in ("carrier-c", "carrier-d")]  # type: ignore[union-attr]
    assert checks == [HealthCheck(10, 2, 5), None]


def test_every_distribution_is_on_the_page() -> None:
    told = {cells[0].strip("`") for cells in rows("distribution | the first line is | then")}
    assert told == set(flows_pb2.Distribution.keys()) - {"DISTRIBUTION_UNSPECIFIED"}


def test_a_dial_remembers_how_six_lines_failed_and_not_how_seven_did() -> None:
    for count, exact in ((6, True), (7, False)):
        lines = [routing.line(f"l{n}") for n in range(count)]
        ring = routing.dial_node("all", *(line.id for line in lines))
        number = types_pb2.Number(number="4007654321", tenant="acme", flow="many")
        rules = book(*lines, routing.flow("many", ring), number).rules
        action = decided(rules, Call(called="4007654321")).action
        assert isinstance(action, Dial)
        assert (len(action.stages) == count) is not exact
