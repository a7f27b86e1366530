"""Makes the chart's README.md of the comments of values.yaml: ``python deploy/helm/readme.py [--check]``.

What is explained begins with ``# --`` right above its key. Values whose parts are explained one by one have a row for
each part; ``--check`` exits with 1 if the README is not what it would be made.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

CHART = Path(__file__).parent / "signalbox"
README = CHART / "README.md"
HEAD = """# Signalbox on Kubernetes

<!-- Made by deploy/helm/readme.py of the comments of values.yaml: change those, not this. -->

The chart of [Signalbox](../../../README.md). How to install it, how large, how to upgrade, back up and rotate is in
[operations](../../../docs/operations.md); [the design](../../../docs/design/kubernetes.md) says why it is as it is.
To try it on one node, to which you have brought the [images](../../../docs/images.md#onto-a-node-without-a-registry):

    helm install signalbox deploy/helm/signalbox -f deploy/helm/signalbox/values-laptop.yaml
    helm test signalbox --logs

For more there are [values-region.yaml](values-region.yaml) (three nodes) and
[values-carrier.yaml](values-carrier.yaml) (stores of your own, pools of nodes); the head of each says what you have to
add. Unknown values are refused.
"""

_KEY = re.compile(r"^( *)([A-Za-z0-9_]+):")
_TOLD = re.compile(r"^ *# -- (.*)$")
_MORE = re.compile(r"^ *# ?(.*)$")


class UnexplainedError(Exception):
    """A value has no comment; says which."""


def explained(text: str) -> dict[str, str]:
    """What the comments say of each value, by its path (``edge.kamailio.resources``)."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    told: list[str] = []
    for line in text.splitlines():
        if begun := _TOLD.match(line):
            told = [begun[1]]
        elif told and (more := _MORE.match(line)):
            told.append(more[1])
        elif key := _KEY.match(line):
            indent = len(key[1])
            path = [*((depth, name) for depth, name in path if depth < indent), (indent, key[2])]
            if told:
                found[".".join(name for _, name in path)] = " ".join(told)
            told = []
        else:
            told = []
    return found


def rows(values: Any, told: dict[str, str], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Value, default and meaning of everything that is explained. Raises UnexplainedError."""
    for name, value in values.items():
        here = f"{path}{name}"
        parts = isinstance(value, dict) and any(other.startswith(f"{here}.") for other in told)
        if parts:
            yield from rows(value, told, f"{here}.")
        elif here in told:
            yield here, json.dumps(value, ensure_ascii=False), told[here]
        else:
            raise UnexplainedError(f"{here} has no comment that begins with '# --' right above it")


def render(text: str) -> str:
    """The README of a values.yaml. Raises UnexplainedError."""
    told = explained(text)
    parts = [HEAD]
    section = None
    for name, default, meaning in rows(yaml.safe_load(text), told):
        first = name.split(".")[0] if "." in name else "general"
        if first != section:
            section = first
            about = f"\n{told[first]}\n" if first in told else ""
            parts.append(f"\n## {first}\n{about}\n| value | default | meaning |\n|---|---|---|\n")
        parts.append(f"| `{name}` | `{_cell(default)}` | {_cell(meaning)} |\n")
    return "".join(parts)


def main() -> int:
    """Write, or check."""
    made = render((CHART / "values.yaml").read_text())
    if "--check" in sys.argv[1:]:
        if not README.exists() or README.read_text() != made:
            print(f"{README} is not what values.yaml says: run python deploy/helm/readme.py", file=sys.stderr)
            return 1
    else:
        README.write_text(made)
    return 0


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
