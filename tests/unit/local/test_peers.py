"""What the peers are started with, and how a run of them is summed up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from signalbox_local import bench_peers
from signalbox_local.bench_edge import Run
from signalbox_local.bench_peers import KEMI, VARIANTS
from signalbox_local.peers import process
from signalbox_local.peers.process import Peer, PeerError


def run(variant: str, rate: float, ms: float, purpose: str = "load", **more: Any) -> Run:
    counts = {"failed": 0, "retransmissions": 0} | more
    return Run(variant, purpose, rate, rate, 100, cpu_ms_per_call={"kamailio-1": ms, "other": 0.5}, **counts)


def test_kamailio_runs_the_script_with_as_many_workers() -> None:
    text = process.kemi_config("127.0.0.1:5070", Path("/a/kemi.py"), 4)
    assert "children=4\nlisten=udp:127.0.0.1:5070\n" in text
    assert 'modparam("app_python3", "load", "/a/kemi.py")' in text
    assert text.endswith('cfgengine "python"\n')


def test_a_path_that_a_file_of_kamailio_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'/a b/kemi\.py' has characters other than"):
        process.kemi_config("127.0.0.1:5070", Path("/a b/kemi.py"), 4)


def test_a_peer_that_ends_says_why(tmp_path: Path) -> None:
    peer = Peer("127.0.0.1:9", [sys.executable, "-c", "raise SystemExit('no licence')"], tmp_path / "log", {})
    with pytest.raises(PeerError, match=r"127\.0\.0\.1:9 takes no calls: .*\n(.*\n)*no licence"):
        peer.start()
    assert peer.cpu_seconds() == 0
    peer.stop()


def test_callers_and_lines_name_no_transport(tmp_path: Path) -> None:
    for file in bench_peers.scenarios(tmp_path / "new"):
        text = file.read_text()
        assert "transport=" not in text
        assert "Contact: <sip:" in text


def test_a_summary_has_each_peer_beside_the_static_proxy() -> None:
    runs = [run(variant, 100, 1.5 if variant == KEMI else 0.5) for variant in VARIANTS for _ in range(2)]
    runs += [run(KEMI, 100, 77, "warm-up"), *(run(variant, 100, 1.5) for variant in VARIANTS if variant != KEMI)]
    runs += [run(KEMI, 100, 1.5, failed=3, retransmissions=9)]

    found: Any = bench_peers.summary(runs, dict.fromkeys(VARIANTS, 230.4), searched=True)["variants"]

    assert list(found) == list(VARIANTS)
    kemi = found[KEMI]
    assert kemi["cpu_ms"] == {"100": {"median": 2.0, "min": 2.0, "max": 2.0}}
    assert kemi["beside_static"]["100"] == {"median": 2.0, "min": 1.0, "max": 2.0}
    assert (kemi["calls"], kemi["failed"], kemi["retransmissions"], kemi["max_clean_cps"]) == (300, 3, 9, 230)
