"""Tables that Signalbox is delivered with, as data: what changes with a country's numbering plan is no code."""

from __future__ import annotations

from importlib import resources


def read(name: str) -> bytes:
    """A file of this package."""
    return resources.files(__name__).joinpath(name).read_bytes()
