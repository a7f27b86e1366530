"""Encryption at rest: each tenant has a key of its own, kept in etcd under a master key that is not.

An object is sealed in pieces (STREAM, Hoang, Reyhanitabar, Rogaway and Vizár 2015, with AES-256-GCM): a header of four
bytes ``SBX1`` and 32 random ones, then pieces of 64 KiB, each 16 bytes longer when sealed. The key of an object comes
from the tenant's key, the header's random bytes and the object's name by HKDF-SHA-256 (RFC 5869); a piece's nonce is
its position in 11 bytes and one that says whether it is the last. So nothing can be changed, exchanged, cut off or put
elsewhere unnoticed, and reading may begin anywhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from signalbox import secretfile
from signalbox.api.types.v1 import inventory_pb2
from signalbox.errors import ConfigurationError, ContentLostError, ObjectsUnavailableError
from signalbox.store import codec, keys
from signalbox.store.base import Compare, CompareFailedError, Put
from signalbox.store.codec import DamagedValueError
from signalbox.store.objectsplace import ObjectsPlace
from signalbox.store.objectstore import ObjectMissingError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable
    from pathlib import Path

    from signalbox.store.base import Entry, Store
    from signalbox.store.objectstore import ObjectStore

logger = structlog.get_logger(__name__)

PIECE = 64 * 1024
"""Bytes in a piece of content."""
TAG = 16
SEALED_PIECE = PIECE + TAG
MASTER_CHARACTERS_MIN = 32
PAGE = 500
"""Keys of tenants that are read at once."""
DELETIONS_AT_ONCE = 8

_MAGIC = b"SBX1"
_SALT = 32
HEADER = len(_MAGIC) + _SALT


class MasterKey:
    """Wraps the keys of tenants."""

    def __init__(self, secret: str) -> None:
        digest = hashlib.sha512(secret.encode()).digest()
        self._cipher = AESGCM(digest[:32])
        self.id = digest[32:40].hex()
        """Tells master keys apart; tells nothing of the key."""

    def wrap(self, tenant: str, key: bytes) -> inventory_pb2.WrappedKey:
        """A tenant's key as it is stored."""
        nonce = secrets.token_bytes(12)
        return inventory_pb2.WrappedKey(
            master=self.id, nonce=nonce, sealed=self._cipher.encrypt(nonce, key, tenant.encode())
        )

    def unwrap(self, tenant: str, wrapped: inventory_pb2.WrappedKey) -> bytes:
        """A tenant's key that this master key has wrapped. Raises ContentLostError."""
        try:
            return self._cipher.decrypt(wrapped.nonce, wrapped.sealed, tenant.encode())
        except (InvalidTag, ValueError) as error:
            raise ContentLostError(_key_of(tenant), "it was changed") from error


class MasterKeys:
    """The present master key, and earlier ones."""

    def __init__(self, *secrets: str) -> None:
        """``secrets``: the present one first."""
        made = [MasterKey(secret) for secret in secrets]
        self.present = made[0]
        self._known = {key.id: key for key in made}

    @classmethod
    def read(cls, file: Path) -> MasterKeys:
        """The master keys of a file, one a line, the present one first; made if there is no file.

        Raises ConfigurationError.
        """
        found = secretfile.read_or_make(file).split()
        if min(map(len, found)) < MASTER_CHARACTERS_MIN:
            raise ConfigurationError(f"{file}: a master key has at least {MASTER_CHARACTERS_MIN} characters")
        return cls(*found)

    @property
    def several(self) -> bool:
        """True if there are earlier ones."""
        return len(self._known) > 1

    def unwrap(self, tenant: str, wrapped: inventory_pb2.WrappedKey) -> bytes:
        """A tenant's key. Raises ContentLostError, also for what a master key has wrapped that is not known."""
        master = self._known.get(wrapped.master)
        if master is None:
            reason = f"it is under master key {wrapped.master}, this process has {', '.join(self._known)}"
            raise ContentLostError(_key_of(tenant), reason)
        return master.unwrap(tenant, wrapped)


class TenantKeys:
    """The keys of tenants, made when they are first needed."""

    def __init__(self, store: Store, masters: MasterKeys) -> None:
        self._store = store
        self._masters = masters

    async def made(self, tenant: str) -> bytes:
        """A tenant's key, for sealing. Raises ContentLostError, DamagedValueError and what the store raises."""
        place = keys.data_key(tenant)
        entry = await self._store.get(place)
        while entry is None:
            wrapped = self._masters.present.wrap(tenant, AESGCM.generate_key(256))
            # Another process may be faster: then its key is the tenant's.
            with suppress(CompareFailedError):
                await self._store.commit([Compare(place, 0)], [Put(place, wrapped.SerializeToString())])
            entry = await self._store.get(place)
        return self._unwrapped(tenant, entry)

    async def known(self, tenant: str) -> bytes:
        """A tenant's key, for opening. Raises ContentLostError, DamagedValueError and what the store raises."""
        entry = await self._store.get(keys.data_key(tenant))
        if entry is None:
            raise ContentLostError(_key_of(tenant), "it is gone")
        return self._unwrapped(tenant, entry)

    async def rewrap(self) -> int:
        """Put what earlier master keys have wrapped under the present one; returns how many tenants' keys that were.

        Afterwards the earlier ones are needed no more, but for keys that could not be read: those are told and stay as
        they are. Raises what the store raises.
        """
        count, after = 0, ""
        while self._masters.several and (entries := await self._store.page(keys.DATA_KEYS, after, PAGE)):
            for entry in entries:
                try:
                    renewed = self._renewed(entry)
                except (ContentLostError, DamagedValueError) as error:
                    logger.error("data_key_not_rewrapped", key=entry.key, error=str(error))
                    continue
                if renewed is None:
                    continue
                with suppress(CompareFailedError):
                    await self._store.commit(
                        [Compare(entry.key, entry.revision)], [Put(entry.key, renewed.SerializeToString())]
                    )
                    count += 1
            after = entries[-1].key
        return count

    def _renewed(self, entry: Entry) -> inventory_pb2.WrappedKey | None:
        """A tenant's key under the present master key; None: it is. Raises ContentLostError and DamagedValueError."""
        wrapped = codec.parse(inventory_pb2.WrappedKey, entry)
        if wrapped.master == self._masters.present.id:
            return None
        tenant = keys.last_part(entry.key)
        return self._masters.present.wrap(tenant, self._masters.unwrap(tenant, wrapped))

    def _unwrapped(self, tenant: str, entry: Entry) -> bytes:
        return self._masters.unwrap(tenant, codec.parse(inventory_pb2.WrappedKey, entry))


class Vault:
    """Objects that are sealed for their tenants."""

    def __init__(self, objects: ObjectStore, tenant_keys: TenantKeys, place: ObjectsPlace) -> None:
        self._objects = objects
        self._keys = tenant_keys
        self._place = place

    @classmethod
    def over(cls, objects: ObjectStore, store: Store, masters: MasterKeys) -> Vault:
        """Over an object store, with what belongs to it in a store."""
        return cls(objects, TenantKeys(store, masters), ObjectsPlace(store, objects))

    async def put(self, tenant: str, name: str, content: AsyncIterator[bytes]) -> None:
        """Seal and store an object. See ObjectStore and ObjectsPlace."""
        await self._place.check()
        async with aclosing(sealed(await self._keys.made(tenant), name, content)) as pieces:
            await self._objects.put(name, pieces)

    async def get(self, tenant: str, name: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """An object's content from a byte on, which it has or which is its end.

        Raises ContentLostError before anything of a piece is given that is not as it was stored, and what the
        object store raises.
        """
        key = await self._keys.known(tenant)
        size = await self._objects.head(name)
        body = size - HEADER
        pieces = -(-body // SEALED_PIECE)
        length = body - TAG * pieces
        if pieces < 1 or offset > length:
            raise ContentLostError(name, f"its end is missing: it has {size} bytes")
        if offset == length:
            return
        async with aclosing(self._objects.get(name, 0, HEADER)) as beginning:
            header = b"".join([some async for some in beginning])
        first = offset // PIECE
        cipher = _cipher(key, header, name)
        skip = offset - first * PIECE
        async with aclosing(self._objects.get(name, HEADER + first * SEALED_PIECE)) as stored:
            position = first
            async for piece in _pieces(stored, SEALED_PIECE):
                try:
                    opened = cipher.decrypt(_nonce(position, last=position == pieces - 1), piece, None)
                except (InvalidTag, ValueError) as error:
                    raise ContentLostError(name, f"piece {position} is not as it was stored") from error
                yield opened[skip:]
                skip = 0
                position += 1
        if position != pieces:
            raise ContentLostError(name, f"it ends after piece {position} of {pieces}")

    async def rewrap(self) -> int:
        """See TenantKeys."""
        return await self._keys.rewrap()

    async def delete(self, name: str) -> None:
        """Delete an object; it is gone when this returns. See ObjectStore and ObjectsPlace."""
        await self._place.check()
        await self._objects.delete(name)
        if await self.holds(name):
            raise ObjectsUnavailableError(f"object {name} is still there after its deletion")

    async def holds(self, name: str) -> bool:
        """True if there is such an object. Raises ObjectsUnavailableError."""
        try:
            await self._objects.head(name)
        except ObjectMissingError:
            return False
        return True


async def delete_all(vault: Vault, names: Iterable[str]) -> None:
    """Delete objects, some of them at once. See Vault."""
    left = list(names)
    for start in range(0, len(left), DELETIONS_AT_ONCE):
        await asyncio.gather(*map(vault.delete, left[start : start + DELETIONS_AT_ONCE]))


async def sealed(key: bytes, name: str, content: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Content as it is stored at this name. Nothing at all is one empty piece."""
    header = _MAGIC + secrets.token_bytes(_SALT)
    cipher = _cipher(key, header, name)
    yield header
    before, position = b"", 0
    async for piece in _pieces(content, PIECE):
        if position:
            yield cipher.encrypt(_nonce(position - 1, last=False), before, None)
        before, position = piece, position + 1
    yield cipher.encrypt(_nonce(max(position - 1, 0), last=True), before, None)


def _key_of(tenant: str) -> str:
    """What a tenant's key is called in errors."""
    return f"key of tenant {tenant}"


def _cipher(key: bytes, header: bytes, name: str) -> AESGCM:
    """That of one object. Raises ContentLostError."""
    if len(header) != HEADER or not header.startswith(_MAGIC):
        raise ContentLostError(name, "it has no header of ours")
    derived = HKDF(SHA256(), 32, salt=header[len(_MAGIC) :], info=b"signalbox object\0" + name.encode())
    return AESGCM(derived.derive(key))


def _nonce(position: int, *, last: bool) -> bytes:
    return position.to_bytes(11, "big") + bytes([last])


async def _pieces(content: AsyncIterator[bytes], size: int) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of one size; the last may be shorter."""
    buffer = bytearray()
    async for some in content:
        buffer += some
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)
