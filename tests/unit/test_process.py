"""Supervision, signals and exit codes, in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.process import Supervisor

if TYPE_CHECKING:
    from collections.abc import Coroutine

HEAD = """
import asyncio, sys
from signalbox import process
from signalbox.errors import ConfigurationError
from signalbox.settings import Settings

async def forever():
    await asyncio.Event().wait()

async def dies():
    raise RuntimeError("worn out")

async def returns():
    pass

"""


def run(main: str, *signals: signal.Signals) -> tuple[int, list[dict[str, Any]], str]:
    """Run ``async def main(supervisor)``, send signals once it says "ready"; returns exit code, log and the rest."""
    code = f"{HEAD}async def main(supervisor):\n    {main}\n\nprocess.run(Settings(), 'test', main)\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        guard = threading.Timer(20, child.kill)
        guard.start()
        try:
            assert child.stdout is not None
            for number in signals:
                assert child.stdout.readline() == "ready\n"
                child.send_signal(number)
            _, errors = child.communicate()
        finally:
            guard.cancel()
    lines = errors.splitlines()
    return child.returncode, [json.loads(line) for line in lines if line.startswith("{")], errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_graceful_stop(number: signal.Signals) -> None:
    main = "supervisor.spawn('one', forever()); print('ready'); await supervisor.stopping.wait()"
    assert run(main, number) == (0, [], "")


def test_a_second_interrupt_is_the_end() -> None:
    main = "print('ready'); await supervisor.stopping.wait(); print('ready'); await forever()"
    assert run(main, signal.SIGINT, signal.SIGINT)[0] == 1


def test_a_second_sigterm_is_not() -> None:
    main = (
        "print('ready'); await supervisor.stopping.wait(); print('ready'); await asyncio.sleep(0.2); "
        "print('drained', file=sys.stderr)"
    )
    code, _, errors = run(main, signal.SIGTERM, signal.SIGTERM)
    assert (code, errors) == (0, "drained\n")


@pytest.mark.parametrize("task", ["dies", "returns"])
def test_the_death_of_a_task_ends_the_process(task: str) -> None:
    code, log, _ = run(f"supervisor.spawn('worker', {task}()); await supervisor.stopping.wait()")
    assert code == 1
    assert [(line["event"], line["task"], line["process"]) for line in log] == [("task_died", "worker", "test")]
    assert ("worn out" in json.dumps(log)) is (task == "dies")


def test_a_wrong_setting_is_exit_code_2() -> None:
    code, _, errors = run("raise ConfigurationError('x.y: must be z')")
    assert (code, errors) == (2, "signalbox test: x.y: must be z\n")


def test_a_defect_is_logged_and_exit_code_1() -> None:
    code, log, _ = run("supervisor.spawn('one', forever()); raise RuntimeError('worn out')")
    assert code == 1
    assert [line["event"] for line in log] == ["process_died"]
    assert "RuntimeError: worn out" in log[0]["exception"]


async def supervised(coroutine: Coroutine[Any, Any, None]) -> tuple[Supervisor, asyncio.Task[None]]:
    supervisor = Supervisor()
    task = supervisor.spawn("one", coroutine)
    await asyncio.sleep(0)
    return supervisor, task


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_task_that_somebody_else_cancels_is_a_death() -> None:
    supervisor, task = await supervised(forever())
    task.cancel()
    async with asyncio.timeout(5):
        await supervisor.stopping.wait()
    assert supervisor.failed


async def test_cancelling_while_stopping_is_not() -> None:
    supervisor, task = await supervised(forever())
    supervisor.stopping.set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await supervisor.cancel()
    assert not supervisor.failed


async def test_cancel_ends_all_tasks() -> None:
    supervisor, task = await supervised(forever())
    await supervisor.cancel()
    assert task.cancelled()
    assert not supervisor.failed


async def test_a_task_that_dies_while_stopping_is_a_failure() -> None:
    supervisor = Supervisor()

    async def die_at_the_end() -> None:
        await supervisor.stopping.wait()
        raise RuntimeError("worn out")

    task = supervisor.spawn("one", die_at_the_end())
    supervisor.stopping.set()
    await asyncio.gather(task, return_exceptions=True)
    await supervisor.cancel()
    assert supervisor.failed
