"""Shapes: how many users there are at each moment. A file each, for Locust takes them as files."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
NAMES = tuple(sorted(file.stem for file in _HERE.glob("*.py") if file.stem not in ("__init__", "by_rate")))


def files(shape: str) -> str:
    """What Locust's option ``-f`` takes for a shape: the users, and the shape."""
    return f"{_HERE.parent / 'locustfile.py'},{_HERE / f'{shape}.py'}"
