"""What steps have done with a call: heard early, answered, played to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.api.media.v1 import media_pb2
from signalbox.api.routing.v1.routing_pb2 import FlowCall
from signalbox.api.types.v1 import types_pb2
from signalbox.ivr.call import VoiceCall
from signalbox.ivr.media.errors import NoMediaNodeError, UnusableDescriptionError
from signalbox.ivr.ports import AudioUnavailableError, Prepared
from signalbox.ivr.sounds import Sound, Tone
from signalbox.sip import content
from signalbox.sip.ended import CallOverError, End
from structlog.testing import capture_logs
from support.ivr_media import media_node
from support.ng import FakeNg
from support.rtpengine import sdp
from support.sip_calls import settle
from support.voice_calls import CALL, OFFER, WRITTEN, World, prompt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from signalbox.sip.incoming import IncomingCall


class Bare(World):
    """Nobody executes a flow: the call waits for what a test does with it."""

    async def handler(self, call: IncomingCall) -> None:
        facts = FlowCall()
        facts.CopyFrom(CALL)
        facts.media = self.media
        self.voice = VoiceCall(call, facts, self.ports, self.ua, self.nodes, worker="w1")
        self.voice.prompts = {"welcome": prompt("welcome")}
        try:
            await call.over()
        finally:
            await self.voice.close()

    media = types_pb2.MEDIA_MODE_ANCHOR

    async def called(self, body: str = OFFER, headers: Sequence[tuple[str, str]] = ()) -> VoiceCall:
        await self.comes(*headers, body=body)
        return self.voice


@pytest.fixture
async def world() -> AsyncIterator[Bare]:
    async with Bare.open() as world:
        assert isinstance(world, Bare)
        yield world
        if world.taken:
            world.taken[0].hang_up()


async def test_nobody_is_told_of_media_that_nothing_is_heard_of(world: Bare) -> None:
    call = await world.called()
    media = await call.anchored()
    assert await call.anchored() is media
    assert (world.sent, len(world.commands("offer"))) == ([], 1)
    assert media.call_id == "w1.call-1"


async def test_the_caller_is_told_once_that_there_is_something_to_hear(world: Bare) -> None:
    call = await world.called()
    assert await call.early() is await call.early()
    assert world.sent == ["183"]
    early = content.description(world.last_response(183))
    answering = asyncio.create_task(call.answer())
    await world.acknowledged()
    await answering
    assert content.description(world.last_response(200)) == early
    await call.early()
    await call.answer()
    assert world.sent == ["183", "200"]
    assert call.answered
    # Once: where its media are.
    assert world.routing.at == [("call-1", 1)]


async def test_an_answer_that_was_given_up_while_a_prack_was_waited_for_is_still_to_come(world: Bare) -> None:
    call = await world.called(headers=[("Require", "100rel")])
    await call.early()
    answering = asyncio.create_task(call.answer())
    await settle()
    answering.cancel()
    await asyncio.wait([answering])
    assert (world.sent, call.answered) == (["183"], False)
    rseq = world.last_response(183).headers.get("RSeq")
    await world.asked("PRACK", headers=[("RAck", f"{rseq} 1 INVITE")])
    answering = asyncio.create_task(call.answer())
    await world.see(lambda: world.sent == ["183", "200", "200"])
    await world.asked("ACK")
    await answering
    assert call.answered


async def test_an_answer_whose_ack_nobody_waits_for_any_more_was_given(world: Bare) -> None:
    call = await world.called()
    answering = asyncio.create_task(call.answer())
    await world.sees("200")
    answering.cancel()
    await asyncio.wait([answering])
    assert call.answered
    await call.answer()
    assert world.sent == ["200"]
    await world.asked("ACK")


async def test_answers_that_are_asked_for_at_once_are_one(world: Bare) -> None:
    call = await world.called()
    answering = [asyncio.create_task(call.answer()) for _ in range(3)]
    await world.acknowledged()
    assert len({id(media) for media in await asyncio.gather(*answering)}) == 1
    assert world.sent == ["200"]


async def test_a_caller_who_leaves_the_offer_to_us_is_answered_to_be_heard(world: Bare) -> None:
    call = await world.called(body="")
    early = asyncio.create_task(call.early())
    await world.sees("200")
    assert world.sent == ["200"]
    offered = content.description(world.last_response(200))
    assert offered is not None
    assert [one.name for one in offered.media[0].codecs] == ["PCMA", "PCMU", "telephone-event"]
    await world.asked("ACK", body=sdp("192.0.2.7", 4000).encode())
    media = await early
    assert media.caller.address == ("192.0.2.7", 4000)
    assert await call.play(Sound.prompt("welcome")) is not None


async def test_an_answer_in_ack_without_audio_is_told(world: Bare) -> None:
    call = await world.called(body="")
    answering = asyncio.create_task(call.answer())
    await world.sees("200")
    offered = content.description(world.last_response(200))
    assert offered is not None
    refused = sdp("192.0.2.7", 4000).replace("m=audio 4000", "m=audio 0")
    await world.asked("ACK", body=refused.encode())
    with pytest.raises(UnusableDescriptionError, match="no audio"):
        await answering


async def test_a_caller_who_is_gone_is_neither_rung_nor_answered(world: Bare) -> None:
    call = await world.called()
    await call.anchored()
    await world.cancelled()
    for tell in (call.early, call.answer):
        with pytest.raises(CallOverError) as caught:
            await tell()
        assert caught.value.ended.why is End.CANCELLED
    assert not call.answered


async def test_a_change_of_the_callers_session_is_taken_by_the_media(world: Bare) -> None:
    call = await world.called()
    answering = asyncio.create_task(call.answer())
    await world.acknowledged()
    media = await answering
    held = sdp("192.0.2.8", 4002).replace("o=- 1 1", "o=- 1 2") + "a=sendonly\r\n"
    await world.asked("INVITE", body=held.encode())
    await world.see(lambda: world.sent.count("200") == 2)
    assert (media.caller.address, media.caller.held) == (("192.0.2.8", 4002), True)
    answer = content.description(world.last_response(200))
    assert answer is not None
    assert answer.direction(answer.media[0]) == "recvonly"
    await world.asked("ACK", cseq=2)


async def test_a_change_that_cannot_be_served_leaves_the_session_as_it_was(world: Bare) -> None:
    call = await world.called()
    answering = asyncio.create_task(call.answer())
    await world.acknowledged()
    media = await answering
    before = media.caller
    unknown = sdp("192.0.2.8", 4002).replace("PCMA/8000", "AMR/8000").replace("AVP 8", "AVP 96").replace(":8 ", ":96 ")
    await world.asked("INVITE", body=unknown.encode())
    await world.sees("488")
    assert media.caller == before


async def test_a_change_that_the_media_node_refuses_leaves_the_session_as_it_was(world: Bare) -> None:
    call = await world.called()
    answering = asyncio.create_task(call.answer())
    await world.acknowledged()
    media = await answering
    before = media.caller
    world.otherwise["offer"] = {"result": "error", "error-reason": "no ports left"}
    with capture_logs() as logs:
        await world.asked("UPDATE", body=sdp("192.0.2.8", 4002).encode())
        await world.sees("488")
    assert (media.caller, logs) == (before, [])


# Recording


async def test_a_call_that_is_recorded_goes_to_a_node_that_records(world: Bare) -> None:
    async with FakeNg.open() as fake:
        fake.answer = world.fake.answer
        records = media_node(fake.address, 2, records=True, calls=90)
        await world.nodes.update([media_node(world.fake.address), records])
        world.media = types_pb2.MEDIA_MODE_RECORD
        call = await world.called()
        assert (await call.anchored()).node.id == "media-2"
        world.taken[0].hang_up()
        await world.over()


async def test_a_call_that_no_node_can_record_goes_on_all_the_same(world: Bare) -> None:
    world.media = types_pb2.MEDIA_MODE_RECORD
    call = await world.called()
    assert (await call.anchored()).node.id == "media-1"


async def test_a_node_that_may_be_unwell_is_better_than_none() -> None:
    async with Bare.open(healthy=False) as world:
        assert isinstance(world, Bare)
        call = await world.called()
        assert (await call.anchored()).node.id == "media-1"
        world.taken[0].hang_up()
        await world.over()


async def test_a_node_that_is_well_comes_before_one_that_may_not_be(world: Bare) -> None:
    unwell = media_node("127.0.0.1:1", 2, records=True, healthy=False)
    await world.nodes.update([media_node(world.fake.address, calls=90), unwell])
    call = await world.called()
    assert (await call.anchored()).node.id == "media-1"


async def test_a_node_that_has_failed_a_call_is_not_asked_for_it_again(world: Bare) -> None:
    """It is told to forget the call, which might be the one that it has begun since."""
    world.otherwise["offer"] = {"result": "error", "error-reason": "too many sessions"}
    call = await world.called()
    with pytest.raises(NoMediaNodeError, match="rtpengine refused offer: too many sessions"):
        await call.anchored()
    assert len(world.commands("offer")) == 1
    async with FakeNg.open() as fake:
        fake.answer = lambda _request: {"result": "ok", "sdp": WRITTEN}
        await world.nodes.update([media_node(world.fake.address), media_node(fake.address, 2, healthy=False)])
        assert (await call.anchored()).node.id == "media-2"
        assert len(world.commands("offer")) == 2
        world.taken[0].hang_up()
        await world.over()


async def test_without_any_node_there_is_no_call() -> None:
    async with Bare.open(draining=True) as world:
        assert isinstance(world, Bare)
        world.media = types_pb2.MEDIA_MODE_RECORD
        call = await world.called()
        with pytest.raises(NoMediaNodeError, match="is draining"):
            await call.anchored()
        world.taken[0].hang_up()


# Sound


async def test_what_is_played_is_of_the_callers_law(world: Bare) -> None:
    mu_law = OFFER.replace("RTP/AVP 8", "RTP/AVP 0").replace("rtpmap:8 PCMA", "rtpmap:0 pcmu")
    call = await world.called(body=mu_law)
    assert await call.play(Sound.prompt("welcome")) is not None
    ((node, parts),) = world.audio.asked
    stored = media_pb2.StoredAudio(object="prompts/acme/welcome.ulaw.wav", sha256="b" * 64)
    assert (node, parts) == ("media-1", [media_pb2.AudioPart(stored=stored)])


async def test_what_is_said_is_waited_for(world: Bare) -> None:
    world.lasts_ms = 200
    call = await world.called()
    begun = asyncio.get_running_loop().time()
    await call.say(Sound.prompt("welcome"))
    assert asyncio.get_running_loop().time() - begun >= 0.19


async def test_nothing_is_played_where_there_is_nothing(world: Bare) -> None:
    call = await world.called()
    assert await call.play(Sound()) is None
    await call.say(Sound())
    assert (world.audio.asked, world.played) == ([], [])


async def test_what_has_no_audio_is_logged_once_in_a_call(world: Bare) -> None:
    call = await world.called()
    sound = Sound.prompt("gone") + Sound.prompt("welcome")
    with capture_logs() as logs:
        await call.say(sound)
        await call.say(sound)
    assert [(one["event"], one["why"]) for one in logs] == [("sound_left_out", "prompt gone has no audio")]
    assert world.played == ["welcome", "welcome"]


async def test_what_cannot_be_had_or_played_now_is_left_out(world: Bare) -> None:
    call = await world.called()
    world.audio.error = AudioUnavailableError("the object store does not answer")
    with capture_logs() as logs:
        assert await call.play(Sound.prompt("welcome")) is None
        world.audio.error = None
        world.otherwise["play media"] = {"result": "error", "error-reason": "no such file"}
        assert await call.play(Sound.prompt("welcome")) is None
    assert [one["why"].rpartition(": ")[2] for one in logs] == ["the object store does not answer", "no such file"]


async def test_a_file_that_is_not_there_any_more_is_made_anew(world: Bare) -> None:
    call = await world.called()
    answer, refusals = world.fake.answer, [{"result": "error", "error-reason": "no such file"}]
    world.fake.answer = lambda request: (
        refusals.pop() if request["command"] == "play media" and refusals else answer(request)
    )
    with capture_logs() as logs:
        assert await call.play(Sound.tone(Tone.BEEP)) is not None
    assert (world.audio.anew, len(world.played), logs) == ([False, True], 2, [])


async def test_a_file_that_the_node_cannot_play_is_made_anew_once(world: Bare) -> None:
    call = await world.called()
    world.otherwise["play media"] = {"result": "error", "error-reason": "no such codec"}
    with capture_logs() as logs:
        assert await call.play(Sound.tone(Tone.BEEP)) is None
    assert world.audio.anew == [False, True]
    assert [one["event"] for one in logs] == ["sound_left_out"]


async def test_a_file_that_cannot_be_made_anew_is_left_out(world: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    call = await world.called()
    prepare = world.audio.prepare
    world.otherwise["play media"] = {"result": "error", "error-reason": "no such file"}

    async def once(node: str, parts: Sequence[media_pb2.AudioPart], *, anew: bool = False) -> Prepared:
        if anew:
            raise AudioUnavailableError("the object is gone")
        return await prepare(node, parts)

    monkeypatch.setattr(world.audio, "prepare", once)
    with capture_logs() as logs:
        assert await call.play(Sound.tone(Tone.BEEP)) is None
    assert [one["why"] for one in logs] == ["the object is gone"]
