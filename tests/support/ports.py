"""Ports for servers that are started later. The kernel gives them to no outgoing socket, and clusters keep off them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from signalbox_local.ports import BLOCK_SIZE, HOST, first_port, is_free, reserve

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKS = 4
"""So many blocks are held at most, each from when it is needed to the end of the process, however long the run."""


def _rotation() -> Iterator[int]:
    """The ports of all blocks, over and over: one that was just let go is the last to be given again."""
    blocks = []
    for turn in itertools.count():
        if turn < BLOCKS:
            blocks.append(reserve())
        first = first_port(blocks[turn % BLOCKS].number)
        yield from range(first, first + BLOCK_SIZE)


_ports = _rotation()


def free_port(host: str = HOST, span: int = 1) -> int:
    """First of ``span`` consecutive ports of a loopback address that nobody has, neither on UDP nor on TCP."""
    found: list[int] = []
    for port in itertools.islice(_ports, (BLOCKS + 1) * BLOCK_SIZE):
        if not is_free(port, host):
            found = []
        elif found and port != found[-1] + 1:
            found = [port]
        else:
            found = [*found, port]
        if len(found) == span:
            return found[0]
    raise AssertionError(f"no {span} free ports on {host} in {BLOCKS} blocks")


def free_address(host: str = HOST) -> str:
    """Such a port as ``host:port``: for a server to come, or where nobody listens."""
    return f"{host}:{free_port(host)}"
