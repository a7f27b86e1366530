"""docs/provisioning.md: every example is run, and its output is what the page shows.

After a change of output, write the page anew: ``WRITE_DOCS=1 python -m pytest tests/unit/docs``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from click.testing import CliRunner
from signalbox.cli import main

if TYPE_CHECKING:
    from support.commands import Service

PAGE = Path(__file__).parents[3] / "docs" / "provisioning.md"

_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T[\d:.]+Z")


def run_page(text: str, address: str) -> str:
    """The page with the output that its commands print now; Python examples must print what their comments say."""

    def run_block(match: re.Match[str]) -> str:
        kind, body = match.groups()
        done = _run_python(body, address) if kind == "python" else _run_console(body, address)
        return f"```{kind}\n{done}```"

    return _BLOCK.sub(run_block, text)


def _run_console(body: str, address: str) -> str:
    shown = ""
    for line in body.splitlines():
        if line.startswith("$ "):
            _, _, *arguments = shlex.split(line)
            result = CliRunner().invoke(main, [*arguments, "--api", address], prog_name="signalbox")
            assert result.exit_code in {0, 1}, f"{line}: {result.output}{result.exception!r}"
            shown += f"{line}\n{_TIME.sub('2026-01-31T09:30:00.000000Z', result.output)}"
    return shown


def _run_python(body: str, address: str) -> str:
    printed = io.StringIO()
    with grpc.insecure_channel(address) as channel, contextlib.redirect_stdout(printed):
        exec(compile(body, str(PAGE), "exec"), {"channel": channel})
    code = [line for line in body.splitlines() if not line.startswith("# prints ")]
    return "\n".join([*code, *(f"# prints {line}" for line in printed.getvalue().splitlines()), ""])


def test_the_page_shows_what_happens(service: Service) -> None:
    text = PAGE.read_text()
    now = run_page(text, service.address)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(now)
    assert now == PAGE.read_text()
