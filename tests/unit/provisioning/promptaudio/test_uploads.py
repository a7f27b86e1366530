"""A file becomes the audio of a prompt: whole or not at all; what is downloaded is what is played."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from signalbox.api.provisioning.v1 import prompts_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2
from signalbox.api.types.v1 import prompts_pb2, types_pb2
from signalbox.audio.preparer import Preparer
from signalbox.g711 import A_LAW, MU_LAW
from signalbox.provisioning import taking
from signalbox.provisioning.access import ADMINISTRATOR, OPERATOR, READER
from signalbox.provisioning.promptaudio import uploading
from signalbox.provisioning.promptaudio.service import TABLE
from signalbox.store import keys, promptnames
from support.audit import forget, told, waiting
from support.prompts import OTHER, SOUND, booth, parts
from support.provisioning import As, invalid, key, reason_of, refused
from support.sounds import codes, level_db

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.store.memory import MemoryStore
    from support.prompts import Booth


async def test_what_was_uploaded_is_heard_in_both_laws(api: Booth) -> None:
    made = await api.upload(SOUND)
    assert made == await api.get()
    audio = made.audio
    assert (audio.file.file_name, audio.file.format, audio.file.size_bytes) == ("a.wav", "WAV pcm_s16le", len(SOUND))
    assert audio.file.sha256 == hashlib.sha256(SOUND).digest()
    assert (audio.duration_ms, audio.loudness, audio.create_time) == (1_000, -25.0, made.update_time)
    assert audio.given_loudness == pytest.approx(-13.5, abs=0.2)
    for law, choice, digest in (
        (A_LAW, pb.PROMPT_LAW_ALAW, audio.alaw_sha256),
        (MU_LAW, pb.PROMPT_LAW_ULAW, audio.ulaw_sha256),
    ):
        content = await api.download(law=choice)
        assert (hashlib.sha256(content).digest(), len(content)) == (digest, audio.size_bytes)
        assert abs(level_db(codes(content, law), 1_000) + 22) < 0.3
        stored = api.folder / promptnames.object("acme", promptnames.file(law, digest))
        assert stored.read_bytes() == content, "it is not sealed: media nodes play it"
    assert await api.download() == await api.download(law=pb.PROMPT_LAW_ALAW)
    assert not (await api.store.list(keys.PROMPT_OBJECTS)).entries


@pytest.mark.parametrize("offset", [0, 1, 5_000, 8_057, 8_058])
async def test_a_download_begins_where_the_last_one_ended(api: Booth, offset: int) -> None:
    made = await api.upload()
    whole = await api.download()
    assert await api.download(offset=offset, sha256=made.audio.alaw_sha256) == whole[offset:]


async def test_a_download_is_of_what_is_there(api: Booth) -> None:
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND") as refusal:
        await api.download()
    assert refusal.message == "audio of prompt acme/welcome does not exist"
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.download("nothing")
    made = await api.upload()
    await api.upload(OTHER)
    for fields, wrong in (
        ({"sha256": made.audio.alaw_sha256}, "sha256"),
        ({"offset": 1 << 20}, "offset"),
        ({"law": 9}, "law"),
    ):
        with invalid() as refusal:
            await api.download(**fields)  # type: ignore[arg-type]
        assert list(refusal.fields) == [wrong]
    with invalid() as refusal:
        await api.download("No")
    assert list(refusal.fields) == ["id"]


async def test_content_that_is_gone_is_told(api: Booth) -> None:
    made = await api.upload()
    (api.folder / promptnames.object("acme", promptnames.files(made.audio)[0])).unlink()
    with refused(grpc.StatusCode.DATA_LOSS, "CONTENT_LOST"):
        await api.download()


@pytest.mark.parametrize(
    ("content", "fields", "wrong"),
    [
        (b"", {"size_bytes": 5}, {"file.size_bytes": "the content has 0 bytes"}),
        (b"text", {}, {"content": "is neither WAV, FLAC, MP3, Ogg nor M4A"}),
        (SOUND[:20_000], {}, {"content": "is damaged: 0.62 s of 1.00 s are there"}),
        (SOUND, {"size_bytes": 5}, {"file.size_bytes": f"the content has {len(SOUND)} bytes"}),
        (SOUND, {"sha256": b"x" * 32}, {"file.sha256": f"the content's is {hashlib.sha256(SOUND).hexdigest()}"}),
        (SOUND, {"sha256": b"x"}, {"file.sha256": "must be 32 bytes"}),
        (SOUND, {"size_bytes": 0}, {"file.size_bytes": "is required without file.sha256: one of them tells the end"}),
        (SOUND, {"size_bytes": 21 << 20}, {"file.size_bytes": "must be at most 20971520"}),
        (SOUND, {"file_name": "../x.wav"}, {"file.file_name": "must not have a path"}),
        (SOUND, {"file_name": "x\n"}, {"file.file_name": "must not have control characters"}),
        (SOUND, {"file_name": ""}, {"file.file_name": "must have 1 to 200 characters"}),
        (SOUND, {"id": "No"}, {"file.id": "must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter"}),
    ],
)
async def test_what_is_not_taken_is_named_and_leaves_nothing(
    api: Booth, content: bytes, fields: dict[str, Any], wrong: dict[str, str]
) -> None:
    before = await api.upload(OTHER)
    with invalid() as refusal:
        await api.upload(content, **fields)
    assert refusal.fields == wrong
    assert await api.get() == before
    assert api.files() == set(promptnames.files(before.audio))


async def test_too_much_is_refused_before_it_has_all_come(api: Booth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "CONTENT_MAX", 5_000)
    with invalid() as refusal:
        await api.upload(SOUND, size_bytes=0, sha256=hashlib.sha256(SOUND).digest())
    assert refusal.fields == {"content": "is more than 5000 bytes"}


async def test_messages_of_a_stream_have_their_order(api: Booth) -> None:
    head, part = next(parts(SOUND)), pb.UploadPromptAudioRequest(content=SOUND)
    large = pb.UploadPromptAudioRequest(content=bytes(taking.CHUNK_MAX + 1))
    for requests, wrong in (
        ([head, part, head], {"file"}),
        ([head, large], {"content"}),
        ([part], {"file.tenant", "file.id", "file.file_name", "file.size_bytes"}),
    ):
        with invalid() as refusal:
            await api.api.UploadPromptAudio(requests)
        assert refusal.fields.keys() == wrong
    assert api.files() == set()


async def test_a_client_that_goes_away_changes_nothing(api: Booth) -> None:
    call = api.api.UploadPromptAudio()
    await call.write(next(parts(SOUND)))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    broken = api.api.UploadPromptAudio([next(parts(SOUND)), pb.UploadPromptAudioRequest(content=SOUND[:1_000])])
    with invalid() as refusal:
        await broken
    assert refusal.fields == {"file.size_bytes": "the content has 1000 bytes"}
    assert not (await api.get()).HasField("audio")


async def test_an_upload_that_takes_too_long_is_given_up(api: Booth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "UPLOAD_S", 0.2)
    monkeypatch.setattr(taking, "DRAIN_S", 0.1)
    call = api.api.UploadPromptAudio()
    await call.write(next(parts(SOUND)))
    with invalid() as refusal:
        await call
    assert refusal.fields == {"content": "was not taken in within 0 s"}


async def test_only_a_prompt_that_is_there_and_as_it_was_read_takes_a_file(api: Booth) -> None:
    for fields in ({"id": "nothing"}, {"tenant": "nobody"}):
        with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await api.upload(**fields)
    before = await api.get()
    changed = await api.change(display_name="Welcome")
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        await api.upload(etag=before.etag)
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        await api.upload(etag=before.etag, request_id="r-1")
    assert (await api.upload(etag=changed.etag)).audio.duration_ms == 1_000
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        await api.remove(etag=changed.etag)


async def test_a_request_that_comes_again_gets_the_first_answer(api: Booth) -> None:
    before = await api.get()
    made = await api.upload(etag=before.etag, request_id="r-1")
    await api.change(display_name="Later")
    assert await api.upload(etag=before.etag, request_id="r-1") == made
    with invalid_reuse() as refusal:
        await api.upload(OTHER, etag=before.etag, request_id="r-1")
    assert refusal.metadata["request_id"] == "r-1"


def invalid_reuse() -> Any:
    return refused(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")


async def test_the_same_again_changes_nothing(api: Booth, clock: Any) -> None:
    made = await api.upload()
    clock.advance(60)
    assert await api.upload() == made
    renamed = await api.upload(file_name="b.wav")
    assert (renamed.audio.file.file_name, renamed.audio.alaw_sha256) == ("b.wav", made.audio.alaw_sha256)
    assert renamed.etag != made.etag


async def test_no_other_change_of_a_prompt_touches_its_audio(api: Booth) -> None:
    made = await api.upload()
    foreign = prompts_pb2.PromptAudio(alaw_sha256=b"x" * 32, duration_ms=5)
    given = types_pb2.Prompt(tenant="acme", id="welcome", display_name="Hello", text="您好", audio=foreign)
    for mask in (None, FieldMask(paths=["*"]), FieldMask(paths=["display_name", "audio"])):
        request = provisioning_pb2.UpdatePromptRequest(prompt=given, update_mask=mask)
        changed = await api.rules.UpdatePrompt(request)
        assert (changed.display_name, changed.audio) == ("Hello", made.audio)
    put = provisioning_pb2.ApplyRequest(put=[provisioning_pb2.Object(prompt=given)])
    assert (await api.rules.Apply(put)).put[0].prompt.audio == made.audio
    created = await api.create("other", audio=foreign)
    assert not created.HasField("audio")


async def test_a_process_of_its_own_prepares_it(store: MemoryStore, tmp_path: Path) -> None:
    async with booth(store, tmp_path / "objects", preparer=Preparer()) as api:
        await api.fill()
        assert (await api.upload(SOUND)).audio.duration_ms == 1_000
        with invalid() as refusal:
            await api.upload(b"text")
        assert list(refusal.fields) == ["content"]


async def test_who_may_is_as_with_prompts_themselves(api: Booth) -> None:
    assert {name: rule.roles for name, rule in TABLE.items()} == {
        "UploadPromptAudio": {OPERATOR, ADMINISTRATOR},
        "DownloadPromptAudio": {OPERATOR, ADMINISTRATOR, READER},
        "RemovePromptAudio": {OPERATOR, ADMINISTRATOR},
        "SpeakPrompt": {OPERATOR, ADMINISTRATOR},
    }
    own = As(api.api, await key(api.rules, "acme", ADMINISTRATOR, "own"))
    reader = As(api.api, await key(api.rules, "acme", READER, "reader"))
    other = As(api.api, await key(api.rules, "best", ADMINISTRATOR, "other"))
    assert (await api.upload(api=own)).audio.duration_ms == 1_000
    assert len(await api.download(api=reader)) == 8_058
    assert await reason_of(reader.UploadPromptAudio(parts(SOUND))) == "PERMISSION_REFUSED"
    assert await reason_of(other.UploadPromptAudio(parts(SOUND))) == "PERMISSION_REFUSED"
    with refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED"):
        await api.download(api=other)


async def test_the_audit_log_tells_of_every_change(api: Booth) -> None:
    await forget(api.store)
    await api.upload()
    (record,) = await waiting(api.store)
    assert record.method == "UploadPromptAudio"
    assert told([record]) == [("prompt", "acme", "welcome", "changed")]
    await forget(api.store)
    await api.upload()
    assert told(await waiting(api.store)) == []
    await api.remove()
    (record,) = await waiting(api.store)
    assert record.method == "RemovePromptAudio"


async def test_a_store_that_is_away_changes_nothing(api: Booth, store: MemoryStore, tmp_path: Path) -> None:
    await api.upload()
    (api.folder / "signalbox-objects").rename(tmp_path / "elsewhere")
    with refused(grpc.StatusCode.UNAVAILABLE, "OBJECTS_UNAVAILABLE"):
        await api.upload(OTHER)
    (tmp_path / "elsewhere").rename(api.folder / "signalbox-objects")
    assert (await api.get()).audio.duration_ms == 1_000
    store.available = False
    with refused(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"):
        await api.upload(OTHER)
    store.available = True
    assert (await api.upload(OTHER)).audio.duration_ms == 2_000
