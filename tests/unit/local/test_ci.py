"""``.ci/tests``: what becomes of tests that fail. pytest is a stand-in that fails as it is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / ".ci/tests"
RUNS = 6
"""Of pytest: each of the three parts has two."""
PYTEST = """
import json, sys
from pathlib import Path

world, arguments = Path(sys.argv[1]), sys.argv[2:]
cache = next((Path(one.removeprefix("cache_dir=")) for one in arguments if one.startswith("cache_dir=")), None)
told = json.loads((world / "told").read_text())
with (world / "runs").open("a") as runs:
    runs.write(" ".join(arguments) + "\\n")
if cache is None:
    sys.exit(told["again"])
part = told.get(cache.name.removesuffix(".cache"))
if part is None:
    sys.exit(0)
lastfailed = cache / "v/cache/lastfailed"
lastfailed.parent.mkdir(parents=True)
lastfailed.write_text(json.dumps(dict.fromkeys(part["tests"], True)))
sys.exit(part["code"])
"""


def run(world: Path, again: int = 0, **parts: dict[str, object]) -> subprocess.CompletedProcess[str]:
    (world / "told").write_text(json.dumps({"again": again, **parts}))
    (world / "pytest.py").write_text(PYTEST)
    command = [str(SCRIPT), sys.executable, str(world / "pytest.py"), str(world)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def runs(world: Path) -> list[str]:
    return (world / "runs").read_text().splitlines()


def test_all_parts_are_run_once(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0
    assert len(runs(tmp_path)) == RUNS
    assert "UNSTEADY" not in done.stdout


def test_what_fails_beside_others_and_not_by_itself_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, first={"code": 1, "tests": ["a.py::b[c d]"]}, voice={"code": 1, "tests": ["e.py::f"]})
    assert done.returncode == 0
    assert runs(tmp_path)[-1].endswith("a.py::b[c d] e.py::f")
    assert "UNSTEADY, to be mended: a.py::b[c d]\n" in done.stdout
    assert "UNSTEADY, to be mended: e.py::f\n" in done.stdout


def test_what_fails_again_is_a_failure(tmp_path: Path) -> None:
    done = run(tmp_path, again=1, third={"code": 1, "tests": ["a.py::b"]})
    assert done.returncode == 1
    assert "failed again" in done.stderr
    assert "UNSTEADY" not in done.stdout


def test_many_failures_are_one(tmp_path: Path) -> None:
    done = run(tmp_path, first={"code": 1, "tests": ["a", "b"]}, second={"code": 1, "tests": ["c", "d", "e"]})
    assert done.returncode == 1
    assert "5 failed" in done.stderr
    assert len(runs(tmp_path)) == RUNS


@pytest.mark.parametrize("code", [2, 3, 4, 5, -9])
def test_a_part_that_breaks_off_is_a_failure(tmp_path: Path, code: int) -> None:
    done = run(tmp_path, second={"code": code, "tests": ["a"]})
    assert done.returncode == 1
    assert "part second broke off" in done.stderr
    assert len(runs(tmp_path)) == RUNS
