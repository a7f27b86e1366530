"""The figures of ``make bench-routing``: put together from several runs, and as a table with what is to be reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rich.table import Table

MOST = 10_000_000
MEMORY_MB, BYTES, SNAPSHOT_S, RATIO, CHANGE_MS = 2_560, 60, 15, 0.9, 100
"""What is to be reached, with MOST numbers; the last with any."""


class Row(NamedTuple):
    """One figure. ``reached`` None: nothing is asked of it."""

    name: str
    value: str
    asked: str = ""
    reached: bool | None = None


def rows(figures: Mapping[str, Any]) -> Iterator[Row]:
    """Every figure that was measured."""
    numbers = sorted(figures.get("numbers", {}).items(), key=lambda one: int(one[0]))
    for count, found in numbers:
        yield from _of_count(int(count), found, most=int(count) == MOST)
    if "change_in_force_ms" in figures:
        yield from _change(figures["change_in_force_ms"])
    if "import_rows_per_s" in figures:
        yield Row(
            "import, rows/s", f"{figures['import_rows_per_s']:,}", "≥ 1,667", figures["import_rows_per_s"] >= 1_667
        )
    for name, value in _leaves(figures.get("peer", {})):
        yield Row(f"peer.{name}", str(value))


def _of_count(count: int, found: Mapping[str, Any], *, most: bool) -> Iterator[Row]:
    title = f"{count:,}"

    def most_asked(name: str, value: float, limit: float, unit: str) -> Row:
        if not most:
            return Row(f"{title}: {name}", f"{value:,} {unit}")
        return Row(f"{title}: {name}", f"{value:,} {unit}", f"≤ {limit:,}", value <= limit)

    workers = ", ".join(f"{n}: {one['own_and_map']:,}" for n, one in sorted(found["memory_mb_by_workers"].items()))
    yield most_asked(f"memory, most (by workers {workers})", found["rss_mb"], MEMORY_MB, "MiB")
    yield most_asked("directory, a number with its line", found["bytes_per_number"], BYTES, "bytes")
    yield Row(f"{title}: the whole memory map, a number", f"{found['map_bytes_per_number']:,} bytes")
    yield most_asked("start from snapshot", found["snapshot_start_s"], SNAPSHOT_S, "s")
    yield Row(f"{title}: start from etcd", f"{found['etcd_load_s']} s")
    for prefix, what in (("", "popular"), ("uniform_", "any")):
        for batch, rate in found[f"{prefix}decisions_per_s_core"].items():
            yield Row(f"{title}: decisions/s a core, {what} numbers, {batch} a message", f"{rate:,}")
        beside = next(name for name in found if name.startswith(f"{prefix}decisions_beside_"))
        least = int(beside.rpartition("_")[2])
        if count == least:
            continue
        for batch, spread in found[beside].items():
            ratio, shown = spread["median"], "{median:.2f} ({min:.2f}–{max:.2f})".format(**spread)
            asked = (f"≥ {RATIO}", ratio >= RATIO) if most and not prefix else ("", None)
            yield Row(f"{title}: {what} numbers, {batch} a message, beside {least:,}", shown, *asked)
    half = found["p99_ms_half_load_spread"]
    yield Row(f"{title}: answered at half load, p99", "{median} ({min}–{max}) ms".format(**half))


def _change(found: Mapping[str, Any]) -> Iterator[Row]:
    for what, part in (("quiet", found), ("during an import", found["importing"])):
        yield Row(f"change in force, {what}, p50", f"{part['p50']} ms")
        yield Row(
            f"change in force, {what}, p99 of {part['changes']}", f"{part['p99']} ms", f"≤ {CHANGE_MS}",
            part["p99"] <= CHANGE_MS,
        )  # fmt: skip
        lost, calls = part["calls_without_answer"], part["calls"]
        yield Row(f"change in force, {what}, calls that ended in another way, or not in time", f"{lost} of {calls:,}")


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{name}.")
        elif not isinstance(value, list):
            yield f"{path}{name}", value


def merged(before: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured before with what was found now; of parts and counts that are in both, what was found now."""
    result = {**before, **found}
    for name in ("numbers", "measured", "peer"):
        if name in before and name in found:
            result[name] = {**before[name], **found[name]}
    return result


def table(figures: Mapping[str, Any]) -> Table:
    """For people."""
    made = Table(title="Ten million numbers")
    made.add_column("figure")
    made.add_column("measured", justify="right")
    made.add_column("to reach")
    made.add_column("")
    for row in rows(figures):
        verdict = {None: "", True: "reached", False: "[red]not reached[/red]"}[row.reached]
        made.add_row(row.name, row.value, row.asked, verdict)
    return made
