"""Keys that wait for their workers. Times are made up."""

from __future__ import annotations

import asyncio

import pytest
from signalbox.api.media.v1 import media_pb2
from signalbox.media.voice import keylog
from signalbox.media.voice.keylog import CALL_MAX, KEEP_S, WORKER_MAX, KeyLogs


class Lost:
    """Counts."""

    count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def lost() -> Lost:
    return Lost()


@pytest.fixture
def logs(lost: Lost) -> KeyLogs:
    return KeyLogs(lost)


def press(logs: KeyLogs, digits: str, worker: str = "ivr-1", call: str = "ivr-1.1", now: float = 0.0) -> None:
    """Keys, one after the other."""
    for digit in digits:
        logs.add(worker, media_pb2.Key(call_id=call, digit=digit), now)


def digits(logs: KeyLogs, after: int = 0, worker: str = "ivr-1") -> str:
    """Those that a worker is told."""
    return "".join(key.digit for key in logs.of(worker).after(after))


def test_each_worker_has_its_own_keys_in_order(logs: KeyLogs) -> None:
    press(logs, "12")
    press(logs, "9", worker="ivr-2", call="ivr-2.1")
    press(logs, "3")
    assert digits(logs) == "123"
    assert digits(logs, worker="ivr-2") == "9"
    assert digits(logs, worker="ivr-3") == ""


def test_who_comes_back_gets_what_came_after_the_last_it_has(logs: KeyLogs) -> None:
    press(logs, "1")
    press(logs, "9", worker="ivr-2", call="ivr-2.1")
    first = logs.of("ivr-1").after(0)
    press(logs, "23")
    assert digits(logs, after=first[-1].sequence) == "23"
    # As often as it takes: what was sent may not have arrived.
    assert digits(logs, after=first[-1].sequence) == "23"
    assert digits(logs, after=1 << 60) == ""


def test_keys_go_when_they_are_old(logs: KeyLogs, lost: Lost) -> None:
    press(logs, "1", now=0.0)
    press(logs, "2", now=1.0)
    logs.forget(KEEP_S - 0.1)
    assert len(logs) == 2
    logs.forget(KEEP_S)
    assert digits(logs) == "2"
    assert lost.count == 1
    logs.forget(KEEP_S + 1.0)
    assert (digits(logs), len(logs)) == ("", 0)
    # The second one was told before it went.
    assert lost.count == 1


def test_a_call_that_keys_without_end_takes_no_room_from_others(logs: KeyLogs, lost: Lost) -> None:
    press(logs, "7", call="ivr-1.2")
    press(logs, "1" * CALL_MAX)
    assert lost.count == 0
    press(logs, "23")
    assert digits(logs) == "7" + "1" * (CALL_MAX - 2) + "23"
    assert lost.count == 2


def test_a_worker_has_its_limit_too(logs: KeyLogs, lost: Lost) -> None:
    for number in range(WORKER_MAX + 3):
        press(logs, "5", call=f"ivr-1.{number}")
    assert len(logs) == WORKER_MAX
    assert lost.count == 3
    assert logs.of("ivr-1").after(0)[0].call_id == "ivr-1.3"


def test_workers_that_are_made_up_push_out_none_that_watches(
    logs: KeyLogs, lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keylog, "WORKERS_MAX", 3)
    watched = logs.of("ivr-1")
    watched.watchers += 1
    press(logs, "1")
    for number in range(5):
        press(logs, "9", worker=f"x-{number}", call=f"x-{number}.1")
    assert logs.of("ivr-1") is watched
    assert digits(logs) == "1"
    assert len(logs) == 3
    assert lost.count == 3


def test_more_workers_than_usual_may_watch(logs: KeyLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keylog, "WORKERS_MAX", 2)
    watched = [logs.of(f"ivr-{number}") for number in range(2)]
    for log in watched:
        log.watchers += 1
    press(logs, "7", worker="ivr-8", call="ivr-8.1")
    assert digits(logs, worker="ivr-8") == "7"
    press(logs, "9", worker="ivr-9", call="ivr-9.1")
    assert (digits(logs, worker="ivr-9"), len(logs)) == ("9", 1)
    assert [logs.of(f"ivr-{number}") for number in range(2)] == watched


def test_workers_without_keys_are_forgotten_unless_they_watch(logs: KeyLogs) -> None:
    watched, other = logs.of("ivr-1"), logs.of("ivr-2")
    watched.watchers += 1
    logs.forget(0.0)
    assert logs.of("ivr-1") is watched
    assert logs.of("ivr-2") is not other


async def test_who_waits_is_woken_by_each_key(logs: KeyLogs) -> None:
    log = logs.of("ivr-1")
    for digit in "12":
        waiting = [asyncio.create_task(log.news()) for _ in range(2)]
        await asyncio.sleep(0)
        press(logs, digit)
        async with asyncio.timeout(15):
            await asyncio.gather(*waiting)
    assert digits(logs) == "12"


async def test_who_waits_is_woken_without_a_key_when_the_sidecar_ends(logs: KeyLogs) -> None:
    waiting = asyncio.create_task(logs.of("ivr-1").news())
    await asyncio.sleep(0)
    logs.wake()
    async with asyncio.timeout(15):
        await waiting
