"""Texts are spoken soon after they are written, unless a file was uploaded; nobody hears what a prompt says no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.provisioning.v1 import provisioning_pb2
from signalbox.audio.preparer import Preparer
from signalbox.errors import NotSpokenError
from signalbox.g711 import A_LAW
from signalbox.provisioning.promptaudio import objects, speaking
from signalbox.store import keys, promptnames
from signalbox.store.base import Put
from support.audit import forget, told, waiting
from support.prompts import SOUND, booth
from support.provisioning import refused
from support.sounds import codes
from support.stores import until

if TYPE_CHECKING:
    from signalbox.store.memory import MemoryStore
    from support.clock import Clock
    from support.prompts import Booth

HELLO = "您好,欢迎致电"


async def notes(api: Booth) -> int:
    return len((await api.store.list(keys.PROMPT_SPEECH)).entries)


async def test_a_text_is_spoken_after_it_was_written(api: Booth) -> None:
    made = await api.create("hello", text=HELLO, language="zh-CN")
    assert not made.HasField("audio")
    assert await api.service.speaking.catch_up() == 1
    audio = (await api.get("hello")).audio
    assert (audio.speech.text, audio.speech.language, audio.duration_ms) == (HELLO, "zh-CN", 700)
    assert len(codes(await api.download("hello"), A_LAW)) == 5_600
    assert await api.service.speaking.catch_up() == 0
    assert api.voice.texts == [HELLO]


@pytest.mark.parametrize("fields", [{"text": HELLO}, {"language": "zh"}, {"text": " \n", "language": "zh"}, {}])
async def test_what_says_nothing_is_not_spoken(api: Booth, fields: dict[str, str]) -> None:
    await api.create("hello", **fields)
    assert await notes(api) == 0
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_SPOKEN") as refusal:
        await api.speak("hello")
    missing = "text" if "text" not in fields or not fields["text"].strip() else "language"
    assert refusal.metadata == {"resource": "prompt", "id": "acme/hello", "reason": f"it has no {missing}"}


async def test_a_changed_text_is_spoken_anew_and_the_same_is_not(api: Booth) -> None:
    await api.create("hello", text=HELLO, language="zh-CN")
    await api.service.speaking.catch_up()
    before = await api.get("hello")
    assert (await api.change("hello", display_name="Hello")).audio == before.audio
    assert await notes(api) == 0
    changed = await api.change("hello", text="再见")
    assert changed.audio == before.audio, "it is heard until the new one is there"
    assert await api.service.speaking.catch_up() == 1
    assert (await api.get("hello")).audio.speech.text == "再见"
    assert (await api.change("hello", text=HELLO, language="zh")).audio.speech.text == "再见"
    await api.change("hello", text="再见", language="zh-CN")
    assert await notes(api) == 0, "it is what was spoken"


async def test_a_text_that_is_taken_away_is_heard_no_more(api: Booth, clock: Clock) -> None:
    await api.create("hello", text=HELLO, language="zh-CN")
    await api.service.speaking.catch_up()
    changed = await api.change("hello", text="")
    assert not changed.HasField("audio")
    clock.advance(objects.GRACE_S)
    assert await api.service.objects.sweep() == 2
    assert api.files() == set()


async def test_a_file_wins_until_it_is_removed(api: Booth) -> None:
    await api.create("hello", text=HELLO, language="zh-CN")
    uploaded = await api.upload(SOUND, id="hello")
    assert await notes(api) == 0
    await api.change("hello", text="再见")
    assert await api.service.speaking.catch_up() == 0
    assert (await api.get("hello")).audio == uploaded.audio
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_SPOKEN") as refusal:
        await api.speak("hello")
    assert refusal.metadata["reason"] == "it has an uploaded file, which must be removed first"
    assert not (await api.remove("hello")).HasField("audio")
    assert await api.service.speaking.catch_up() == 1
    spoken = await api.get("hello")
    assert spoken.audio.speech.text == "再见"
    assert await api.remove("hello") == spoken, "it has no file"


async def test_who_asks_is_answered_when_it_can_be_heard(api: Booth) -> None:
    made = await api.create("hello", text=HELLO, language="zh-CN")
    await forget(api.store)
    spoken = await api.speak("hello", etag=made.etag, request_id="r-1")
    assert spoken.audio.speech.text == HELLO
    (record,) = await waiting(api.store)
    assert (record.method, told([record])) == ("SpeakPrompt", [("prompt", "acme", "hello", "changed")])
    assert await notes(api) == 0
    assert await api.speak("hello", etag=made.etag, request_id="r-1") == spoken
    assert await api.speak("hello") == spoken, "it says the same"
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        await api.speak("hello", etag=made.etag)
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.speak("nothing")


async def test_without_a_voice_prompts_are_written_and_spoken_when_there_is_one(api: Booth) -> None:
    api.voice.broken = True
    made = await api.create("hello", text=HELLO, language="zh-CN")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_SPOKEN") as refusal:
        await api.speak("hello")
    assert refusal.message == ("prompt acme/hello is not spoken: espeak-ng cannot be run: No such file or directory")
    with pytest.raises(NotSpokenError):
        await api.service.speaking.catch_up()
    assert await api.get("hello") == made
    api.voice.broken = False
    assert await api.service.speaking.catch_up() == 1
    assert (await api.get("hello")).audio.speech.text == HELLO


async def test_what_cannot_be_spoken_is_tried_once_and_stops_no_other(api: Booth, clock: Clock) -> None:
    await api.create("a", text=HELLO, language="zh-CN")
    await api.service.speaking.catch_up()
    await api.change("a", text="Hello", language="en")
    await api.create("b", text="Bonjour", language="fr")
    await api.create("c", text=HELLO, language="zh-CN")
    assert await api.service.speaking.catch_up() == 1
    assert not (await api.get("a")).HasField("audio"), "what it said is not what it is to say"
    assert (await api.get("c")).audio.speech.text == HELLO
    assert await notes(api) == 0
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_SPOKEN") as refusal:
        await api.speak("b")
    assert refusal.metadata["reason"] == "language: 'fr' cannot be spoken"
    clock.advance(objects.GRACE_S)
    await api.service.objects.sweep()
    assert api.files() == set(promptnames.files((await api.get("c")).audio))


async def test_a_text_at_which_the_voice_gets_stuck_holds_up_no_other_and_is_given_up(api: Booth) -> None:
    api.voice.stuck_at = "卡"
    await api.create("a", text="卡住", language="zh-CN")
    for _ in range(speaking.TRIES + 1):
        with pytest.raises(NotSpokenError, match="did not end"):
            await api.service.speaking.catch_up()
    assert await notes(api) == 1, "as long as nothing at all was spoken it may be the voice"
    await api.create("b", text=HELLO, language="zh-CN")
    assert await api.service.speaking.catch_up() == 1
    assert (await api.get("b")).audio.speech.text == HELLO
    assert await api.service.speaking.catch_up() == 0
    assert await notes(api) == 0
    assert not (await api.get("a")).HasField("audio")
    api.voice.stuck_at = ""
    assert (await api.speak("a")).audio.speech.text == "卡住"


@pytest.mark.parametrize("program", ["/nowhere/python", "false"])
async def test_a_machine_that_cannot_prepare_what_is_spoken_does_so_later(
    api: Booth, store: MemoryStore, clock: Clock, program: str
) -> None:
    await api.create("a", text=HELLO, language="zh-CN")
    async with booth(store, api.folder, clock, Preparer((program,))) as broken:
        for _ in range(speaking.TRIES + 1):
            with pytest.raises(NotSpokenError, match="could not be prepared"):
                await broken.service.speaking.catch_up()
    assert await api.service.speaking.catch_up() == 1
    assert (await api.get("a")).audio.speech.text == HELLO


async def test_a_voice_that_nobody_hears_is_told(api: Booth) -> None:
    api.voice.silent = True
    await api.create("hello", text=HELLO, language="zh-CN")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_SPOKEN") as refusal:
        await api.speak("hello")
    assert refusal.metadata["reason"].startswith("what is spoken is silent")
    assert await api.service.speaking.catch_up() == 0
    assert await notes(api) == 0


async def test_a_text_that_is_changed_meanwhile_is_spoken_anew(api: Booth) -> None:
    await api.create("hello", text=HELLO, language="zh-CN")
    api.voice.meanwhile = lambda: api.change("hello", text="再见")
    assert await api.service.speaking.catch_up() == 0
    assert not (await api.get("hello")).HasField("audio")
    api.voice.meanwhile = lambda: api.change("hello", text="您好")
    with refused(grpc.StatusCode.ABORTED, "WRITE_CONTENTION"):
        await api.speak("hello")
    assert await api.service.speaking.catch_up() == 1
    assert (await api.get("hello")).audio.speech.text == "您好"


async def test_a_file_that_comes_meanwhile_wins(api: Booth) -> None:
    await api.create("hello", text=HELLO, language="zh-CN")
    api.voice.meanwhile = lambda: api.upload(SOUND, id="hello")
    assert await api.service.speaking.catch_up() == 0
    assert (await api.get("hello")).audio.HasField("file")
    assert await notes(api) == 0


async def test_a_prompt_that_is_deleted_meanwhile_is_no_trouble(api: Booth) -> None:
    await api.create("hello", text=HELLO, language="zh-CN")
    api.voice.meanwhile = lambda: api.delete("hello")
    assert await api.service.speaking.catch_up() == 0
    assert await notes(api) == 0


async def test_a_replica_that_dies_leaves_it_to_another(api: Booth, store: MemoryStore, clock: Clock) -> None:
    await api.create("hello", text=HELLO, language="zh-CN")

    async def dies() -> None:
        raise asyncio.CancelledError

    api.voice.meanwhile = dies
    with pytest.raises(asyncio.CancelledError):
        await api.service.speaking.catch_up()
    async with booth(store, api.folder, clock) as other:
        assert await other.service.speaking.catch_up() == 1
    assert (await api.get("hello")).audio.speech.text == HELLO


async def test_two_replicas_speak_it_once(api: Booth, store: MemoryStore, clock: Clock) -> None:
    await api.create("hello", text=HELLO, language="zh-CN")
    async with booth(store, api.folder, clock) as other:
        counts = await asyncio.gather(api.service.speaking.catch_up(), other.service.speaking.catch_up())
    assert sum(counts) == 1
    spoken = await api.get("hello")
    clock.advance(objects.GRACE_S)
    await api.service.objects.sweep()
    assert api.files() == set(promptnames.files(spoken.audio))


async def test_a_prompt_that_cannot_be_read_stops_no_other(api: Booth) -> None:
    await api.store.commit([], [Put(keys.prompt("acme", "damaged"), b"\xff")])
    await api.store.commit([], [Put(keys.prompt_speech("acme", "damaged"), b"")])
    await api.create("hello", text=HELLO, language="zh-CN")
    assert await api.service.speaking.catch_up() == 1


async def test_several_of_one_step_are_spoken(api: Booth) -> None:
    put = [
        provisioning_pb2.Object(prompt={"tenant": "acme", "id": f"p-{number}", "text": HELLO, "language": "zh"})
        for number in range(40)
    ]
    await api.rules.Apply(provisioning_pb2.ApplyRequest(put=put))
    assert await api.service.speaking.catch_up() == 40
    assert len(api.files()) == 2, "they say the same"
    delete = [provisioning_pb2.Object(prompt={"tenant": "acme", "id": f"p-{number}"}) for number in range(40)]
    await api.rules.Apply(provisioning_pb2.ApplyRequest(delete=delete))


async def test_the_coroutine_goes_on_after_what_fails(api: Booth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "INTERVAL_S", 0.01)
    monkeypatch.setattr(speaking, "RETRY_S", 0.01)
    api.voice.broken = True
    await api.create("hello", text=HELLO, language="zh-CN")
    running = asyncio.create_task(api.service.speaking.run())
    await until(lambda: len(api.voice.texts) > 2, "it to be tried again")
    api.voice.broken = False
    await until(lambda: len(api.files()) == 2, "it to be spoken")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
