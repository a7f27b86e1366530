"""The command as a whole: what is imported when, and what becomes of names that no command has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from signalbox.cli import main

LOADS = """
import sys
from signalbox.cli import main
main(sys.argv[1:], standalone_mode=False)
print("signalbox.commands.others" in sys.modules, "numpy" in sys.modules)
"""


@pytest.mark.parametrize(("command", "loads"), [("routing", "False False"), ("lines", "True True")])
def test_a_process_imports_nothing_of_other_commands(command: str, loads: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADS, command, "--help"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"{command} [OPTIONS]" in done.stdout
    assert done.stdout.splitlines()[-1] == loads


def test_the_list_has_processes_and_all_others() -> None:
    told = CliRunner().invoke(main, ["--help"]).output
    names = {line.split()[0] for line in told.partition("Commands:")[2].splitlines() if line.strip()}
    assert {"routing", "edge", "kamailio-config", "lines", "test-call", "settings-doc"} <= names


def test_a_name_that_no_command_has_is_told() -> None:
    result = CliRunner().invoke(main, ["lins"])
    assert (result.exit_code, "No such command 'lins'" in result.output) == (2, True)
