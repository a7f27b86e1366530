"""``signalbox prompts upload|download|speak|remove-audio``: what callers hear of prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from signalbox.api.provisioning.v1 import prompts_pb2 as pb
from signalbox.api.provisioning.v1 import prompts_pb2_grpc
from signalbox.commands import kinds, sending
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import told
from signalbox.commands.fetching import TRANSFER_S, fetch
from signalbox.commands.output import Format, output_option, print_messages, print_table
from signalbox.commands.retrying import retries, streamed
from signalbox.commands.ruleoptions import etag_option
from signalbox.commands.rules import call
from signalbox.g711 import A_LAW, MU_LAW

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

    from signalbox.api.types.v1 import types_pb2

LAWS = {"alaw": (pb.PROMPT_LAW_ALAW, A_LAW), "ulaw": (pb.PROMPT_LAW_ULAW, MU_LAW)}

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _named(function: _Command) -> _Command:
    """The arguments that name a prompt."""
    return click.argument("tenant", metavar="TENANT")(click.argument("id", metavar="ID")(function))


@click.command("upload")
@_named
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@etag_option
@retries
@connects_to("provisioning")
@output_option
def upload(
    tenant: str, id: str, file: Path, etag: str, retry_for: float, connection: Connection, output_format: Format
) -> None:
    """Make FILE what callers hear of a prompt.

    WAV, FLAC, MP3, Ogg (Opus, Vorbis) or M4A (AAC, ALAC), 0.1 s to 10 min, at most 20 MiB. It is made as loud as all
    other prompts, and limited to the band of telephones.
    """
    content = sending.content_of(file)
    described = pb.PromptUpload(
        tenant=tenant,
        id=id,
        file_name=file.name,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).digest(),
        etag=etag,
    )

    def open_(channel: grpc.Channel) -> Iterable[types_pb2.Prompt]:
        first = pb.UploadPromptAudioRequest(file=described)
        sent = sending.requests(file.name, content, first, lambda piece: pb.UploadPromptAudioRequest(content=piece))
        return [prompts_pb2_grpc.PromptServiceStub(channel).UploadPromptAudio(sent, timeout=TRANSFER_S)]

    with told():
        (made,) = streamed(connection, open_, retry_for)
    _show(made, output_format)


@click.command("download")
@_named
@click.option("--law", type=click.Choice(list(LAWS)), default="alaw", show_default=True, help="Law of G.711.")
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where it goes; must not be there.  [default: the prompt's id and .alaw.wav or .ulaw.wav, here]",
)
@retries
@connects_to("provisioning")
def download(tenant: str, id: str, law: str, to: Path | None, retry_for: float, connection: Connection) -> None:
    """Fetch what callers hear of a prompt, as media nodes play it: G.711 in WAV.

    What was interrupted goes on where it was. The file is there when it is whole, and has the SHA-256 of what is
    stored.
    """
    prompt = call(connection, "GetPrompt", tenant=tenant, id=id)
    if not prompt.HasField("audio"):
        raise click.ClickException(f"prompt {tenant}/{id} has no audio: upload a file, or have its text spoken")
    choice, kind = LAWS[law]
    digest = prompt.audio.alaw_sha256 if kind is A_LAW else prompt.audio.ulaw_sha256
    target = to or Path(f"{id}.{kind.ending}")
    part = target.with_name(f"{target.name}.{digest.hex()[:16]}.part")

    def open_(channel: grpc.Channel, offset: int) -> Iterable[pb.DownloadPromptAudioResponse]:
        asked = pb.DownloadPromptAudioRequest(tenant=tenant, id=id, law=choice, offset=offset, sha256=digest)
        return prompts_pb2_grpc.PromptServiceStub(channel).DownloadPromptAudio(asked, timeout=TRANSFER_S)

    fetch(connection, target, part, prompt.audio.size_bytes, digest.hex(), open_, retry_for)


@click.command("speak")
@_named
@etag_option
@connects_to("provisioning")
@output_option
def speak(tenant: str, id: str, etag: str, connection: Connection, output_format: Format) -> None:
    """Have a prompt's text spoken now, and say when it can be heard.

    A text that is written is spoken by itself soon after; this tells why one is not.
    """
    with connection.channel() as channel, told():
        asked = pb.SpeakPromptRequest(tenant=tenant, id=id, etag=etag)
        made = prompts_pb2_grpc.PromptServiceStub(channel).SpeakPrompt(asked, timeout=TRANSFER_S)
    _show(made, output_format)


@click.command("remove-audio")
@_named
@etag_option
@connects_to("provisioning")
@output_option
def remove_audio(tenant: str, id: str, etag: str, connection: Connection, output_format: Format) -> None:
    """Take the uploaded file from a prompt: its text is spoken from then on, if it has one."""
    with connection.channel() as channel, told():
        asked = pb.RemovePromptAudioRequest(tenant=tenant, id=id, etag=etag)
        made = prompts_pb2_grpc.PromptServiceStub(channel).RemovePromptAudio(asked, timeout=connection.timeout_s)
    _show(made, output_format)


def _show(prompt: types_pb2.Prompt, output_format: Format) -> None:
    if output_format == "table":
        kind = kinds.BY_NAME["Prompt"]
        print_table(kind.columns, [kind.row(prompt)])
    else:
        print_messages([prompt], output_format, one=True, kind="Prompt")


COMMANDS = (upload, download, speak, remove_audio)
"""What the commands of prompts have besides the usual."""
