"""Content that comes down into a file: what was interrupted goes on where it was, and is checked when it is whole."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from signalbox.commands.failure import told
from signalbox.commands.output import clean
from signalbox.commands.retrying import streamed

if TYPE_CHECKING:
    from pathlib import Path

    import grpc

    from signalbox.commands.connection import Connection

TRANSFER_S = 300.0
"""Most time for one stream, seconds; what is not through by then goes on with another."""

Open = Callable[["grpc.Channel", int], Iterable[Any]]
"""Begins a stream of messages with a field ``content``, from a byte on."""


def fetch(
    connection: Connection,
    target: Path,
    part: Path,
    size: int,
    sha256: str,
    open_: Open,
    retry_s: float,
    *,
    quiet: bool = False,
) -> None:
    """Bring content into a file that must not be there; ``part``: what is there of it meanwhile.

    Ends the command if that does not go, or if what has come has another SHA-256 (64 hexadecimal digits): then
    nothing is left of it.
    """
    if target.exists():
        raise click.UsageError(f"{target} is there already: name another one")
    try:
        with told():
            _bring(connection, part, size, open_, retry_s)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            part.unlink()
            raise click.ClickException(f"{target}: what has come is not what is kept there; try again")
        part.replace(target)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    if not quiet:
        click.echo(f"{clean(str(target))}: {size:,} bytes, SHA-256 {sha256}")


def _bring(connection: Connection, part: Path, size: int, open_: Open, retry_s: float) -> None:
    """Bring the rest of it."""
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        if file.tell() > size:
            file.truncate(0)
            file.seek(0)
        with progress(part.name.partition(".")[0], size) as bar:
            bar.update(file.tell())
            for response in streamed(connection, lambda channel: open_(channel, file.tell()), retry_s):
                file.write(response.content)
                bar.update(len(response.content))


def progress(label: str, length: int) -> Any:
    """A bar on standard error, if that is a terminal."""
    return click.progressbar(length=length, label=clean(label), file=sys.stderr, hidden=not sys.stderr.isatty())
