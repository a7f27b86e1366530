"""docs/cli.md is made of the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.testing import CliRunner
from signalbox.cli import main
from signalbox.commands.reference import render

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def check(file: Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["cli-doc", "--check", str(file)], prog_name="signalbox")
    return result.exit_code, result.output


def test_the_page_is_that_of_the_commands_as_they_are() -> None:
    assert check(PAGE) == (0, ""), "make docs"


def test_a_stale_page_and_one_that_is_not_there_are_told(tmp_path: Path) -> None:
    page = tmp_path / "cli.md"
    code, output = check(page)
    assert (code, "out of date" in output) == (1, True)
    CliRunner().invoke(main, ["cli-doc", str(page)])
    assert check(page) == (0, "")
    page.write_text(page.read_text() + "x")
    assert check(page)[0] == 1


def test_how_a_command_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its options, apart from those that all have that talk to a service; what is hidden is not there."""
    page = render(main)
    section = page.partition("### trunks delete ⇄\n")[2].partition("\n#")[0]
    assert section == (
        "\nDelete a trunk.\n\n    signalbox trunks delete [OPTIONS] ID\n\n"
        "| option | meaning |\n|---|---|\n| `--etag TEXT` | Only if this is still the stored version. |\n"
    )
    assert page.count("`--cluster FILE`") < page.count("⇄")
    monkeypatch.setattr(main.commands["trunks"], "hidden", True)
    assert "trunks delete" not in render(main)


def test_every_command_is_there() -> None:
    def paths(command: click.Command, path: str) -> list[str]:
        inner = command.commands.items() if isinstance(command, click.Group) else []
        return [path, *(one for name, child in inner for one in paths(child, f"{path} {name}"))]

    headings = {line.lstrip("# ").removesuffix(" ⇄") for line in render(main).splitlines() if line.startswith("##")}
    assert {path.partition(" ")[2] for path in paths(main, "signalbox")} - {""} <= headings
