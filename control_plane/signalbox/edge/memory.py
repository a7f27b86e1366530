"""Media nodes that vanished from the snapshot but may still carry calls.

A node's registration ends with its sidecar, its calls do not: were its row taken out, the proxy could not reach it for
the requests of their dialogs. So it stays for as long as a peer does, and gets no new calls.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import structlog

from signalbox.edge.tables import MAX_NODE, Node
from signalbox.files import write_atomically
from signalbox.store.keys import EDGE_MEMORY_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

logger = structlog.get_logger(__name__)

MEMORY_FILE = "edge.gone-media-nodes"


class NodeMemory:
    """Nodes that are gone and when each was missed first (seconds since 1970); kept on disk."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / MEMORY_FILE
        self._gone: dict[int, tuple[str, float]] = {}

    def load(self) -> None:
        """Begin with what the life before knew."""
        try:
            rows = json.loads(self._path.read_bytes())
            gone = {int(number): (str(url), float(since)) for number, url, since in rows}
            if not all(1 <= number <= MAX_NODE for number in gone):
                raise ValueError("a number that no node has")
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError) as error:
            logger.error("media_node_memory_unreadable", file=str(self._path), reason=str(error))
            return
        self._gone = gone

    def gone(self, before: Sequence[Node], present: Sequence[Node], now: float) -> tuple[Node, ...]:
        """The nodes to keep beside those present; ``before``: all that there were until now. Blocks.

        A number belongs to whoever has it now, and so does an address: nodes that share one are switched together.
        """
        known = {node.number: (node.url, now) for node in before} | self._gone
        enabled = {node.url: node.enabled for node in present}
        numbers = {node.number for node in present}
        gone = {
            number: (url, since)
            for number, (url, since) in sorted(known.items())
            if number not in numbers and now - since < EDGE_MEMORY_S
        }
        if gone != self._gone:
            self._gone = gone
            logger.info("media_nodes_gone", nodes=list(gone))
            self._save()
        return tuple(
            Node(number, url, enabled.get(url, True), takes_calls=False, gone=True) for number, (url, _) in gone.items()
        )

    def _save(self) -> None:
        rows = [[number, url, since] for number, (url, since) in self._gone.items()]
        try:
            write_atomically(self._path, json.dumps(rows).encode())
        except OSError as error:
            logger.error("media_node_memory_not_saved", file=str(self._path), reason=str(error))
