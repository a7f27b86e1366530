"""SIPp as a subprocess, one calling the other."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from signalbox_local.sipp import SCENARIOS, Sipp, SippError, SippOptions, run
from signalbox_local.sipp_logs import read_messages, ring_delays_ms
from support.wait import until


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def answering(workdir: Path, scenario: str = "uas_load.xml", **options: object) -> SippOptions:
    return SippOptions(SCENARIOS / scenario, workdir, "line", timeout_s=0, **options)


def calling(workdir: Path, target: str, **options: object) -> SippOptions:
    return SippOptions(
        **{
            "scenario": SCENARIOS / "uac_load.xml",
            "workdir": workdir,
            "name": "caller",
            "target": target,
            "rate": 100,
            "calls": 50,
            "timeout_s": 20,
            "keys": {"caller": "13800001234"},
            **options,
        }
    )


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_calls_succeed_and_are_counted(tmp_path: Path, transport: str) -> None:
    async with await Sipp.start(answering(tmp_path, transport=transport)) as line:
        options = calling(tmp_path, line.address, transport=transport, trace_messages=True)
        result = await run(options)
        line_result = await line.stop()
    assert result.clean
    assert (result.statistics.calls, result.statistics.successful, result.statistics.open) == (50, 50, 0)
    assert sum(result.statistics.response_times["ring"].values()) == 50
    assert line_result.statistics.successful == 50
    delays = ring_delays_ms(read_messages(tmp_path / "caller.messages"))
    assert len(delays) == 50
    assert all(0 < delay < 1000 for delay in delays)


async def test_a_busy_line_fails_the_call(tmp_path: Path) -> None:
    async with await Sipp.start(answering(tmp_path, "uas_busy.xml")) as line:
        result = await run(calling(tmp_path, line.address, calls=3))
        assert (await line.stop()).statistics.successful == 3
    assert result.exit_code == 1
    assert (result.statistics.failed, result.statistics.unexpected) == (3, 3)
    assert "486" in result.errors
    assert not result.clean


async def test_repetitions_are_counted(tmp_path: Path) -> None:
    """Nobody answers the first INVITE: a line comes up only later, on the same port."""
    options = answering(tmp_path)
    async with await Sipp.start(options) as gone:
        address = gone.address
    caller = await Sipp.start(calling(tmp_path, address, calls=1))
    async with caller:
        await asyncio.sleep(0.7)
        async with await Sipp.start(answering(tmp_path, port=int(address.rpartition(":")[2]))):
            result = await caller.wait()
    assert result.statistics.successful == 1
    assert result.statistics.retransmissions >= 1
    assert not result.clean


async def test_time_runs_out(tmp_path: Path) -> None:
    async with await Sipp.start(answering(tmp_path)) as line:
        result = await run(calling(tmp_path, line.address, calls=1, hold_ms=60_000, timeout_s=1))
    assert result.exit_code not in (0, 1)
    assert result.statistics.successful == 0


async def test_stopping_lets_open_calls_end(tmp_path: Path) -> None:
    async with await Sipp.start(answering(tmp_path)) as line:
        caller = await Sipp.start(calling(tmp_path, line.address, calls=0, hold_ms=300))
        await until(lambda: caller.statistics().open >= 5)
        result = await caller.stop()
    assert result.exit_code == 0
    assert result.statistics.successful == result.statistics.calls > 0
    assert not alive(caller.pid)


async def test_stopping_has_an_end(tmp_path: Path) -> None:
    async with await Sipp.start(answering(tmp_path)) as line:
        caller = await Sipp.start(calling(tmp_path, line.address, calls=1, hold_ms=60_000))
        await until(lambda: line.statistics().open == 1)
        result = await caller.stop(grace_s=0.2)
    assert result.exit_code == -9
    assert result.statistics.open == 1
    assert not alive(caller.pid)


async def test_no_process_is_left_when_the_waiting_is_cancelled(tmp_path: Path) -> None:
    async with await Sipp.start(answering(tmp_path)) as line:
        caller = await Sipp.start(calling(tmp_path, line.address, calls=0))
        waiting = asyncio.create_task(caller.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not alive(caller.pid)
    assert not alive(line.pid)


@pytest.mark.parametrize("scenario", ["<scenario/>", "no xml"])
async def test_a_scenario_that_cannot_run(tmp_path: Path, scenario: str) -> None:
    file = tmp_path / "bad.xml"
    file.write_text(scenario)
    with pytest.raises(SippError, match="caller"):
        await Sipp.start(calling(tmp_path, "127.0.0.1:9", scenario=file))


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    async with await Sipp.start(answering(tmp_path)) as line:
        with pytest.raises(SippError, match="other"):
            await Sipp.start(SippOptions(SCENARIOS / "uas_load.xml", tmp_path, "other", port=line.port))


async def test_sipp_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", str(tmp_path))
    with pytest.raises(SippError, match="cannot be run"):
        await Sipp.start(answering(tmp_path))
