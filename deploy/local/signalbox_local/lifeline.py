"""A process that ends when its parent dies, whatever it died of.

``setpriv --pdeathsig`` (util-linux; prctl(2), PR_SET_PDEATHSIG) asks the kernel for a signal at the parent's death. A
parent that dies before the question was put is not told of any more, so who the parent is is looked at afterwards.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def tied(command: Sequence[str], *, parent: Path | None = None, signal: str = "TERM") -> list[str]:
    """The command that runs ``command`` tied to its parent; it ends at once, with code 1, if that is dead already.

    ``parent``: file with the parent's process id, read when the command runs; None: whoever calls this.
    """
    expected = str(os.getpid()) if parent is None else f'"$(cat {shlex.quote(str(parent))})"'
    script = f'[ "$PPID" = {expected} ] && exec "$@"'
    return ["setpriv", "--pdeathsig", signal, "--", "sh", "-c", script, "sh", *command]
