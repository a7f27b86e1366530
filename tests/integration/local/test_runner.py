"""supervisord as the process runner: nothing outlives who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from signalbox_local.runner import Program, Runner, RunnerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMEOUT_S = 15.0

# A process with a child of its own, as Kamailio and rtpengine have.
FAMILY = ["bash", "-c", "sleep 1000 & wait"]

STARTER = """
import sys, time
from pathlib import Path
from signalbox_local.runner import Program, Runner
directory = Path(sys.argv[1])
runner = Runner(directory)
runner.launch([Program("sleeper", ["sleep", "1000"], directory / "sleeper.log")], detached=sys.argv[2] == "detached")
runner.start("sleeper")
print("started", flush=True)
time.sleep(1000)
"""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.02)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(tmp_path)
    yield runner
    runner.shutdown()


def launch(runner: Runner, directory: Path, **commands: list[str]) -> None:
    runner.launch(
        [Program(name, command, directory / f"{name}.log") for name, command in commands.items()], detached=False
    )


def test_a_process_runs_stops_and_runs_again(runner: Runner, tmp_path: Path) -> None:
    launch(runner, tmp_path, sleeper=["sleep", "1000"])
    assert runner.state("sleeper").pid == 0
    runner.start("sleeper")
    first = runner.state("sleeper").pid
    assert Path(f"/proc/{first}").exists()
    runner.stop("sleeper")
    assert runner.state("sleeper").pid == 0
    assert not Path(f"/proc/{first}").exists()
    runner.stop("sleeper")
    runner.start("sleeper")
    assert runner.state("sleeper").pid not in {0, first}


def test_kill_takes_the_children_too_and_nobody_starts_the_process_again(runner: Runner, tmp_path: Path) -> None:
    launch(runner, tmp_path, family=FAMILY)
    runner.start("family")
    wait_until(lambda: len(runner.remaining()) == 2)
    runner.kill("family")
    wait_until(lambda: not runner.remaining())
    assert runner.state("family").state == "EXITED"
    with pytest.raises(RunnerError, match="family is not running"):
        runner.kill("family")


def test_output_goes_to_the_log(runner: Runner, tmp_path: Path) -> None:
    launch(runner, tmp_path, speaker=["bash", "-c", "echo 100% out; echo err >&2"])
    runner.start("speaker")
    log = tmp_path / "speaker.log"
    wait_until(lambda: log.exists() and log.read_text() == "100% out\nerr\n")


def test_shutdown_leaves_nothing_even_of_a_process_that_ignores_sigterm(runner: Runner, tmp_path: Path) -> None:
    stubborn = ["bash", "-c", "trap '' TERM; echo ready; while true; do sleep 1000; done"]
    launch(runner, tmp_path, family=FAMILY, stubborn=stubborn)
    runner.start("family")
    runner.start("stubborn")
    wait_until(lambda: (tmp_path / "stubborn.log").exists() and (tmp_path / "stubborn.log").read_text() == "ready\n")
    runner.shutdown()
    assert runner.remaining() == []
    assert not runner.running
    runner.shutdown()


def test_a_killed_supervisord_takes_its_processes_along(runner: Runner, tmp_path: Path) -> None:
    launch(runner, tmp_path, sleeper=["sleep", "1000"])
    runner.start("sleeper")
    wait_until(lambda: len(runner.remaining()) == 1)
    os.kill(int((tmp_path / "supervisord.pid").read_text()), signal.SIGKILL)
    wait_until(lambda: not runner.remaining())
    assert not runner.running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_dead_parent_takes_everything_along(runner: Runner, tmp_path: Path, number: signal.Signals) -> None:
    with starter(tmp_path, "attached") as parent:
        assert runner.running
        wait_until(lambda: len(runner.remaining()) == 1)
        parent.send_signal(number)
        parent.wait(TIMEOUT_S)
        wait_until(lambda: not runner.running and not runner.remaining())


def test_a_detached_runner_outlives_its_parent_and_is_found_again(runner: Runner, tmp_path: Path) -> None:
    with starter(tmp_path, "detached") as parent:
        parent.kill()
        parent.wait(TIMEOUT_S)
    assert runner.running
    assert runner.state("sleeper").state == "RUNNING"
    runner.shutdown()
    assert not runner.running
    assert runner.remaining() == []


def test_a_pid_that_belongs_to_somebody_else_by_now_is_left_alone(runner: Runner, tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as other:
        (tmp_path / "supervisord.pid").write_text(f"{other.pid}\n")
        assert not runner.running
        runner.shutdown()
        assert other.poll() is None
        other.kill()


def test_a_command_that_is_not_installed_is_named(runner: Runner, tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="no-such-server: not installed"):
        launch(runner, tmp_path, ghost=["no-such-server"])


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 100)
    with pytest.raises(RunnerError, match="too long for a UNIX socket"):
        launch(Runner(directory), directory, sleeper=["sleep", "1000"])


def test_starting_from_a_thread_that_may_end_before_us_is_refused(runner: Runner, tmp_path: Path) -> None:
    errors: list[RunnerError] = []

    def body() -> None:
        try:
            launch(runner, tmp_path, sleeper=["sleep", "1000"])
        except RunnerError as error:
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


def test_an_order_to_nobody_says_that_nobody_answers(runner: Runner) -> None:
    with pytest.raises(RunnerError, match="does not answer"):
        runner.start("sleeper")


class starter:
    """Another Python that starts a runner in the directory."""

    def __init__(self, directory: Path, mode: str) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", STARTER, str(directory), mode], stdout=subprocess.PIPE, env=environment
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"started\n"
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(TIMEOUT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
