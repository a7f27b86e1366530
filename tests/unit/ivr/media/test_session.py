"""What a session asks of its node, and what becomes of it when that goes wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.ivr.media import anchoring
from signalbox.ivr.media.errors import MediaLostError, MediaRefusedError, MediaStateError
from signalbox.ivr.media.keys import Key
from signalbox.ivr.media.playback import End
from signalbox.ivr.media.session import MediaSession, Party, State
from support.ivr_media import media_node, worker
from support.ng import FakeNg
from support.rtpengine import sdp
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from signalbox.bencode import Encodable
    from signalbox.ng import Reply

WAIT_S = 15.0
OFFER = sdp("192.0.2.7", 4000)
LINE = sdp("192.0.2.8", 5000)
WRITTEN = sdp("198.51.100.1", 30_000)


class Engine:
    """A fake rtpengine that does all that is asked, but for what a test wants otherwise."""

    def __init__(self, fake: FakeNg) -> None:
        self.fake = fake
        self.otherwise: dict[str, Encodable | None] = {}
        """Replies by command; None: none at all."""
        fake.answer = self._answer

    def _answer(self, request: Reply) -> Encodable | None:
        command = str(request["command"])
        if command == "ping":
            return self.fake.well(request)
        if command in self.otherwise:
            return self.otherwise[command]
        if command in ("offer", "answer"):
            return {"result": "ok", "sdp": WRITTEN}
        return {"result": "ok", "duration": 500} if command == "play media" else {"result": "ok"}

    def refuse(self, *commands: str) -> None:
        for command in commands:
            self.otherwise[command] = {"result": "error", "error-reason": f"{command}: no"}

    @property
    def asked(self) -> list[str]:
        """Commands so far, without pings."""
        return [str(request["command"]) for _, request in self.fake.requests if request["command"] != "ping"]


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """The only node."""
    async with FakeNg.open() as fake:
        yield Engine(fake)


@pytest.fixture
async def session(engine: Engine) -> AsyncIterator[MediaSession]:
    """A caller at it."""
    async with worker(media_node(engine.fake.address)) as nodes:
        session, _ = await anchoring.anchor(nodes, "w1.1", OFFER)
        yield session
        await session.close()


async def ring(session: MediaSession) -> None:
    await session.offer_line()


async def apart(session: MediaSession) -> None:
    await session.offer_line()
    await session.answer_line(LINE)


async def together(session: MediaSession) -> None:
    await apart(session)
    await session.connect()


STEPS: dict[State, Callable[[MediaSession], Awaitable[None]]] = {
    State.RINGING: ring,
    State.APART: apart,
    State.TOGETHER: together,
}


async def test_a_caller_without_telephone_events_is_listened_to_for_tones(
    session: MediaSession, engine: Engine
) -> None:
    assert engine.asked == ["offer", "answer", "unblock DTMF"]
    asked = engine.fake.requests[-1][1]
    assert asked["flags"] == ["detect DTMF"]
    assert asked["from-tag"] == "caller"


async def test_offers_and_answers_take_rtp_from_where_they_say_alone(session: MediaSession, engine: Engine) -> None:
    for _, request in engine.fake.requests:
        if request["command"] in ("offer", "answer"):
            assert request["flags"] == ["strict source", "asymmetric", "port latching"]
            assert request["ICE"] == "remove"


@pytest.mark.parametrize("state", STEPS)
async def test_dropping_a_line_leaves_nobody_to_send_to(session: MediaSession, engine: Engine, state: State) -> None:
    await STEPS[state](session)
    assert session.state is state
    await session.drop_line()
    assert session.state is State.ALONE
    answers = [request for _, request in engine.fake.requests if request["command"] == "answer"]
    assert "c=IN IP4 127.0.0.1" in str(answers[-1]["sdp"])
    assert engine.asked[-2:] == ["unblock DTMF", "unblock media"]


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        (State.ALONE, ["answer_line", "connect", "separate", "drop_line", "play to the line", "caller_answer"]),
        (State.RINGING, ["connect", "separate", "play to the line", "line_offer"]),
        (State.APART, ["offer_line", "separate"]),
        (State.TOGETHER, ["offer_line", "connect", "play to the caller", "play to the line"]),
    ],
)
async def test_what_a_state_does_not_allow_is_told_and_asked_of_nobody(
    session: MediaSession, engine: Engine, state: State, wrong: list[str]
) -> None:
    commands: dict[str, Callable[[], Awaitable[object]]] = {
        "offer_line": session.offer_line,
        "answer_line": lambda: session.answer_line(LINE),
        "line_offer": lambda: session.line_offer(LINE),
        "connect": session.connect,
        "separate": session.separate,
        "drop_line": session.drop_line,
        "play to the caller": lambda: session.play("x"),
        "play to the line": lambda: session.play("x", to=Party.LINE),
        "caller_answer": lambda: session.caller_answer(OFFER),
    }
    if state in STEPS:
        await STEPS[state](session)
    before = engine.asked
    for name in wrong:
        with pytest.raises(MediaStateError, match=f"^{name} is not possible: the session is {state.value}$"):
            await commands[name]()
    assert engine.asked == before
    assert session.state is state


async def test_without_the_callers_answer_there_is_nothing_to_play_to(engine: Engine) -> None:
    async with worker(media_node(engine.fake.address)) as nodes:
        session, offer = await anchoring.anchor_late(nodes, "w1.1")
        assert "m=audio 30000 RTP/AVP 8 0 101" in offer
        for command in (session.offer_line(), session.play("x"), session.caller_offer(OFFER)):
            with pytest.raises(MediaStateError, match="the session is offering"):
                await command
        with pytest.raises(MediaStateError):
            _ = session.caller
        await session.caller_answer(OFFER)
        assert session.state is State.ALONE
        await session.close()


@pytest.mark.parametrize("command", ["play media", "block media", "start recording"])
async def test_a_refusal_of_a_node_that_has_the_call_is_no_loss(
    session: MediaSession, engine: Engine, command: str
) -> None:
    engine.refuse(command)
    asking: dict[str, Callable[[], Awaitable[object]]] = {
        "play media": lambda: session.play("x"),
        "block media": session.offer_line,
        "start recording": lambda: session.start_recording("sb1"),
    }
    with pytest.raises(MediaRefusedError, match=f"media-1: rtpengine refused {command}: {command}: no"):
        await asking[command]()
    assert session.state is State.ALONE
    assert not session.recording
    assert session.node.players == 0


async def test_a_refusal_of_a_node_that_does_not_know_the_call_is_a_loss(session: MediaSession, engine: Engine) -> None:
    engine.refuse("play media", "query")
    waiting = asyncio.create_task(session.keys[Party.CALLER].next())
    with pytest.raises(MediaLostError, match="has lost the call"):
        await session.play("x")
    with pytest.raises(MediaLostError):
        await waiting
    assert session.state is State.LOST


async def test_a_call_that_a_node_begins_anew_is_not_ours(session: MediaSession, engine: Engine) -> None:
    """rtpengine makes a call of any offer: its port for the caller tells that it is another one."""
    engine.otherwise["answer"] = {"result": "ok", "sdp": WRITTEN.replace("30000", "30010")}
    with pytest.raises(MediaLostError, match="begun another"):
        await session.caller_offer(OFFER)
    assert session.state is State.LOST


@pytest.mark.parametrize("told", [{}, {"duration": 0}, {"duration": "1"}])
async def test_a_file_of_unknown_length_is_refused(
    session: MediaSession, engine: Engine, told: dict[str, Encodable]
) -> None:
    engine.otherwise["play media"] = {"result": "ok", **told}
    with pytest.raises(MediaRefusedError, match="does not tell how long x is"):
        await session.play("x")


async def test_a_reply_that_is_not_understood_is_a_refusal(session: MediaSession, engine: Engine) -> None:
    engine.otherwise["play media"] = {"no": "result"}
    with pytest.raises(MediaRefusedError, match="has no result"):
        await session.play("x")


async def test_a_key_of_nobody_is_nobodys(session: MediaSession) -> None:
    session.key("stranger", Key("1"))
    session.key("line", Key("2"))
    assert await session.keys[Party.CALLER].next(0.01) is None
    assert await session.keys[Party.LINE].next(0.01) == Key("2")


async def test_connecting_ends_what_is_played_to_both(session: MediaSession, engine: Engine) -> None:
    await apart(session)
    players = [await session.play("x", repeat=None, to=party) for party in Party]
    assert session.node.players == 2
    await session.connect()
    assert [await one.done() for one in players] == [End.STOPPED] * 2
    assert engine.asked.count("stop media") == 2
    assert session.node.players == 0


async def test_a_caller_for_whom_no_line_can_be_offered_is_heard_as_before(
    session: MediaSession, engine: Engine
) -> None:
    count = len(engine.asked)
    engine.refuse("offer")
    with pytest.raises(MediaRefusedError, match="offer: no"):
        await session.offer_line()
    assert engine.asked[count:] == ["block media", "block DTMF", "offer", "unblock DTMF", "unblock media"]
    assert session.state is State.ALONE


@pytest.mark.parametrize("began", [True, False])
async def test_what_began_after_who_asked_had_gone_is_stopped_too(
    session: MediaSession, engine: Engine, began: bool
) -> None:
    """Music while a line rings, which answers at that moment."""
    await apart(session)
    if not began:
        engine.refuse("stop media")
    engine.otherwise["play media"] = None
    asking = asyncio.create_task(session.play("x", repeat=None))
    await until(lambda: "play media" in engine.asked, WAIT_S)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await session.connect()
    assert engine.asked.count("stop media") == 1
    await session.separate()
    await session.connect()
    assert engine.asked.count("stop media") == 1


async def test_what_has_ended_is_not_stopped_at_the_node(session: MediaSession, engine: Engine) -> None:
    playback = await session.play("x")
    assert await playback.done() is End.FINISHED
    await playback.stop()
    assert "stop media" not in engine.asked


async def test_commands_come_one_after_the_other(session: MediaSession, engine: Engine) -> None:
    """What is asked for at once does not overtake: a re-INVITE of the caller while a line is called."""
    count = len(engine.asked)
    await asyncio.gather(session.offer_line(), session.caller_offer(OFFER), session.play("x"))
    assert engine.asked[count:] == [
        *("block media", "block DTMF", "offer"),
        *("offer", "answer", "unblock DTMF"),
        "play media",
    ]


async def test_closing_waits_for_the_command_under_way_and_those_behind_it_fail(
    session: MediaSession, engine: Engine
) -> None:
    engine.fake.drop = 1
    under_way = asyncio.create_task(session.offer_line())
    await asyncio.sleep(0)
    behind = asyncio.create_task(session.play("x"))
    await asyncio.sleep(0)
    await session.close()
    assert engine.asked[-1] == "delete"
    for one in (under_way, behind):
        with pytest.raises(MediaLostError, match="the session is closed"):
            await one
    assert session.state is State.CLOSED
    assert engine.asked.count("delete") == 1


async def test_closing_tells_whoever_waits(session: MediaSession) -> None:
    playback = await session.play("x", repeat=None)
    waiting = asyncio.create_task(session.keys[Party.CALLER].next())
    await asyncio.sleep(0)
    await session.close()
    assert await playback.done() is End.STOPPED
    with pytest.raises(MediaLostError, match="closed"):
        await waiting
    with pytest.raises(MediaLostError, match="closed"):
        await session.play("x")


async def test_who_stops_waiting_for_the_close_does_not_stop_it(session: MediaSession, engine: Engine) -> None:
    engine.fake.drop = 1
    closing = asyncio.create_task(session.close())
    await asyncio.sleep(0)
    closing.cancel()
    await until(lambda: engine.asked[-1] == "delete", WAIT_S)
    assert session.state is State.CLOSED


async def test_an_anchoring_that_is_broken_off_is_freed(engine: Engine) -> None:
    """The caller hangs up at once."""
    engine.otherwise["offer"] = None
    async with worker(media_node(engine.fake.address)) as nodes:
        anchored = asyncio.create_task(anchoring.anchor(nodes, "w1.1", OFFER))
        await until(lambda: "offer" in engine.asked, WAIT_S)
        anchored.cancel()
        await until(lambda: "delete" in engine.asked, WAIT_S)
