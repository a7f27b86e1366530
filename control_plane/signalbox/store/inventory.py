"""The inventory as it is stored: the states of a hundred numbers in columns, and their history in chunks."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from signalbox.api.types.v1 import inventory_pb2
from signalbox.domain.inventory import FREE, ORDINARY, Holding, State, Terms
from signalbox.store import keys
from signalbox.store.codec import DamagedValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.store.base import Entry

PAGE = 100
"""Numbers in a page."""
CHUNK_BYTES = 32 * 1024
"""A chunk of the history that is longer, before it is compressed, is full: it is never written again."""


class Page:
    """The numbers of a page that ever were not available, by their last two digits."""

    def __init__(self, head: str, entry: Entry | None = None) -> None:
        """``head``: all digits but the last two. Raises DamagedValueError."""
        self.head = head
        self.revision = entry.revision if entry else 0
        self.transitions = 0
        self.chunk = 0
        """The chunk of the history that is written next."""
        self._holdings: dict[int, Holding] = {}
        if entry is not None:
            self._read(decode_page(entry))

    def _read(self, message: inventory_pb2.InventoryPage) -> None:
        self.transitions, self.chunk = message.transitions, message.chunk
        tenants = ["", *message.tenants]
        terms = [ORDINARY, *map(read_terms, message.terms)]
        for low, version in enumerate(message.versions):
            if version:
                self._holdings[low] = Holding(
                    State(message.states[low]),
                    tenants[message.owners[low]],
                    message.since[low],
                    message.until[low],
                    version,
                    terms[message.terms_of[low]],
                )

    @property
    def key(self) -> str:
        """Where it is stored."""
        return keys.inventory_page(self.head + "00")

    def __getitem__(self, number: str) -> Holding:
        return self._holdings.get(int(number[-2:]), FREE)

    def put(self, number: str, holding: Holding) -> Holding:
        """Take a changed number in; returns it with its new version."""
        self.transitions += 1
        changed = Holding(holding.state, holding.tenant, holding.since, holding.until, self.transitions, holding.terms)
        self._holdings[int(number[-2:])] = changed
        return changed

    def numbers(self) -> Sequence[tuple[str, Holding]]:
        """All that ever were not available, in order."""
        return [(f"{self.head}{low:02d}", self._holdings[low]) for low in sorted(self._holdings)]

    def encode(self) -> bytes:
        """The stored form."""
        held = [self._holdings.get(low, FREE) for low in range(PAGE)]
        tenants = sorted({one.tenant for one in held if one.tenant})
        terms = sorted({one.terms for one in held if one.terms != ORDINARY}, key=repr)
        place = {"": 0, **{tenant: n for n, tenant in enumerate(tenants, 1)}}
        terms_place = {ORDINARY: 0, **{one: n for n, one in enumerate(terms, 1)}}
        message = inventory_pb2.InventoryPage(
            head=self.head,
            states=bytes(one.state for one in held),
            owners=[place[one.tenant] for one in held],
            since=[one.since for one in held],
            until=[one.until for one in held],
            versions=[one.version for one in held],
            terms_of=[terms_place[one.terms] for one in held],
            tenants=tenants,
            terms=map(terms_message, terms),
            transitions=self.transitions,
            chunk=self.chunk,
        )
        return message.SerializeToString(deterministic=True)


def decode_page(entry: Entry) -> inventory_pb2.InventoryPage:
    """A page as a message. Raises DamagedValueError."""
    try:
        message = inventory_pb2.InventoryPage.FromString(entry.value)
    except DecodeError as error:
        raise DamagedValueError(entry.key, "not a protobuf message") from error
    columns = (message.states, message.owners, message.since, message.until, message.versions, message.terms_of)
    if any(len(column) != PAGE for column in columns):
        raise DamagedValueError(entry.key, f"not {PAGE} numbers in each column")
    if keys.inventory_page(message.head + "00") != entry.key or not message.head.isdecimal():
        raise DamagedValueError(entry.key, f"holds the page of {message.head}")
    if (
        max(message.states) > max(State)
        or max(message.owners) > len(message.tenants)
        or max(message.terms_of) > len(message.terms)
    ):
        raise DamagedValueError(entry.key, "a column points at nothing")
    return message


def state_value(state: State) -> inventory_pb2.InventoryState.ValueType:
    """A state as the API has it."""
    return inventory_pb2.InventoryState.ValueType(state.value + 1)


def appended(before: bytes, event: inventory_pb2.NumberEvent) -> bytes | None:
    """A chunk with one more event; None: it is full. An empty one takes any event."""
    written = zlib.decompress(before) if before else b""
    # Serialized messages joined are the message of all their repeated fields.
    added = inventory_pb2.HistoryChunk(events=[event]).SerializeToString(deterministic=True)
    return None if written and len(written) + len(added) > CHUNK_BYTES else zlib.compress(written + added)


def events(entry: Entry) -> Sequence[inventory_pb2.NumberEvent]:
    """The events of a chunk, the first first. Raises DamagedValueError."""
    try:
        return inventory_pb2.HistoryChunk.FromString(zlib.decompress(entry.value)).events
    except (DecodeError, zlib.error) as error:
        raise DamagedValueError(entry.key, "not a compressed protobuf message") from error


def read_terms(message: inventory_pb2.NumberTerms) -> Terms:
    """Terms of a message."""
    return Terms(message.number_class, message.minimum_spend, message.currency, message.contract_months)


def terms_message(terms: Terms) -> inventory_pb2.NumberTerms:
    """Terms as a message."""
    return inventory_pb2.NumberTerms(
        number_class=terms.number_class,
        minimum_spend=terms.minimum_spend,
        currency=terms.currency,
        contract_months=terms.contract_months,
    )
