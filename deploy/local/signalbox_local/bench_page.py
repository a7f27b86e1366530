"""What ``make bench`` writes into ``docs/benchmarks.md``: one table of all figures, the peers beside ours. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from signalbox_local import bench_plots

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
PEERS = ("static", "drouting", "kemi", "b2bua")
MOST = 10_000_000
PLOTS = {
    "rate": "Processor time a call by calls a second",
    "rules": "Processor time of a decision by numbers",
    "rules-memory": "Memory of a routing replica by numbers",
    "calls": "Processor time by calls at once",
    "calls-memory": "Memory of a worker with voice by calls at once",
}


class PageError(Exception):
    """The page has no place for the table."""


class Row(NamedTuple):
    """One figure of ours, and of peers by their name. ``reached`` None: nothing is asked of it."""

    figure: str
    ours: str
    peers: Mapping[str, str] = {}
    asked: str = ""
    reached: bool | None = None


def renewed(page: str, section: str) -> str:
    """The page with another text between the marks. Raises PageError without them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise PageError(f"docs/benchmarks.md has no {BEGIN} with {END} behind it")
    return f"{before}{BEGIN}\n\n{section}\n{END}{after}"


def section(found: Mapping[str, Any], ran: Mapping[str, Any], plots: Sequence[str]) -> str:
    """The text: when and on what, the table, the plots. ``found``: figures by part; ``ran``: how each was run."""
    if not found:
        return "Nothing has been measured yet.\n"
    names = [bench_plots.NAMES[name] for name in PEERS]
    lines = [machine(found), "", "| figure | Signalbox | " + " | ".join(names) + " | to reach |", "|---" * 7 + "|"]
    for row in rows(found):
        asked = row.asked + (": **not reached**" if row.reached is False else "")
        lines.append(
            "| " + " | ".join([row.figure, row.ours, *(row.peers.get(name, "") for name in PEERS), asked]) + " |"
        )
    lines += ["", "What was run (load average when it began):", ""]
    for name in found:
        told = ran[name]
        when = told["date"].replace("T", " ")[:16]
        lines.append(f"- `{told['command']}`: {when} UTC, {told['seconds']} s ({told['load_average']})")
    for name in plots:
        lines += ["", f"![{PLOTS[name]}](plots/{name}.svg)"]
    return "\n".join([*lines, ""])


def machine(found: Mapping[str, Any]) -> str:
    """Versions of what was measured last."""
    told = max((one for one in map(_machine, found.values()) if one), key=lambda one: str(one["date"]))
    versions = told["versions"]
    programs = ", ".join(_version(name, versions[name]) for name in ("kamailio", "rtpengine", "etcd", "redis", "sipp"))
    return (
        f"{told['date'][:10]}. {told['processor']}, {told['cores']} cores shared with callers and lines, "
        f"{told['distribution']}, Python {told['python']}, {programs}, "
        f"grpcio {versions['grpcio']}, sippy {versions['sippy']}."
    )


def _machine(figures: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of the part; routing has one for each of its own parts."""
    parts = figures.get("measured", {})
    return figures.get("machine") or next((one["machine"] for one in parts.values()), None)


def _version(name: str, text: str) -> str:
    """Its number, of the line in which a program tells it."""
    words = [word.strip(",;()").removeprefix("v").removeprefix("v=") for word in text.replace("=", " ").split()]
    number = next((word for word in words if word[:1].isdigit() and "." in word), text)
    return f"{name} {number.partition('-')[0]}"


def rows(found: Mapping[str, Any]) -> Iterator[Row]:
    """All figures that were measured, in the order of the page."""
    makers = {
        "peers": _peers, "edge": _edge, "decide": _decide, "routing": _routing, "inventory": _inventory,
        "recording": _recording, "sip": _sip, "ivr": _ivr,
    }  # fmt: skip
    for name, make in makers.items():
        if name in found:
            yield from make(found[name])


def _spread(one: Mapping[str, float], spec: str = ".2f") -> str:
    return f"{one['median']:{spec}} ({one['min']:{spec}}–{one['max']:{spec}})"


def _least(figure: str, value: float, floor: float, spec: str = ",.0f", aim: str = "") -> Row:
    return Row(figure, f"{value:{spec}}", {}, f"≥ {floor:{spec}}{aim}", value >= floor)


def _most(figure: str, value: float, limit: float, spec: str = ",.0f") -> Row:
    return Row(figure, f"{value:{spec}}", {}, f"≤ {limit:{spec}}" if limit else "0", value <= limit)


def _peers(figures: Mapping[str, Any]) -> Iterator[Row]:
    variants = figures["variants"]

    def row(figure: str, cells: Mapping[str, str]) -> Row:
        return Row(figure, cells.get("routed", ""), {name: cells[name] for name in PEERS if name in cells})

    for rate in variants["static"]["cpu_ms"]:
        cells = {name: _spread(one["cpu_ms"][rate]) for name, one in variants.items() if rate in one["cpu_ms"]}
        yield row(f"CPU a call at {int(rate):,} calls/s, ms", cells)
    if "max_clean_cps" in variants["static"]:
        yield row(
            "highest rate without failure or retransmission, calls/s",
            {name: f"{one['max_clean_cps']:,}" for name, one in variants.items()},
        )
    yield row(
        "calls at these rates: failed, sent again",
        {name: f"{one['calls']:,}: {one['failed']:,}, {one['retransmissions']:,}" for name, one in variants.items()},
    )


def _edge(figures: Mapping[str, Any]) -> Iterator[Row]:
    limits = {"1000": 1.8, "2000": 1.5}
    for rate, spread in figures["cpu_ratio_spread"].items():
        limit = limits.get(rate)
        yield Row(
            f"all processes to the static proxy, {int(rate):,} calls/s", _spread(spread), {},
            f"≤ {limit}" if limit else "", spread["median"] <= limit if limit else None,
        )  # fmt: skip
    yield _most("proxy to the static proxy, 1,000 calls/s", figures["kamailio_cpu_ratio"], 1.1, ".2f")
    yield _most("delay that asking adds at 500 calls/s, p99, ms", figures["added_pdd_ms"]["p99"], 5.0, ".1f")
    yield _most("failed up to 1,500 calls/s", figures["failed"], 0)
    yield _most("sent again up to 1,500 calls/s", figures["retransmissions"], 0)
    if best := figures["max_clean_cps"]:
        yield _least("highest clean rate to the static proxy's", best["routed"] / best["static"], 0.8, ".2f")


def _decide(figures: Mapping[str, Any]) -> Iterator[Row]:
    for batch, spread in figures["decisions_per_s_core_spread"].items():
        name = f"full decisions/s a core, {batch} a message"
        if batch == "10":
            yield Row(name, _spread(spread, ",.0f"), {}, "≥ 15,000, aim 25,000", spread["median"] >= 15_000)
        else:
            yield Row(name, _spread(spread, ",.0f"))
    yield Row("answered at half load, p99, ms", _spread(figures["p99_ms_half_load"], ".1f"))


def _routing(figures: Mapping[str, Any]) -> Iterator[Row]:
    drouting = figures.get("peer", {}).get("drouting")
    for count, one in sorted(figures.get("numbers", {}).items(), key=lambda pair: int(pair[0])):
        yield from _numbers(int(count), one)
    if drouting:
        load, memory = drouting["load"]["wall_s"], drouting["memory"]["reloaded_again"]["mb"]
        title = f"{drouting['prefixes']:,} numbers"
        yield Row(f"{title}: start, s", "", {"drouting": _spread(load)})
        yield Row(f"{title}: memory after a reload, MB", "", {"drouting": f"{memory:,.0f}"})
    if change := figures.get("change_in_force_ms"):
        theirs = {"drouting": f"{drouting['change']['change_in_force_s'] * 1000:,.0f}"} if drouting else {}
        for name, p99 in (("", change["p99"]), (", during an import", change["importing"]["p99"])):
            row = _most(f"change in force{name}, p99, ms", p99, 100, ".1f")
            yield row._replace(peers={} if name else theirs, asked="≤ 100, aim 50")
    if rate := figures.get("import_rows_per_s"):
        yield _least("import, rows/s", rate, 1_667)


def _numbers(count: int, one: Mapping[str, Any]) -> Iterator[Row]:
    """What is to be reached is told of ten millions."""
    title = f"{count:,} numbers"
    limited = (
        ("memory of a replica, MiB", one["rss_mb"], 2_560, ",.0f"),
        ("bytes a number with its line", one["bytes_per_number"], 60, ".1f"),
        ("start without etcd, s", one["snapshot_start_s"], 15, ".1f"),
    )
    for name, value, limit, spec in limited:
        row = _most(f"{title}: {name}", value, limit, spec)
        yield row if count == MOST else row._replace(asked="", reached=None)
    beside: Mapping[str, Any] = next((one[name] for name in one if name.startswith("decisions_beside_")), {})
    for batch, spread in one["decisions_per_s_core_spread"].items():
        yield Row(f"{title}: decisions/s a core, popular, {batch} a message", _spread(spread, ",.0f"))
        if count == MOST:
            ratio = beside[batch]
            yield Row(
                f"{title}: beside 1,000, {batch} a message", _spread(ratio), {}, "≥ 0.9", ratio["median"] >= 0.9
            )  # fmt: skip


def _inventory(figures: Mapping[str, Any]) -> Iterator[Row]:
    yield _most("search of 10,000,000 numbers, p99, ms", figures["p99_ms"], 50, ".1f")


def _recording(figures: Mapping[str, Any]) -> Iterator[Row]:
    yield Row(
        "calls of one rtpengine, recorded; not recorded",
        f"{figures['recorded_calls']:,}; {figures['unrecorded_calls']:,}",
    )
    yield _least("recorded to not recorded", figures["ratio"], 0.8, ".2f")
    yield _most("packets lost, or gaps told that were none", figures["lost"] + figures["gaps"], 0)
    yield _least("rendering as Ogg-Opus, times real time", figures["conversion_x_realtime"], 500, aim=", aim 1,000")
    yield Row("recorder, CPU s a minute of call", f"{figures['recorder_cpu_per_call_minute']:.3f}")


def _sip(figures: Mapping[str, Any]) -> Iterator[Row]:
    spread = figures["cpu_ms_per_call"]
    yield Row("bare answered call at a worker, CPU ms", _spread(spread, ".3f"), {}, "≤ 0.2", spread["median"] <= 0.2)


def _ivr(figures: Mapping[str, Any]) -> Iterator[Row]:
    if "setups" in figures:
        spread = figures["setups"]["per_s_core"]
        yield Row(
            "call flows/s a core of a worker", _spread(spread, ".0f"), {}, "≥ 200, aim 500", spread["median"] >= 200
        )
    if "concurrent" in figures:
        yield _least("calls at once at a worker", figures["concurrent_calls"], 3_000, aim=", aim 10,000")
        yield _most("its memory with so many, MB", figures["worker_rss_mb"], 1_000)
    yield _most("call flows that failed", figures["failed"], 0)
