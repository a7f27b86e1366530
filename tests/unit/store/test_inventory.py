"""Pages of the inventory as bytes and back, and their history in chunks."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.types.v1 import inventory_pb2
from signalbox.domain.inventory import FREE, Holding, State, Terms
from signalbox.store import keys
from signalbox.store.base import Entry
from signalbox.store.codec import DamagedValueError
from signalbox.store.inventory import CHUNK_BYTES, PAGE, Page, appended, decode_page, events

HEAD = "40012312"
KEY = keys.inventory_page(HEAD + "00")

_holdings = st.builds(
    Holding,
    state=st.sampled_from(State),
    tenant=st.sampled_from(["", "acme", "best", "x" * 63]),
    since=st.integers(0, 2**40),
    until=st.integers(0, 2**40),
    terms=st.sampled_from([Terms(), Terms("gold", 200_000, "CNY", 24), Terms("silver", 1, "JPY", 0)]),
)


def entry(value: bytes, key: str = KEY) -> Entry:
    return Entry(key, value, 7, 1)


@given(st.lists(st.tuples(st.integers(0, PAGE - 1), _holdings), max_size=150))
def test_a_page_is_read_as_it_was_written(puts: list[tuple[int, Holding]]) -> None:
    page, expected = Page(HEAD), {}
    for low, holding in puts:
        number = f"{HEAD}{low:02d}"
        expected[number] = page.put(number, holding)
    page.chunk = 3
    read = Page(HEAD, entry(page.encode()))
    assert dict(read.numbers()) == expected
    assert [read[f"{HEAD}{low:02d}"] for low in range(PAGE) if f"{HEAD}{low:02d}" not in expected] == [FREE] * (
        PAGE - len(expected)
    )
    assert (read.transitions, read.chunk, read.revision) == (len(puts), 3, 7)
    assert read.encode() == page.encode()


def test_every_change_of_a_number_has_another_version() -> None:
    page = Page(HEAD)
    versions = [page.put(f"{HEAD}{low:02d}", Holding(State.RESERVED, "acme")).version for low in (1, 2, 1, 1)]
    assert versions == [1, 2, 3, 4]


def test_a_page_of_numbers_in_service_is_small() -> None:
    page = Page(HEAD)
    terms = Terms("silver", 30_000, "CNY", 12)
    for low in range(PAGE):
        holding = Holding(State.ACTIVE, f"tenant-{low % 7}", 1_790_000_000 + low * 999, 1_850_000_000, 0, terms)
        page.put(f"{HEAD}{low:02d}", holding)
    assert len(page.encode()) / PAGE < 18, "bytes a number"


def _damaged(**fields: object) -> bytes:
    message = decode_page(entry(Page(HEAD).encode()))
    for name, value in fields.items():
        message.ClearField(name)  # type: ignore[arg-type]
        if isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"\xff", "not a protobuf message"),
        (b"", "not 100 numbers in each column"),
        (_damaged(states=b"\0" * 99), "not 100 numbers in each column"),
        (_damaged(head="40012313"), "holds the page of 40012313"),
        (_damaged(states=b"\x09" * 100), "a column points at nothing"),
        (_damaged(owners=[1] * 100), "a column points at nothing"),
        (_damaged(terms_of=[1] * 100), "a column points at nothing"),
    ],
)
def test_a_damaged_page_is_told(value: bytes, told: str) -> None:
    with pytest.raises(DamagedValueError, match=told):
        Page(HEAD, entry(value))


def test_a_chunk_is_full_some_time_and_takes_any_event_when_it_is_empty() -> None:
    event = inventory_pb2.NumberEvent(number="4001231234", reason="x" * 100)
    chunk, count = b"", 0
    while (longer := appended(chunk, event)) is not None:
        chunk, count = longer, count + 1
    assert CHUNK_BYTES - 200 < count * (event.ByteSize() + 2) <= CHUNK_BYTES
    assert list(events(entry(chunk))) == [event] * count
    huge = inventory_pb2.NumberEvent(reason="x" * 2 * CHUNK_BYTES)
    assert appended(b"", huge) is not None
    assert appended(chunk, huge) is None


def test_a_history_takes_some_hundred_bytes_a_number() -> None:
    """From its reservation to its service, of which the digests of three documents take 96."""
    chance, chunks, chunk = random.Random(1), [], b""
    for low in range(PAGE):
        documents = [
            inventory_pb2.NumberDocument(
                kind=kind,  # type: ignore[arg-type]
                file_name=f"document-{kind}.pdf",
                sha256=chance.randbytes(32),
                size_bytes=chance.randrange(2_000_000),
                media_type="application/pdf",
                content=f"s3://papers/tenant-{low % 30}/document-{low}-{kind}.pdf",
            )
            for kind in (1, 2, 3)
        ]
        for transition in (1, 3, 4, 6):
            event = inventory_pb2.NumberEvent(
                number=f"{HEAD}{low:02d}",
                transition=transition,  # type: ignore[arg-type]
                state=2,
                actor=f"api-key tenant-{low % 30}/portal",
                tenant=f"tenant-{low % 30}",
                documents=documents if transition == 3 else (),
                terms=inventory_pb2.NumberTerms(number_class="silver", minimum_spend=30_000, currency="CNY"),
            )
            event.time.seconds = 1_790_000_000 + chance.randrange(10**7)
            longer = appended(chunk, event)
            if longer is None:
                chunks.append(chunk)
                longer = appended(b"", event)
            assert longer is not None
            chunk = longer
    assert sum(map(len, [*chunks, chunk])) / PAGE < 200, "bytes a number"


@pytest.mark.parametrize("value", [b"\xff", zlib.compress(b"\xff")])
def test_a_damaged_chunk_is_told(value: bytes) -> None:
    with pytest.raises(DamagedValueError, match="not a compressed protobuf message"):
        events(entry(value))
