"""What runs every benchmark: a part after the other, and what is published of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from signalbox_local import bench_all
from signalbox_local.bench_all import PARTS, Part
from signalbox_local.bench_page import BEGIN, END

if TYPE_CHECKING:
    from pathlib import Path

PAGE = f"{BEGIN}\n{END}\n"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bench_all, "DIRECTORY", tmp_path)
    monkeypatch.setattr(bench_all, "RAN", tmp_path / "all.json")
    return tmp_path


def program(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What runs in place of every part, its name as the argument."""
    monkeypatch.setattr(Part, "command", lambda self, size, given: [sys.executable, "-c", text, self.name])


def test_every_target_of_the_makefile_is_run(request: pytest.FixtureRequest) -> None:
    makefile = (request.config.rootpath / "Makefile").read_text()
    targets = {line.split(":")[0].removeprefix("bench-") for line in makefile.splitlines() if line.startswith("bench-")}
    assert targets == {part.name for part in PARTS}


def test_a_part_tells_how_it_ended_and_whether_it_left_figures(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = PARTS[0]
    file = bench_all.figures_file(part.name)
    program(monkeypatch, f"open({str(file)!r}, 'w').write('{{}}'); raise SystemExit(3)")
    told = bench_all.run(part, "usual", Console(quiet=True))
    assert (told["exit"], told["figures"], told["size"]) == (3, True, "usual")


def test_figures_of_an_earlier_run_are_not_taken_for_those_of_one_that_failed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = PARTS[0]
    bench_all.figures_file(part.name).write_text("{}")
    program(monkeypatch, "raise SystemExit(1)")
    # Written before, to the second.
    monkeypatch.setattr(bench_all.time, "time", lambda: bench_all.figures_file(part.name).stat().st_mtime + 1)
    assert bench_all.run(part, "usual", Console(quiet=True))["figures"] is False


def test_nothing_of_a_small_run_is_published(directory: Path) -> None:
    told = {"command": "x", "date": "2026-11-24T01:00+00:00", "seconds": 1, "load_average": 0.1, "figures": True}
    ran: dict[str, Any] = {"sip": {**told, "size": "small"}}
    bench_all.figures_file("sip").write_text(json.dumps({"cpu_ms_per_call": {"median": 1, "min": 1, "max": 1}}))
    page, plots = directory / "page.md", directory / "plots"
    page.write_text(PAGE)

    assert bench_all.publish(ran, page, plots) == []
    assert "Nothing has been measured yet." in page.read_text()
    assert bench_all.figures(ran | {"sip": ran["sip"] | {"size": "usual"}}) != {}
    assert bench_all.figures(ran | {"sip": ran["sip"] | {"size": "usual", "figures": False}}) == {}


def test_a_part_that_nobody_knows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench_all.main(["--only", "peers,nonsense"])
    assert "no part is called 'nonsense'" in capsys.readouterr().err


def test_an_interruption_ends_the_part_that_runs_and_all_after_it(tmp_path: Path) -> None:
    part = (
        "import pathlib, signal, sys, time\n"
        "def end(*_): pathlib.Path(sys.argv[1] + '.ended').touch(); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "pathlib.Path(sys.argv[1] + '.running').touch()\n"
        "time.sleep(60)\n"
    )
    whole = (
        "import sys\nfrom signalbox_local.bench_all import Part, main\n"
        f"Part.command = lambda self, size, given: [sys.executable, '-c', {part!r}, self.name]\n"
        "sys.exit(main(['--small', '--only', 'peers,sip']))\n"
    )
    (tmp_path / "var/bench").mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-c", whole], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "peers.running").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == bench_all.INTERRUPTED
    assert "interrupted; peers has ended" in out
    assert sorted(one.name for one in tmp_path.glob("*.*")) == ["peers.ended", "peers.running"]


def test_arguments_go_to_the_one_part_in_place_of_its_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    routing = next(part for part in PARTS if part.name == "routing")
    assert routing.command("small")[3:] == ["--counts", "1000", "--parts", "numbers"]
    assert routing.command("small", ["--parts", "import"])[3:] == ["--parts", "import"]
    assert routing.command("full")[3:] == []
    with pytest.raises(SystemExit, match="2"):
        bench_all.main(["--only", "sip,ivr", "--", "--windows", "1"])
    assert "arguments are for one part: name it with --only" in capsys.readouterr().err


def test_a_failed_part_makes_the_whole_fail_and_the_next_one_is_run(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_all.interrupts, "install", lambda: None)
    program(monkeypatch, "import sys; raise SystemExit(sys.argv[1] == 'peers')")
    assert bench_all.main(["--small", "--only", "sip,peers"]) == 1
    assert json.loads((directory / "all.json").read_text()).keys() == {"sip", "peers"}
    assert "not as it is to be: ['peers']" in capsys.readouterr().out
    assert bench_all.main(["--small", "--only", "sip"]) == 0
