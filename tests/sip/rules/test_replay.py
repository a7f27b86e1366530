"""Calls through real proxies, exported from their journals and replayed against drafts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner
from signalbox.cli import main
from support.company import BUSY, MOBILE, dial
from support.site import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from support.company import Company

SOUTH = "02887654321"


def signalbox(company: Company, *arguments: str, code: int = 0) -> str:
    """What a command prints about the cluster."""
    cluster = str(company.site.cluster.directory / "cluster.json")
    done = CliRunner().invoke(main, [*arguments, "--cluster", cluster])
    assert done.exit_code == code, done.output
    return done.stdout


async def exported(company: Company, number: str, count: int, file: Path) -> str:
    """A file of the calls to a number, once that many have ended. The cluster has calls of other tests, too."""

    def there() -> bool:
        head, *rows = signalbox(company, "calls", "export").splitlines()
        own = [row for row in rows if number in row]
        file.write_text("\n".join([head, *own]) + "\n")
        return len(own) == count

    await eventually(there, f"{count} calls that have ended", lambda: file.read_text())
    return str(file)


@pytest.fixture
async def number(company: Company) -> str:
    """North to one desk, all others to two in a row, of which the first is busy."""
    await company.lines("north", "second")
    await company.line("first", BUSY)
    company.flow("where", where=where("北京"), north=dial("north"), south=dial("first", "second"))
    return company.number(flow="main")


def where(province: str) -> dict[str, Any]:
    return {"region": {"branches": [{"provinces": [province], "next": "north"}], "otherwise": "south"}}


def flow(company: Company, province: str, file: Path) -> str:
    """The company's flow with another province in it, as a file."""
    south = dial("first", "second")
    nodes = {"where": where(province), "north": dial("north"), "south": south}
    draft = {"entry": "where", "nodes": [{"id": id, **node} for id, node in nodes.items()]}
    file.write_text(yaml.safe_dump({"kind": "Flow", "tenant": company.id, "id": "main", "draft": draft}))
    return str(file)


async def test_what_real_calls_would_come_to(company: Company, number: str, tmp_path: Path) -> None:
    assert await company.line_of(number, MOBILE) == "north"
    assert await company.line_of(number, SOUTH, proxy=2) == "second"
    calls = await exported(company, number, 2, tmp_path / "calls.csv")

    def replayed(*options: str, code: int = 0) -> Any:
        return json.loads(signalbox(company, "replay", calls, *options, "-o", "json", "--fail-on-change", code=code))

    same = replayed("-f", flow(company, "北京", tmp_path / "same.yaml"), "--recorded")
    assert same["calls"] == [], "the present rules explain what really happened, and the draft is as they are"
    assert (same["summary"]["calls"], same["summary"]["damaged"]) == (2, 0)

    (other,) = replayed("-f", flow(company, "上海", tmp_path / "other.yaml"), code=1)["calls"]
    assert (other["calling"], other["differs"]) == (MOBILE, ["lines", "way"])
    assert (other["before"]["way"], other["after"]["way"]) == ("where>north", "where>south")
    assert len(replayed("-f", flow(company, "四川", tmp_path / "both.yaml"), code=1)["calls"]) == 2

    assert await company.line_of(number, MOBILE) == "north", "nothing was written"


async def test_rules_that_have_changed_since(company: Company, number: str, tmp_path: Path) -> None:
    assert await company.line_of(number, SOUTH) == "second"
    calls = await exported(company, number, 1, tmp_path / "calls.csv")
    company.flow("north", north=dial("north"))
    company.sync()
    (call,) = json.loads(signalbox(company, "replay", calls, "--recorded", "-o", "json"))["calls"]
    assert (call["against"], call["differs"]) == ("recorded", ["lines"])
    assert (call["before"]["lines"], call["after"]["lines"]) == ("first second", "north/30")
