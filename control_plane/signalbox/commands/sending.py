"""Files that are sent: read at once, and streamed in pieces while a bar shows how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from signalbox.commands.fetching import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK = 256 * 1024
"""Bytes of content in a request."""

RequestT = TypeVar("RequestT")


def content_of(file: Path) -> bytes:
    """All of a file; one that cannot be read ends the command."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from error


def requests(name: str, content: bytes, first: RequestT, piece: Callable[[bytes], RequestT]) -> Iterator[RequestT]:
    """The requests of an upload: what it is, then its content; ``piece`` makes one of some of that."""
    yield first
    with progress(name, len(content)) as bar:
        for begin in range(0, len(content), CHUNK):
            part = content[begin : begin + CHUNK]
            yield piece(part)
            bar.update(len(part))
