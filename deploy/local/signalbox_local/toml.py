"""Writes settings as TOML (the standard library only reads it)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

Tree = Mapping[str, object]


def dumps(tree: Tree) -> str:
    """Nested mappings of text, paths, numbers, booleans and lists of those as a TOML document."""
    return "\n".join(_table(tree, ())) + "\n"


def merge(base: Tree, *overlays: Tree) -> Tree:
    """A new tree: every overlay in turn laid over the base, table by table; lists are replaced whole."""
    result = dict(base)
    for overlay in overlays:
        for key, value in overlay.items():
            below = result.get(key)
            result[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def _table(tree: Tree, path: tuple[str, ...]) -> list[str]:
    lines = [f"[{'.'.join(path)}]"] if path else []
    lines += [f"{key} = {_value(value)}" for key, value in tree.items() if not isinstance(value, Mapping)]
    for key, value in tree.items():
        if isinstance(value, Mapping):
            lines += _table(value, (*path, key))
    return lines


def _value(value: object) -> str:
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if not isinstance(value, str | bool | int | float):
        raise TypeError(f"no TOML for {value!r}")
    # JSON's strings, numbers and booleans are TOML's.
    return json.dumps(value, ensure_ascii=False)
