"""The pieces of `make bench-routing` that measure nothing."""

from __future__ import annotations

import math
import mmap
import os
from typing import TYPE_CHECKING, Any

import lmdb
import pytest
from signalbox_local import change_in_force, memory, routing_figures
from signalbox_local.change_in_force import Change, figures, in_force_ms
from signalbox_local.routing_site import tables
from signalbox_local.sip_prober import Probe

if TYPE_CHECKING:
    from pathlib import Path

SPREAD = {"median": 0.95, "min": 0.9, "max": 1.0}
COUNT: dict[str, Any] = {
    "rss_mb": 3_000,
    "bytes_per_number": 59.9,
    "map_bytes_per_number": 64.0,
    "snapshot_start_s": 3.2,
    "etcd_load_s": 300.0,
    "memory_mb_by_workers": {"1": {"own_and_map": 900}, "4": {"own_and_map": 3_000}},
    "decisions_per_s_core": {"1": 4_000, "10": 18_000},
    "uniform_decisions_per_s_core": {"1": 3_000, "10": 12_000},
    "decisions_beside_1000": {"1": SPREAD, "10": SPREAD | {"median": 0.85}},
    "uniform_decisions_beside_1000": {"1": SPREAD, "10": SPREAD},
    "p99_ms_half_load_spread": {"median": 4.0, "min": 3.0, "max": 5.0},
}
CHANGE: dict[str, Any] = {"p50": 10.0, "p99": 40.0, "changes": 300, "calls": 9_000, "calls_without_answer": 3}


def found(figures: dict[str, Any]) -> dict[str, routing_figures.Row]:
    return {row.name: row for row in routing_figures.rows(figures)}


def test_floors_hold_for_ten_million_numbers() -> None:
    rows = found({"numbers": {"10000000": COUNT, "1000": COUNT}})
    assert rows["10,000,000: memory, most (by workers 1: 900, 4: 3,000)"].reached is False
    assert rows["10,000,000: directory, a number with its line"].reached is True
    assert rows["10,000,000: start from snapshot"].reached is True
    assert rows["10,000,000: popular numbers, 1 a message, beside 1,000"].reached is True
    assert rows["10,000,000: popular numbers, 10 a message, beside 1,000"].reached is False
    assert rows["10,000,000: any numbers, 10 a message, beside 1,000"].reached is None
    assert all(row.reached is None for name, row in rows.items() if name.startswith("1,000:"))


def test_changes_during_an_import_have_their_own_verdict() -> None:
    rows = found({"change_in_force_ms": CHANGE | {"importing": CHANGE | {"p99": 140.0}}, "import_rows_per_s": 2_400})
    assert rows["change in force, quiet, p99 of 300"].reached is True
    assert rows["change in force, during an import, p99 of 300"].reached is False
    assert rows["change in force, quiet, calls that ended in another way, or not in time"].value == "3 of 9,000"
    assert rows["import, rows/s"].reached is True


def test_figures_of_the_peer_are_told_by_their_names() -> None:
    rows = found({"peer": {"drouting": {"load_s": 10.5, "runs": [1, 2], "rss": {"mb": 786}}}})
    assert rows["peer.drouting.load_s"].value == "10.5"
    assert rows["peer.drouting.rss.mb"].value == "786"
    assert "peer.drouting.runs" not in rows


def test_the_table_shows_what_is_not_reached() -> None:
    table = routing_figures.table({"numbers": {"1000": COUNT, "10000000": COUNT}})
    assert "[red]not reached[/red]" in list(table.columns[3].cells)


def test_a_run_of_one_part_keeps_the_others() -> None:
    before = {"numbers": {"1000": 1, "1000000": 2}, "measured": {"numbers": 1, "peer": 2}, "import_rows_per_s": 5}
    after = routing_figures.merged(before, {"numbers": {"1000": 3}, "measured": {"numbers": 4}})
    assert after == {
        "numbers": {"1000": 3, "1000000": 2},
        "measured": {"numbers": 4, "peer": 2},
        "import_rows_per_s": 5,
    }


def test_a_change_is_in_force_with_the_first_call_after_the_last_that_did_not_obey() -> None:
    calls = [Probe(1.000, 486), Probe(1.002, 603), Probe(1.004, 486), Probe(1.006, 603), Probe(1.008, 603)]
    assert in_force_ms(calls, 603, answered_at=1.0) == pytest.approx(6.0)
    assert in_force_ms(calls[3:], 603, answered_at=1.0) == 0
    assert in_force_ms(calls[:3], 603, answered_at=1.0) == math.inf


def test_a_call_without_an_answer_did_not_obey() -> None:
    assert in_force_ms([Probe(1.0, 603), Probe(1.002), Probe(1.004, 603)], 603, 1.0) == pytest.approx(4.0)


def test_figures_of_changes_are_by_nearest_rank() -> None:
    changes = [Change(float(n), 5.0, calls=50, unanswered=n == 0) for n in range(100)]
    told = figures(changes)
    assert (told["p50"], told["p99"], told["max"], told["calls"]) == (50.0, 99.0, 99.0, 5_000)
    assert told["calls_without_answer"] == 1


def test_codes_of_causes_are_those_that_flows_end_with() -> None:
    assert set(change_in_force.CODES) == set(change_in_force.CAUSES)


def test_memory_is_added_up_over_processes() -> None:
    text = "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  3072 kB\nPss:  2048 kB\nPrivate_Clean: 0 kB\n"
    assert memory.parse(text) == {"Rss": 3072, "Pss": 2048, "Private_Clean": 0}
    own = memory.of(memory.group(os.getpgrp()))
    assert own.pss > 5
    assert own.private <= own.pss <= own.private + own.shared
    assert memory.of([]).pss == 0


def test_a_file_that_is_mapped_is_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "rules.map"
    file.write_bytes(bytes(8 << 20))
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        before = memory.of([os.getpid()], file).mapped
        assert sum(mapped[::4_096]) == 0
        seen = memory.of([os.getpid()], file)
    assert before < 1
    assert seen.mapped == 8
    assert memory.of([os.getpid()], tmp_path / "another").mapped == 0


def test_tables_of_a_map_have_their_bytes(tmp_path: Path) -> None:
    file = tmp_path / "map"
    with lmdb.open(str(file), subdir=False, max_dbs=3) as env, env.begin(write=True) as txn:
        txn.put(b"key", b"v" * 10_000, db=env.open_db(b"numbers", txn))
        env.open_db(b"lines", txn)
    assert tables(file) == {"lines": 0, "numbers": 16_384}
