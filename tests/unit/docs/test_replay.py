"""docs/replay.md: its commands print what stands below them, and its tables are whole."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from signalbox.cli import main
from signalbox.commands.replay import replay
from signalbox.commands.replayfile import Damaged, read
from signalbox.domain.replay import FIELDS

if TYPE_CHECKING:
    from support.commands import Service

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "replay.md").read_text()
EXAMPLES = re.findall(r"^    \$ (signalbox .*)\n((?:    .*\n|\n(?=    ))*)", PAGE, re.MULTILINE)


@pytest.fixture
def company(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The company of the page and its trunk; returns the service's address."""
    shutil.copytree(DOCS / "examples", tmp_path / "docs/examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIGNALBOX_CLUSTER", raising=False)
    for line in ("trunks create carrier --source 192.0.2.1", "apply -f docs/examples/acme.yaml"):
        assert CliRunner().invoke(main, [*line.split(), "--api", service.address]).exit_code == 0
    return service.address


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize(("line", "printed"), EXAMPLES)
def test_a_command_prints_what_stands_below_it(company: str, line: str, printed: str) -> None:
    arguments = shlex.split(line)[1:]
    done = CliRunner().invoke(main, [*arguments, "--api", company])
    assert [text.rstrip() for text in done.stdout.splitlines()] == [text[4:] for text in printed.splitlines()]
    assert done.exit_code == ("--fail-on-change" in arguments)


def test_every_option_and_field_is_on_the_page() -> None:
    for option in replay.params:
        flag = max(option.opts, key=len)
        connection = flag in ("--cluster", "--api", "--ca", "--cert", "--key", "--api-key", "--timeout")
        assert connection or flag == "calls" or f"`{flag}" in PAGE or f" {flag}" in PAGE, flag
    for field in FIELDS:
        assert f"`{field}`" in PAGE


def test_the_calls_of_the_example_are_sound() -> None:
    with (DOCS / "examples/calls.csv").open("rb") as file:
        assert not [one for one in read(file, "calls.csv", lambda _: None, ordered=True) if isinstance(one, Damaged)]
