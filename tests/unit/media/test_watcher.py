"""When a call is told to be dead: two looks, a sweep apart, have to say so."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from signalbox.media.metrics import MediaMetrics
from signalbox.media.watcher import Watcher
from signalbox.ng import NgTimeoutError
from signalbox.settings import MediaSettings
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEAD_S = 2
LIST, QUERY = "list", "query"


class Script:
    """An rtpengine with one call, and who is told of it. ``looks`` are told one by one, the last again and again.

    A look is how many seconds ago the last packet came, or which command gets no answer instead.
    """

    connections = 1

    def __init__(self, *looks: float | str, name: str = "call") -> None:
        self.name = name
        self.looks = [*looks]
        self.left = [*looks]
        self.dead: list[float] = []
        self.taken = True
        """Whether anybody takes what is told."""
        self.deleted: list[float] = []
        self.began = time.monotonic()

    async def calls(self) -> frozenset[str]:
        """As Lister.calls."""
        if self.left[0] == LIST:
            self._next()
            raise NgTimeoutError("frozen")
        return frozenset() if self.deleted else frozenset([self.name])

    async def request(self, command: str, _: object) -> Any:
        """As NgClient.request."""
        if command == "delete":
            self.deleted.append(self._now())
            return {}
        look = self.left[0]
        self._next()
        if isinstance(look, str):
            raise NgTimeoutError("frozen")
        stream = {"last packet": int(time.time() - look), "local port": 1, "flags": ["filled"]}
        return {"tags": {"a": {"medias": [{"flags": ["recv"], "streams": [stream]}]}}}

    def _now(self) -> float:
        return time.monotonic() - self.began

    def _next(self) -> None:
        if len(self.left) > 1:
            self.left.pop(0)

    async def tell(self, alive: Sequence[str], dead: Sequence[str], node: int) -> bool:
        """As Reporter.tell."""
        self.dead += [self._now() for _ in dead]
        return self.taken

    def close(self) -> None:
        """As Lister.close."""


async def watch(script: Script, done: Callable[[], bool]) -> None:
    fake: Any = script
    settings = MediaSettings(dead_after_s=DEAD_S)
    watcher = Watcher(settings, fake, fake, fake, MediaMetrics(CollectorRegistry()), lambda: 7)
    task = asyncio.create_task(watcher.run())
    await until(done)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_second_look_finds_it_silent_too() -> None:
    script = Script(60)
    await watch(script, lambda: bool(script.dead))
    assert script.dead[0] >= DEAD_S / 6 * 0.9


@pytest.mark.parametrize(
    "looks",
    [(60, 0, 60, 0), (60, QUERY, 60, 0), (60, LIST, 60, 0), (60, LIST, LIST, 60, QUERY, 60, 0)],
    ids=["packets came", "not looked at", "not listed", "frozen for long"],
)
async def test_what_is_seen_once_ends_no_call(looks: tuple[float | str, ...]) -> None:
    script = Script(*looks)
    await watch(script, lambda: len(script.left) == 1)
    assert script.dead == []


async def test_what_is_told_to_be_dead_and_ended_by_nobody_is_deleted_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy that passed the BYE on could not tell a late node of it: a recording waits for nothing else."""
    monkeypatch.setattr("signalbox.media.watcher.ENDING_S", 1.0)
    script = Script(60)
    await watch(script, lambda: bool(script.deleted))
    assert script.deleted[0] - script.dead[0] >= 1.0


async def test_what_nobody_was_told_of_is_not_deleted_however_long_it_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """When routing is back, whose call it is may take a while to be known there, too."""
    monkeypatch.setattr("signalbox.media.watcher.ENDING_S", 1.0)
    script = Script(3000)
    script.taken = False
    refused = 0

    def told() -> bool:
        nonlocal refused
        if not script.taken:
            refused = len(script.dead)
            script.taken = refused >= 6
        return bool(script.deleted)

    await watch(script, told)
    assert script.deleted[0] - script.dead[refused] >= 1.0 * 0.9


async def test_silent_media_beside_a_call_stay_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalbox.media.watcher.ENDING_S", 0.0)
    script = Script(290, name="ivr-1.edge-1-1-1-1.2")
    await watch(script, lambda: len(script.dead) >= 4)
    assert script.deleted == []
    script = Script(303, name="ivr-1.edge-1-1-1-1.2")
    await watch(script, lambda: bool(script.deleted))
