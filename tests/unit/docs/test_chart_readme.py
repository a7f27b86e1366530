"""deploy/helm/readme.py: the chart's README is made of the comments of its values."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.script import load

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).parents[3] / "deploy" / "helm" / "readme.py"
VALUES = """
# -- What it
# is called.
name: a|b
# Of nobody.

part:
  # -- How many.
  count: 3
  # -- All of it.
  whole: {cpu: 1}
"""


@pytest.fixture(scope="module")
def readme() -> ModuleType:
    return load(SCRIPT)


def run(script: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_readme_is_that_of_the_values_as_they_are() -> None:
    assert run(SCRIPT, "--check").returncode == 0, "python deploy/helm/readme.py"


def test_each_value_has_a_row_with_default_and_meaning(readme: Any) -> None:
    made = readme.render(VALUES).removeprefix(readme.HEAD).split("\n")
    assert '| `name` | `"a\\|b"` | What it is called. |' in made
    assert "| `part.count` | `3` | How many. |" in made
    assert '| `part.whole` | `{"cpu": 1}` | All of it. |' in made
    assert [line for line in made if line.startswith("## ")] == ["## general", "## part"]


@pytest.mark.parametrize("text", ["name: 1\n", "# no dashes\nname: 1\n", "# -- Of another.\n\nname: 1\n"])
def test_a_value_without_a_comment_is_an_error_that_names_it(readme: Any, text: str) -> None:
    with pytest.raises(readme.UnexplainedError, match="name has no comment"):
        readme.render(text)


def test_a_readme_that_is_old_is_told_and_made_anew(tmp_path: Path) -> None:
    script = Path(shutil.copy(SCRIPT, tmp_path))
    (tmp_path / "signalbox").mkdir()
    (tmp_path / "signalbox" / "values.yaml").write_text(VALUES)
    refused = run(script, "--check")
    assert refused.returncode == 1
    assert "is not what values.yaml says" in refused.stderr
    assert run(script).returncode == 0
    assert run(script, "--check").returncode == 0
