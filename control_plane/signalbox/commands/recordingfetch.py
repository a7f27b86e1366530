"""``signalbox recordings get|play|verify``: what was recorded."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import grpc

from signalbox.api.provisioning.v1 import recordings_pb2 as pb
from signalbox.api.provisioning.v1 import recordings_pb2_grpc
from signalbox.api.types.v1 import recordings_pb2, types_pb2
from signalbox.catalog.names import suffix
from signalbox.commands.connection import Connection, connects_to
from signalbox.commands.failure import REFUSED, describe, reason_of, told
from signalbox.commands.fetching import TRANSFER_S, fetch
from signalbox.commands.output import clean
from signalbox.commands.recordings import API, filters, found, tenant_option
from signalbox.commands.retrying import retries, streamed
from signalbox.commands.ruleoptions import short

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ALL = 10**9
"""More recordings than there are."""

PLAYERS = {
    types_pb2.RECORDING_FORMAT_WAV: ("aplay -q", "paplay", "play -q", "ffplay -nodisp -autoexit -loglevel error"),
    types_pb2.RECORDING_FORMAT_OGG_OPUS: ("ffplay -nodisp -autoexit -loglevel error", "play -q", "paplay"),
}
"""Programs that may be installed, those first that play the format for sure."""

_PLAIN = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9._@-]{0,200}")
_LOST = {"CONTENT_LOST", "RESOURCE_NOT_FOUND"}


@click.command()
@click.argument("call_id")
@click.option(
    "--output",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where it goes; must not be there.  [default: the call's id and .ogg or .wav, here]",
)
@tenant_option
@retries
@connects_to("provisioning")
def get(call_id: str, target: Path | None, tenant: str, retry_for: float, connection: Connection) -> None:
    """Fetch the recording of a call. That you did is recorded.

    What was interrupted goes on where it was: FILE.part has what has come. FILE is there when it is whole, and has the
    SHA-256 of what was stored.
    """
    recording = _stored(connection, tenant, call_id)
    if target is None and not _PLAIN.fullmatch(call_id):
        raise click.UsageError(f"{clean(call_id)} is no good name for a file: name one with --output")
    _fetch(connection, recording, target or Path(call_id + suffix(recording.format)), retry_for)


@click.command()
@click.argument("call_id")
@click.option("--player", metavar="COMMAND", help="What plays it, with its options; the file's name is put at the end.")
@tenant_option
@retries
@connects_to("provisioning")
def play(call_id: str, player: str | None, tenant: str, retry_for: float, connection: Connection) -> None:
    """Listen to the recording of a call. That you did is recorded. Nothing of it stays on this machine."""
    recording = _stored(connection, tenant, call_id)
    command = _player(player, recording)
    with tempfile.TemporaryDirectory(prefix="signalbox-") as directory:
        file = Path(directory) / f"recording{suffix(recording.format)}"
        _fetch(connection, recording, file, retry_for, quiet=True)
        try:
            done = subprocess.run([*command, str(file)], check=False)
        except OSError as error:
            raise click.ClickException(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise click.ClickException(f"{command[0]} ended with exit code {done.returncode}")


@click.command()
@click.argument("call_ids", metavar="[CALL_ID]...", nargs=-1)
@filters
@retries
@connects_to("provisioning")
def verify(call_ids: Sequence[str], asked: Mapping[str, Any], retry_for: float, connection: Connection) -> None:
    """Read recordings, those named or all that the options choose, and tell which are not as they were stored.

    Each is decrypted, and its length and SHA-256 are compared. That you read them is recorded. The exit code is 1 if
    one is damaged or lost, or if one that is named is not stored.
    """
    tenant = str(asked.get("tenant", ""))
    if call_ids and asked.keys() - {"tenant"}:
        raise click.UsageError("name recordings or choose some by options, not both")
    chosen: Iterable[recordings_pb2.Recording]
    if call_ids:
        chosen = (API.ask(connection, "GetRecording", tenant=tenant, call_id=one) for one in call_ids)
    else:
        chosen = found(connection, asked, ALL)
    whole = damaged = absent = 0
    for recording in chosen:
        fault = ""
        if recording.state != recordings_pb2.RECORDING_STATE_STORED:
            absent += 1
            if call_ids:
                fault = f"is {short(recordings_pb2.RecordingState, recording.state)}"
        elif fault := _fault(connection, recording, retry_for):
            damaged += 1
        else:
            whole += 1
        if fault:
            click.echo(clean(f"{recording.call_id}: {fault}"), err=True)
    click.echo(f"{whole:,} whole, {damaged:,} damaged, {absent:,} not stored")
    if damaged or (absent and call_ids):
        raise click.exceptions.Exit(REFUSED)


COMMANDS = (get, play, verify)


def _fault(connection: Connection, recording: recordings_pb2.Recording, retry_s: float) -> str:
    """What is wrong with a recording's content; "" if nothing is."""
    digest, size = hashlib.sha256(), 0

    def open_(channel: grpc.Channel) -> Iterable[pb.DownloadRecordingResponse]:
        return _open(channel, recording, size)

    with told():
        try:
            for response in streamed(connection, open_, retry_s):
                digest.update(response.content)
                size += len(response.content)
        except grpc.RpcError as error:
            if reason_of(error) not in _LOST:
                raise
            return describe(error)[0].removeprefix("Error: ")
    if size != recording.size_bytes:
        return f"has {size} bytes, {recording.size_bytes} were stored"
    return "" if digest.hexdigest() == recording.sha256 else "its SHA-256 is not that of what was stored"


def _stored(connection: Connection, tenant: str, call_id: str) -> recordings_pb2.Recording:
    """What is known of a recording that can be fetched; that of another ends the command."""
    recording: recordings_pb2.Recording = API.ask(connection, "GetRecording", tenant=tenant, call_id=call_id)
    if recording.state != recordings_pb2.RECORDING_STATE_STORED:
        why = f": {', '.join(recording.reasons)}" if recording.reasons else ""
        state = short(recordings_pb2.RecordingState, recording.state)
        raise click.ClickException(clean(f"recording {call_id} is {state}{why}"))
    return recording


def _fetch(
    connection: Connection, recording: recordings_pb2.Recording, target: Path, retry_s: float, *, quiet: bool = False
) -> None:
    part = target.with_name(f"{target.name}.part")

    def open_(channel: grpc.Channel, offset: int) -> Iterable[pb.DownloadRecordingResponse]:
        return _open(channel, recording, offset)

    fetch(connection, target, part, recording.size_bytes, recording.sha256, open_, retry_s, quiet=quiet)


def _open(
    channel: grpc.Channel, recording: recordings_pb2.Recording, offset: int
) -> Iterator[pb.DownloadRecordingResponse]:
    asked = pb.DownloadRecordingRequest(tenant=recording.tenant, call_id=recording.call_id, offset=offset)
    stub = recordings_pb2_grpc.RecordingServiceStub(channel)
    return iter(stub.DownloadRecording(asked, timeout=TRANSFER_S))


def _player(given: str | None, recording: recordings_pb2.Recording) -> Sequence[str]:
    """The command that plays a recording, without its file."""
    if given is not None:
        command = shlex.split(given)
        if not command:
            raise click.UsageError("--player is empty")
        return command
    known = [shlex.split(one) for one in PLAYERS.get(recording.format, PLAYERS[types_pb2.RECORDING_FORMAT_OGG_OPUS])]
    for command in known:
        if shutil.which(command[0]):
            return command
    names = ", ".join(command[0] for command in known)
    raise click.ClickException(f"none of {names} is installed: name another player with --player, or use get")
