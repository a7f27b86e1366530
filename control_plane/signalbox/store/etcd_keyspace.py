"""Our keys in etcd: below a prefix, as bytes, and in ranges of bearable size."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from signalbox.store import keys
from signalbox.store.base import Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.store.etcdpb import rpc_pb2


class KeySpace:
    """Turns keys into etcd's and back."""

    def __init__(self, prefix: str) -> None:
        """``prefix`` is not empty."""
        self._prefix = prefix.encode()
        self._cuts = [self.key(partition) for partition in keys.NUMBER_PARTITIONS]
        self._cuts.append(self.bounds(keys.NUMBERS)[1])

    def key(self, key: str) -> bytes:
        """A key as etcd has it."""
        return self._prefix + key.encode(errors="surrogateescape")

    def entry(self, kv: rpc_pb2.KeyValue) -> Entry:
        """A key and its value as we have it. A foreign key that is no UTF-8 passes: it must not stop a listing."""
        key = kv.key[len(self._prefix) :].decode(errors="surrogateescape")
        return Entry(key, kv.value, kv.mod_revision, kv.create_revision)

    def bounds(self, prefix: str) -> tuple[bytes, bytes]:
        """First key of a prefix, and the one after its last."""
        start = self.key(prefix)
        # UTF-8 has no byte 0xff, so the last one can be counted up.
        return start, start[:-1] + bytes([start[-1] + 1])

    def pieces(self, prefix: str) -> Sequence[tuple[bytes, bytes]]:
        """The bounds of a prefix cut into pieces, in order.

        With every page etcd counts the rest of the range, so a range takes time in the square of its length. The long
        one, of all numbers, is cut at its partitions.
        """
        start, end = self.bounds(prefix)
        return list(pairwise([start, *(cut for cut in self._cuts if start < cut < end), end]))
