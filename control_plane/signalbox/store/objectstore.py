"""Content that is too large for etcd: objects in a folder, or in a bucket that speaks S3.

An object is there whole or not at all, and is never changed: who has its name has its content. Names are paths
without a beginning slash, e.g. ``documents/acme/5f3c9d2e``.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from signalbox.errors import ConfigurationError, ContentLostError, ObjectsUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from obstore import OffsetRange, PutResult

    from signalbox.settings import ObjectsSettings

    _Pieces = asyncio.Queue["bytes | _StoppedError | None"]

S3 = "s3://"
CONNECT_S = 5
RETRY_S = 20
"""How long a request of S3 that failed is tried again."""
READ_BYTES = 256 * 1024
"""Content is read in pieces of about this size."""
PIECES_AHEAD = 16
"""Pieces of content that wait to be stored."""
STOP_S = 10.0
"""How long is waited for what was begun to be cleared up, when content ends with an error."""


class ObjectMissingError(ContentLostError):
    """There is no such object, though somebody knows its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "it is not in the object store")


class ObjectStore:
    """Objects by their names."""

    def __init__(self, store: LocalStore | S3Store, folder: Path | None = None) -> None:
        """``folder``: where the objects are files, if they are."""
        self._store = store
        self._folder = folder

    @classmethod
    def open(cls, settings: ObjectsSettings) -> ObjectStore:
        """The store of the settings; a folder is made, a bucket must be there. Raises ConfigurationError."""
        if not settings.location.startswith(S3):
            folder = Path(settings.location).absolute()
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                return cls(LocalStore(folder), folder)
            except (OSError, BaseError) as error:
                raise ConfigurationError(f"objects.location: {error}") from error
        s3 = settings.s3
        config: dict[str, str] = {"region": s3.region}
        if s3.endpoint:
            config["endpoint"] = s3.endpoint
        if s3.access_key_id and s3.secret_key_file:
            try:
                secret = s3.secret_key_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"objects.s3.secret_key_file: {error}") from error
            config |= {"access_key_id": s3.access_key_id, "secret_access_key": secret}
        try:
            store = S3Store.from_url(
                settings.location,
                config=config,  # type: ignore[arg-type]
                client_options={
                    "connect_timeout": timedelta(seconds=CONNECT_S),
                    "timeout": timedelta(seconds=s3.timeout_s),
                    "allow_http": s3.endpoint is not None and s3.endpoint.startswith("http://"),
                },
                retry_config={"retry_timeout": timedelta(seconds=RETRY_S)},
            )
        except (BaseError, ValueError) as error:
            raise ConfigurationError(f"objects.location: {_first_line(error)}") from error
        return cls(store)

    async def put(self, name: str, content: AsyncIterator[bytes]) -> None:
        """Store an object, whole; another one of that name is replaced. Nothing is stored if ``content`` raises.

        In a folder it is on the disk when this returns. Raises ObjectsUnavailableError, and what ``content`` raises.
        """
        pieces: _Pieces = asyncio.Queue(PIECES_AHEAD)
        storing = asyncio.ensure_future(obstore.put_async(self._store, name, _taken(pieces)))
        try:
            async for piece in content:
                await _give(pieces, piece, storing)
            await _give(pieces, None, storing)
            await asyncio.wait({storing})
            _result(storing)
        except BaseException:
            await _stop(pieces, storing)
            raise
        if self._folder is not None:
            with _converted(name):
                await asyncio.to_thread(_sync, self._folder, name)

    async def get(self, name: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """An object's content from a byte on, up to another or to its end, in pieces.

        ``start`` must be below the object's size. Raises ObjectMissingError and ObjectsUnavailableError.
        """
        span: tuple[int, int] | OffsetRange = {"offset": start} if end is None else (start, end)
        with _converted(name):
            found = await obstore.get_async(self._store, name, options={"range": span})
            async for piece in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(piece)

    async def head(self, name: str) -> int:
        """An object's size, bytes. Raises ObjectMissingError and ObjectsUnavailableError."""
        with _converted(name):
            return int((await obstore.head_async(self._store, name))["size"])

    async def delete(self, name: str) -> None:
        """Delete an object, and what a process that was killed has left of it; one that is not there is no error.

        Raises ObjectsUnavailableError. What is left of a killed upload to S3 is for the bucket's lifecycle rules.
        """
        with suppress(ObjectMissingError), _converted(name):
            await obstore.delete_async(self._store, name)
        if self._folder is not None:
            with _converted(name):
                await asyncio.to_thread(_clear, self._folder / name)


async def once(content: bytes) -> AsyncIterator[bytes]:
    """Content that is small, as ``put`` takes it."""
    yield content


class _StoppedError(Exception):
    """Whoever gave the pieces gives no more: the object is not to be stored."""


async def _taken(pieces: _Pieces) -> AsyncGenerator[bytes, None]:
    """The pieces, for the library, which takes them in a task of its own and clears up when it gets an error."""
    while (piece := await pieces.get()) is not None:
        if isinstance(piece, _StoppedError):
            raise piece
        yield piece


async def _give(pieces: _Pieces, piece: bytes | None, storing: asyncio.Future[PutResult]) -> None:
    """Wait until there is room for a piece. Raises what storing has failed with."""
    giving = asyncio.ensure_future(pieces.put(piece))
    both: set[asyncio.Future[Any]] = {giving, storing}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        giving.cancel()
    if storing.done():
        _result(storing)


def _result(storing: asyncio.Future[PutResult]) -> None:
    """Raise ObjectsUnavailableError if it has failed. That something is missing can only be the bucket."""
    try:
        storing.result()
    except (BaseError, OSError) as error:
        raise ObjectsUnavailableError(f"object store: {_first_line(error)}") from error


async def _stop(pieces: _Pieces, storing: asyncio.Future[PutResult]) -> None:
    """Let the library end, and clear up what it has begun."""
    while not pieces.empty():
        pieces.get_nowait()
    pieces.put_nowait(_StoppedError())
    await asyncio.wait({storing}, timeout=STOP_S)
    if storing.done() and not storing.cancelled():
        storing.exception()


@contextmanager
def _converted(name: str) -> Iterator[None]:
    """Turn the library's errors into ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissingError(name) from error
    except (BaseError, OSError) as error:
        raise ObjectsUnavailableError(f"object store: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """What the library says for people; what follows is for its authors."""
    return str(error).partition("\n")[0]


def _sync(folder: Path, name: str) -> None:
    """Bring a file and the folders that it is in to the disk."""
    file = folder / name
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    above = file.parent
    while True:
        _sync_folder(above)
        if above == folder:
            return
        above = above.parent


def _clear(file: Path) -> None:
    """Delete what the library had written of a file that was never whole; then it is gone on the disk, too."""
    if file.parent.is_dir():
        for begun in file.parent.glob(f"{file.name}#*"):
            begun.unlink(missing_ok=True)
        _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
