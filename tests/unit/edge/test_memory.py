"""Media nodes that vanished are kept for the calls that they may carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.edge.memory import MEMORY_FILE, NodeMemory
from signalbox.edge.tables import Node
from signalbox.store.keys import EDGE_MEMORY_S
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from pathlib import Path


def node(number: int, url: str = "", *, enabled: bool = True) -> Node:
    return Node(number, url or f"udp:127.0.0.1:{22000 + number}", enabled, takes_calls=enabled)


def gone(number: int) -> Node:
    return Node(number, f"udp:127.0.0.1:{22000 + number}", True, takes_calls=False, gone=True)


def test_a_node_that_vanished_stays_until_its_calls_must_be_over(tmp_path: Path) -> None:
    memory = NodeMemory(tmp_path)
    assert memory.gone([], [node(1), node(2)], 0) == ()
    assert memory.gone([node(1), node(2)], [node(2)], 100) == (gone(1),)
    assert memory.gone([node(2), gone(1)], [node(2)], 99 + EDGE_MEMORY_S) == (gone(1),)
    assert memory.gone([node(2), gone(1)], [node(2)], 100 + EDGE_MEMORY_S) == ()


def test_one_that_comes_back_is_gone_no_more(tmp_path: Path) -> None:
    memory = NodeMemory(tmp_path)
    assert memory.gone([node(1)], [], 1) == (gone(1),)
    assert memory.gone([gone(1)], [node(1)], 2) == ()
    assert memory.gone([node(1)], [], 3) == (gone(1),)


def test_a_number_given_to_another_address_and_an_address_under_another_number(tmp_path: Path) -> None:
    memory = NodeMemory(tmp_path)
    assert memory.gone([node(1)], [node(1, "udp:127.0.0.2:1")], 1) == ()
    taken_over = node(9, node(2).url, enabled=False)
    assert memory.gone([node(2)], [taken_over], 2) == (
        Node(2, node(2).url, enabled=False, takes_calls=False, gone=True),
    )


def test_the_next_life_knows_them_and_since_when(tmp_path: Path) -> None:
    NodeMemory(tmp_path).gone([node(1)], [], 100)
    memory = NodeMemory(tmp_path)
    memory.load()
    assert memory.gone([], [], 200) == (gone(1),)
    assert memory.gone([], [], 100 + EDGE_MEMORY_S) == ()


@pytest.mark.parametrize("content", [b"\xff", b"{}x", b"7", b"[[1]]", b'[[70000, "udp:127.0.0.1:1", 1]]'])
def test_a_damaged_file_is_told_and_not_used(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MEMORY_FILE).write_bytes(content)
    memory = NodeMemory(tmp_path)
    with capture_logs() as logs:
        memory.load()
    assert [entry["event"] for entry in logs] == ["media_node_memory_unreadable"]
    assert memory.gone([], [], 0) == ()


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no directory")
    with capture_logs() as logs:
        assert NodeMemory(tmp_path / "state").gone([node(1)], [], 1) == (gone(1),)
    assert "media_node_memory_not_saved" in [entry["event"] for entry in logs]
