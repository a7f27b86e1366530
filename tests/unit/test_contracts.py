"""The import contracts name every module: a new one is under a contract, or the tests say so."""

from __future__ import annotations

import configparser
from pathlib import Path

import signalbox

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {"api", "data", "__init__"}
"""Generated code and files of data, which import nothing of ours."""


def test_every_module_of_the_product_is_under_a_contract():
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    named = set()
    for contract in contracts.values():
        for key in ("layers", "source_modules"):
            named |= set(contract.get(key, "").replace("|", " ").split())
    folder = Path(signalbox.__file__).parent
    there = {path.stem for path in folder.glob("*.py")}
    there |= {path.parent.name for path in folder.glob("*/__init__.py")}
    # Packages without __init__ hold generated code.
    assert there - LEFT_OUT - {name.removeprefix("signalbox.") for name in named} == set()
