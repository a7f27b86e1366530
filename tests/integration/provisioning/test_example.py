"""docs/examples/provision.py against a provisioning service and a replica, both real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .conftest import environment

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "provision.py"


def test_the_example_does_what_its_page_says(directory: Path) -> None:
    def run() -> list[str]:
        arguments = [sys.executable, str(EXAMPLE), "var/cluster.json", "50", "12000"]
        done = subprocess.run(
            arguments, cwd=directory, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    told = [
        "106 objects in 3 steps",
        "12000 callers refused that were not before",
        "seen: number of etag True",
        "dial: stages: 16, media: anchor",
        "hang_up: the flow ends the call",
        "limit_number: no further call is taken",
        "a reader: OK, PERMISSION_REFUSED, PERMISSION_REFUSED",
    ]
    assert run() == told
    assert run() == [told[0], "0 callers refused that were not before", *told[2:]], "it may be run again"
