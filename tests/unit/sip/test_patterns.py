"""Patterns that mean the same with every Python that we run on."""

from __future__ import annotations

import re
from pathlib import Path

import signalbox

GROUP_AGAIN = re.compile(r"(?<!\\)(?:\)|\{_?[A-Z]+\})(?:[*+]|\{+[0-9,]+\}+)\+(?!\+)")
"""A group that is repeated and never given back."""


def test_no_group_is_repeated_possessively() -> None:
    """Before 3.11.5 what the failing last turn of such a group had read stays read (gh-106052)."""
    assert GROUP_AGAIN.search(r"(?:;[a-z]++)*+")
    assert GROUP_AGAIN.search(r"{_PARAM}++")
    assert GROUP_AGAIN.search(r"(?:a-z\.){{0,7}}+")
    assert not GROUP_AGAIN.search(r"(?>(?:;[a-z]++)*)")
    found = [
        f"{path}: {line}"
        for path in Path(signalbox.__file__).parent.rglob("*.py")
        for line in path.read_text().splitlines()
        if GROUP_AGAIN.search(line) and not line.startswith("#")
    ]
    assert not found
