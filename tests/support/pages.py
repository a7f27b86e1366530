"""Pages of documentation whose examples are run: commands in console blocks, and Python."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
import shlex
from typing import TYPE_CHECKING

import grpc
from click.testing import CliRunner
from signalbox.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from support.commands import Service

_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARYING = (
    (re.compile(r"\d{4}-\d{2}-\d{2}T[\d:.]+Z"), "2026-01-31T09:30:00.000000Z"),
    (re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}"), "2026-01-31 09:30:00"),
    (re.compile(r"\bipv4:127\.0\.0\.1:\d+"), "ipv4:127.0.0.1:40112"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "5f3c9d2e1ab84c07" * 4),
)


def check_page(page: Path, service: Service) -> None:
    """Every example is run, one after the other, and its output must be what the page shows.

    With WRITE_DOCS in the environment the page is written anew first.
    """
    now = _run(page, service)
    if os.environ.get("WRITE_DOCS"):
        page.write_text(now)
    shown = page.read_text()
    difference = difflib.unified_diff(shown.splitlines(), now.splitlines(), "page", "now", lineterm="")
    assert now == shown, "\n".join(difference)


def _run(page: Path, service: Service) -> str:
    """The page with the output that its commands print now; Python examples must print what their comments say."""

    def run_block(match: re.Match[str]) -> str:
        kind, body = match.groups()
        done = _run_python(page, body, service) if kind == "python" else _run_console(body, service)
        return f"```{kind}\n{done}```"

    return _BLOCK.sub(run_block, page.read_text())


def _run_console(body: str, service: Service) -> str:
    shown = ""
    for line in body.splitlines():
        if line.startswith("$ "):
            _, _, *arguments = shlex.split(line)
            service.settle()
            result = CliRunner().invoke(main, [*arguments, "--api", service.address], prog_name="signalbox")
            assert result.exit_code in {0, 1}, f"{line}: {result.output}{result.exception!r}"
            output = result.output
            for pattern, fixed in _VARYING:
                output = pattern.sub(fixed, output)
            shown += f"{line}\n{output}"
    return shown


def _run_python(page: Path, body: str, service: Service) -> str:
    printed = io.StringIO()
    with grpc.insecure_channel(service.address) as channel, contextlib.redirect_stdout(printed):
        exec(compile(body, str(page), "exec"), {"channel": channel})
    code = [line for line in body.splitlines() if not line.startswith("# prints ")]
    return "\n".join([*code, *(f"# prints {line}" for line in printed.getvalue().splitlines()), ""])
