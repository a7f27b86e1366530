"""Media nodes that die, hang or are started anew while calls are there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.g711 import A_LAW
from signalbox.ivr.media import anchoring
from signalbox.ivr.media.errors import MediaLostError, NoMediaNodeError
from signalbox.ivr.media.session import Party, State
from signalbox.ng import NgClient
from signalbox_local.rtp_party import tone
from support.ivr_media import anchored, media_node, worker
from support.rtpengine import Rtpengine
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from signalbox.ivr.media.nodes import MediaNodes
    from signalbox.ivr.media.session import MediaSession
    from signalbox_local.rtp_party import RtpParty

WAIT_S = 20.0


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[tuple[Rtpengine, Rtpengine]]:
    """Two, which a test may harm."""
    made = [Rtpengine(tmp_path / f"n{n}", port_min=30_000 + 1000 * n).start() for n in (1, 2)]
    yield made[0], made[1]
    for one in made:
        one.stop()


async def carried(server: Rtpengine) -> int:
    """Calls that it has."""
    client = await NgClient.connect(server.control)
    try:
        return await client.calls()
    finally:
        client.close()


def prompt(tmp_path: Path) -> str:
    path = tmp_path / "prompt.alaw.wav"
    path.write_bytes(A_LAW.wav(A_LAW.decode(tone(1000))))
    return str(path)


async def everything_that_waits(session: MediaSession, path: str) -> list[asyncio.Task[object]]:
    """All that a flow may wait for."""
    playback = await session.play(path, repeat=None)
    collecting = session.keys[Party.CALLER].collect(4, first_timeout_s=600, next_timeout_s=600)
    waiting = [asyncio.ensure_future(one) for one in (playback.done(), collecting, session.keys[Party.LINE].next())]
    await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)
    return waiting


async def test_whoever_waits_is_told_that_the_node_died(
    engines: tuple[Rtpengine, Rtpengine], caller: RtpParty, tmp_path: Path
) -> None:
    server, _ = engines
    async with worker(media_node(server.control)) as nodes:
        session, _ = await anchored(nodes, "w1.1", caller.description())
        waiting = await everything_that_waits(session, prompt(tmp_path))
        server.kill()
        done, _ = await asyncio.wait(waiting, timeout=WAIT_S)
        assert len(done) == len(waiting)
        assert [type(one.exception()) for one in waiting] == [MediaLostError] * 3
        assert session.state is State.LOST
        with pytest.raises(MediaLostError):
            await session.play("any")
        with pytest.raises(MediaLostError):
            await session.keys[Party.CALLER].next()
        await session.close()
        await session.close()
        with pytest.raises(NoMediaNodeError, match="media-1: does not answer"):
            await anchoring.anchor(nodes, "w1.2", caller.description())


async def test_a_command_to_a_node_that_died_a_moment_ago_fails_at_once(
    engines: tuple[Rtpengine, Rtpengine], caller: RtpParty
) -> None:
    """Before a ping has found out."""
    server, _ = engines
    async with worker(media_node(server.control), interval_s=600) as nodes:
        session, _ = await anchored(nodes, "w1.1", caller.description())
        server.kill()
        waiting = asyncio.create_task(session.keys[Party.CALLER].next())
        with pytest.raises(MediaLostError, match="cannot be reached"):
            await session.offer_line()
        with pytest.raises(MediaLostError):
            await waiting
        await session.close()


async def test_a_node_that_was_started_anew_has_lost_its_calls(
    engines: tuple[Rtpengine, Rtpengine], caller: RtpParty, tmp_path: Path
) -> None:
    server, _ = engines
    async with worker(media_node(server.control)) as nodes:
        session, _ = await anchored(nodes, "w1.1", caller.description())
        waiting = await everything_that_waits(session, prompt(tmp_path))
        server.kill()
        server.start()
        done, _ = await asyncio.wait(waiting, timeout=WAIT_S)
        assert len(done) == len(waiting)
        assert [type(one.exception()) for one in waiting] == [MediaLostError] * 3
        await session.close()
        # It is trusted again, and serves.
        again, _ = await anchored(nodes, "w1.2", caller.description())
        await again.close()


async def test_a_node_that_hangs_is_passed_over_and_what_it_may_have_begun_is_freed(
    engines: tuple[Rtpengine, Rtpengine], caller: RtpParty
) -> None:
    hanging, other = engines
    # It looks the best: without pings nobody has noticed yet.
    infos = [media_node(hanging.control, 1, capacity=1000), media_node(other.control, 2, calls=90)]
    async with worker(*infos, interval_s=0.1) as nodes:
        await anchored_and_closed(nodes, caller)
        hanging.pause()
        try:
            session, answer = await anchored(nodes, "w1.7", caller.description())
            assert session.node.id == "media-2"
            assert other.interface in answer
            # The other's calls live on.
            await asyncio.sleep(0.3)
            assert session.state is State.ALONE
        finally:
            hanging.resume()
        # The offer waited in its socket.
        for _ in range(200):
            if await carried(hanging) == 0:
                break
            await asyncio.sleep(0.1)
        assert await carried(hanging) == 0
        await session.close()
        assert await carried(other) == 0


async def anchored_and_closed(nodes: MediaNodes, caller: RtpParty) -> None:
    session, _ = await anchored(nodes, "w1.0", caller.description())
    assert session.node.id == "media-1"
    await session.close()


async def test_a_node_that_hangs_for_a_moment_keeps_its_calls(
    engines: tuple[Rtpengine, Rtpengine], caller: RtpParty, tmp_path: Path
) -> None:
    server, _ = engines
    async with worker(media_node(server.control)) as nodes:
        session, _ = await anchored(nodes, "w1.1", caller.description())
        server.pause()
        try:
            # No new call, but none is given up.
            await until(lambda: not usable(nodes), WAIT_S)
            assert session.state is State.ALONE
        finally:
            server.resume()
        await until(lambda: usable(nodes), WAIT_S)
        assert session.state is State.ALONE
        await session.play(prompt(tmp_path))
        await session.close()


async def test_a_call_that_comes_while_the_only_node_stands_still_is_anchored_when_it_goes_on(
    engines: tuple[Rtpengine, Rtpengine], caller: RtpParty
) -> None:
    server, _ = engines
    async with worker(media_node(server.control)) as nodes:
        await until(lambda: usable(nodes), WAIT_S)
        server.pause()
        try:
            await until(lambda: not usable(nodes), WAIT_S)
            anchor = anchoring.anchor(nodes, "w1.1", caller.description(), doubtful=True)
            begun = asyncio.create_task(anchor)
            await asyncio.sleep(0)
        finally:
            server.resume()
        session, answer = await begun
        assert server.interface in answer
        await session.close()
        assert await carried(server) == 0


def usable(nodes: MediaNodes) -> bool:
    try:
        return bool(nodes.candidates())
    except NoMediaNodeError:
        return False


async def test_what_could_not_be_freed_is_freed_when_the_node_answers_again(
    engines: tuple[Rtpengine, Rtpengine], caller: RtpParty
) -> None:
    server, _ = engines
    async with worker(media_node(server.control)) as nodes:
        session, _ = await anchored(nodes, "w1.1", caller.description())
        server.pause()
        try:
            await session.close()
            assert session.state is State.CLOSED
        finally:
            server.resume()
        for _ in range(200):
            if await carried(server) == 0:
                break
            await asyncio.sleep(0.05)
        assert await carried(server) == 0
