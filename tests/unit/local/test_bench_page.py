"""The table of all benchmarks, and the plots, from figures as the benchmarks leave them."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from signalbox_local import bench_page, bench_plots
from signalbox_local.bench_page import BEGIN, END, PageError

MACHINE = {
    "date": "2026-11-24T01:02:03+00:00", "processor": "AMD EPYC", "cores": 2, "distribution": "Debian 12",
    "python": "3.11.7",
    "versions": {
        "kamailio": "version: kamailio 5.6.3 (x86_64/linux)", "rtpengine": "Version: 10.5.3.5-1",
        "sipp": "SIPp v3.6.1-TLS", "etcd": "etcd Version: 3.4.23",
        "redis": "Redis server v=7.0.15 sha=0:0", "grpcio": "1.85.1", "sippy": "2.5.0",
    },
}  # fmt: skip
RAN = {"size": "usual", "command": "signalbox_local.bench_x", "date": "2026-11-24T01:00+00:00", "seconds": 9,
       "load_average": 0.5, "figures": True, "exit": 0}  # fmt: skip


def spread(value: float) -> dict[str, float]:
    return {"median": value, "min": value / 2, "max": value * 2}


def peer(cpu: dict[str, float], **found: object) -> dict[str, Any]:
    return {"cpu_ms": {rate: spread(ms) for rate, ms in cpu.items()}, "calls": 1200, "failed": 0, **found}


@pytest.fixture
def peers() -> dict[str, Any]:
    run = {"purpose": "load", "failed": 0, "retransmissions": 0}
    return {
        "machine": MACHINE,
        "variants": {
            "static": peer({"100": 0.5, "1000": 0.25}, retransmissions=0, max_clean_cps=3456),
            "routed": peer({"100": 1.5, "1000": 0.5}, retransmissions=0, max_clean_cps=3000),
            "b2bua": peer({"100": 4.0}, retransmissions=7, max_clean_cps=230),
        },
        "runs": [
            run | {"variant": "static", "rate": 100.0, "cpu_ms_per_call": {"kamailio-1": 0.5}},
            run | {"variant": "routed", "rate": 100.0, "cpu_ms_per_call": {"kamailio-1": 0.5, "edge-1": 1.0}},
            run | {"variant": "routed", "rate": 9e3, "retransmissions": 3, "cpu_ms_per_call": {"kamailio-1": 77.0}},
        ],
    }


def numbers(count: int) -> dict[str, Any]:
    per_core = {"1": spread(5000.0), "10": spread(7000.0)}
    return {
        "rss_mb": 762, "bytes_per_number": 61.2, "snapshot_start_s": 1.8,
        "memory_mb_by_workers": {"1": {"own_and_map": count / 1e4}},
        "decisions_per_s_core": {"1": 5000, "10": 7000}, "decisions_per_s_core_spread": per_core,
        "uniform_decisions_per_s_core": {"1": 5000}, "uniform_decisions_per_s_core_spread": per_core,
        "decisions_beside_1000": {"1": spread(0.5), "10": spread(0.95)},
    }  # fmt: skip


def lines_of(found: dict[str, Any]) -> list[str]:
    return bench_page.section(found, dict.fromkeys(found, RAN), []).splitlines()


def test_a_section_has_versions_peers_beside_ours_and_what_was_run(peers: dict[str, Any]) -> None:
    text = lines_of({"peers": peers})

    assert text[0] == (
        "2026-11-24. AMD EPYC, 2 cores shared with callers and lines, Debian 12, Python 3.11.7, kamailio 5.6.3, "
        "rtpengine 10.5.3.5, etcd 3.4.23, redis 7.0.15, sipp 3.6.1, grpcio 1.85.1, sippy 2.5.0."
    )
    assert text[2].startswith(
        "| figure | Signalbox | static Kamailio | drouting | gRPC in KEMI Python | sippy's B2BUA |"
    )
    assert "| CPU a call at 100 calls/s, ms | 1.50 (0.75–3.00) | 0.50 (0.25–1.00) |  |  | 4.00 (2.00–8.00) |  |" in text
    assert "| CPU a call at 1,000 calls/s, ms | 0.50 (0.25–1.00) | 0.25 (0.12–0.50) |  |  |  |  |" in text
    assert "| calls at these rates: failed, sent again | 1,200: 0, 0 | 1,200: 0, 0 |  |  | 1,200: 0, 7 |  |" in text
    assert "- `signalbox_local.bench_x`: 2026-11-24 01:00 UTC, 9 s (0.5)" in text


def test_what_is_not_reached_is_said(peers: dict[str, Any]) -> None:
    sip = {"machine": MACHINE, "cpu_ms_per_call": spread(0.22)}
    assert any("0.220" in line and line.endswith("≤ 0.2: **not reached** |") for line in lines_of({"sip": sip}))
    sip["cpu_ms_per_call"] = spread(0.19)
    assert not any("not reached" in line for line in lines_of({"sip": sip}))


def test_ten_million_numbers_have_floors_and_fewer_have_none() -> None:
    few, most = ({"machine": MACHINE, "numbers": {str(n): numbers(n)}} for n in (1_000_000, 10_000_000))

    assert not any("reached" in line or "≤" in line for line in lines_of({"routing": few}))
    rows = {row.figure: row for row in bench_page.rows({"routing": most})}
    assert rows["10,000,000 numbers: memory of a replica, MiB"].reached is True
    assert rows["10,000,000 numbers: bytes a number with its line"].reached is False
    assert rows["10,000,000 numbers: beside 1,000, 1 a message"].reached is False
    assert rows["10,000,000 numbers: beside 1,000, 10 a message"].reached is True


def test_only_what_is_between_the_marks_is_written_anew() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert bench_page.renewed(page, "new\n") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert bench_page.renewed(bench_page.renewed(page, "new\n"), "new\n") == bench_page.renewed(page, "new\n")


@pytest.mark.parametrize("page", ["", f"{BEGIN}\n", f"{END}\n{BEGIN}\n"])
def test_a_page_without_marks_is_refused(page: str) -> None:
    with pytest.raises(PageError, match="make bench: begin"):
        bench_page.renewed(page, "new")


def test_nothing_measured_is_told() -> None:
    assert bench_page.section({}, {}, []) == "Nothing has been measured yet.\n"


def test_plots_are_drawn_of_what_there_is(peers: dict[str, Any]) -> None:
    level = {"failed": 0, "cores": {"ivr": 0.01, "rtpengine": 0.02, "media": 0.04}}
    levels = [level | {"calls": n, "alive": n, "rss_mb": 100 + n / 10} for n in (1000, 3000)]
    found = {
        "peers": peers,
        "routing": {"numbers": {"1000": numbers(1000), "1000000": numbers(1_000_000)}},
        "ivr": {"concurrent": {"levels": levels, "fresh_rss_mb": 109.0}},
    }

    drawn = bench_plots.drawn(found)

    assert set(drawn) == set(bench_page.PLOTS)
    for text in drawn.values():
        assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "Signalbox" in drawn["rate"]
    assert ">100,000</text>" in drawn["rules"]  # not a power of ten
    assert "drouting" not in drawn["rate"]
    assert drawn == bench_plots.drawn(found)
    assert bench_plots.drawn({"routing": {"numbers": {"1000": numbers(1000)}}}) == {}


def test_a_run_that_was_not_clean_is_on_no_line(peers: dict[str, Any]) -> None:
    with_it = bench_plots.by_rate(peers)
    peers["runs"].pop()
    assert bench_plots.by_rate(peers) == with_it
