"""What is found damaged in the store, and what is put there instead."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from signalbox.api.types.v1 import types_pb2
from signalbox.store import codec, keys, mending
from signalbox.store.base import CompactedError, Compare, Delete, Put
from signalbox.store.codec import DamagedValueError
from signalbox.store.memory import MemoryStore
from signalbox.store.mending import NotMendableError, emptied, meant, mend, shown
from signalbox.store.page import LAST, Page
from signalbox.store.paged import PagedStore

PAGE = keys.LINES + "acme/" + LAST


def line(n: int, tenant: str = "acme", **fields: object) -> types_pb2.Line:
    return types_pb2.Line(tenant=tenant, id=f"line-{n:03d}", user="100", host="192.0.2.7", **fields)  # type: ignore[arg-type]


def put(message: types_pb2.Line | types_pb2.Tenant) -> Put:
    return Put(codec.key_of(message), codec.encode(message))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def paged(store: MemoryStore) -> PagedStore:
    paged = PagedStore(store)
    await paged.commit([], [put(types_pb2.Tenant(id="acme")), *(put(line(n)) for n in range(100))])
    await paged.commit([], [put(line(n, "best")) for n in range(10)])
    return paged


async def checked(store: MemoryStore) -> dict[str, tuple[str, str]]:
    return {one.key: (one.page, one.why) async for _, found in mending.check(store) for one in found}


async def written(store: MemoryStore, paged: PagedStore, found: mending.Mending) -> None:
    target = store if found.page else paged
    await target.commit([Compare(found.key, found.damaged.revision)], [found.write])


async def lines(paged: PagedStore, tenant: str = "acme") -> dict[str, bytes]:
    return {entry.key: entry.value for entry in (await paged.list(keys.lines_of(tenant))).entries}


async def test_where_nothing_is_damaged_nothing_is_found(store: MemoryStore, paged: PagedStore) -> None:
    await paged.commit([], [put(line(n)) for n in range(100, 600)][:128])
    assert await checked(store) == {}
    assert [read async for read, _ in mending.check(store)] == [4]


async def test_everything_damaged_is_named(store: MemoryStore, paged: PagedStore) -> None:
    await store.commit([], [Put(PAGE, b"junk"), Put(keys.tenant("acme"), b"\xff"), Put("foreign/key", b"\xff")])
    await paged.commit([], [Put(keys.line("best", "odd"), b"\xff"), Put(keys.number_of("best", "400"), b"\xff")])
    await store.commit(
        [], [Put(keys.AUDIT_HEAD, b"\xff"), Put(keys.media_id("m"), b"x"), Put("numberlog/10/4/0", b"x")]
    )
    await store.commit([], [Put(keys.api_key("acme", "k"), b"\xff"), Put(keys.inventory_page("4001234567"), b"\xff")])
    await store.commit([], [Put(keys.screening_page("acme", "l", 1), b"\xff"), Put(keys.AUDIT_OUTBOX + "1", b"\xff")])
    told_of_tenants = [keys.document_count("acme"), keys.data_key("acme"), keys.holdings("acme")]
    await store.commit([], [Put(key, b"\xff") for key in told_of_tenants])
    found = await checked(store)
    assert found.keys() == {
        PAGE, keys.tenant("acme"), keys.line("best", "odd"), keys.number_of("best", "400"), keys.AUDIT_HEAD,
        keys.media_id("m"), "numberlog/10/4/0", keys.api_key("acme", "k"), keys.inventory_page("4001234567"),
        keys.screening_page("acme", "l", 1), keys.AUDIT_OUTBOX + "1", *told_of_tenants,
    }  # fmt: skip
    assert found[keys.line("best", "odd")][0] == keys.LINES + "best/" + LAST
    assert "not a page" in found[PAGE][1]


async def test_a_page_with_what_belongs_into_the_one_before_it_is_found(store: MemoryStore, paged: PagedStore) -> None:
    await paged.commit([], [put(line(n)) for n in range(100, 200)])
    assert len((await store.list(keys.lines_of("acme"))).entries) > 1
    everything = (await paged.list(keys.lines_of("acme"))).entries
    await store.commit([], [Put(PAGE, Page.renewed(keys.lines_of("acme"), PAGE, everything, 0).encode())])
    found = await checked(store)
    assert list(found) == [PAGE]
    assert "line-000, which belongs into the page before it" in found[PAGE][1]


async def test_a_page_is_put_back_to_what_it_was_before(store: MemoryStore, paged: PagedStore) -> None:
    before = await lines(paged)
    await store.commit([], [Put(PAGE, b"junk")])
    await store.commit([], [Put(PAGE, b"other junk")])
    with pytest.raises(DamagedValueError):
        await paged.list(keys.lines_of("acme"))
    found = await mend(store, paged, PAGE)
    assert len(found.entries) == 100
    assert await checked(store), "nothing is written yet"
    await written(store, paged, found)
    assert await lines(paged) == before
    assert await checked(store) == {}
    await paged.commit([], [put(line(3, display_name="new")), Delete(keys.line("acme", "line-004"))])
    assert len(await lines(paged)) == 99


async def test_what_has_moved_into_other_pages_since_is_not_put_back_twice(
    store: MemoryStore, paged: PagedStore
) -> None:
    await paged.commit([], [put(line(n)) for n in range(100, 200)])
    before = await lines(paged)
    pages = (await store.list(keys.lines_of("acme"))).entries
    assert len(pages) > 1
    for page in pages:
        await store.commit([], [Put(page.key, b"junk")])
        await written(store, paged, await mend(store, paged, page.key))
        assert await lines(paged) == before


async def test_everybody_who_follows_gets_what_was_put_back(store: MemoryStore, paged: PagedStore) -> None:
    await store.commit([], [Put(PAGE, b"junk")])
    start = await store.revision() + 1
    await written(store, paged, await mend(store, paged, PAGE))
    async with asyncio.timeout(5), aclosing(paged.watch(keys.LINES, start)) as batches:
        changes, _ = await anext(batches)
    assert len(changes) == 100
    async with asyncio.timeout(5), aclosing(paged.watch(keys.LINES, start - 1)) as batches:
        with pytest.raises(CompactedError):
            await anext(batches)


async def test_an_object_is_put_back(store: MemoryStore, paged: PagedStore) -> None:
    for key in (keys.tenant("acme"), keys.line("best", "line-003")):
        good = await paged.get(key)
        assert good is not None
        await paged.commit([], [Put(key, b"\xff")])
        await paged.commit([], [Put(key, b"\xfe")])
        await written(store, paged, await mend(store, paged, key))
        mended = await paged.get(key)
        assert mended is not None
        assert mended.value == good.value
    assert await checked(store) == {}


async def test_an_object_that_was_never_good_is_deleted(store: MemoryStore, paged: PagedStore) -> None:
    key = keys.tenant("odd")
    await store.commit([], [Put(key, b"\xff")])
    found = await mend(store, paged, key)
    assert found.write == Delete(key)


async def test_what_etcd_has_forgotten_comes_from_another_etcd(store: MemoryStore, paged: PagedStore) -> None:
    backup = MemoryStore()
    await PagedStore(backup).commit([], [put(types_pb2.Tenant(id="acme")), *(put(line(n)) for n in range(50))])
    key = keys.tenant("acme")
    store.compact(await store.commit([], [Put(PAGE, b"junk"), Put(key, b"\xff")]))
    for damaged in (PAGE, key):
        with pytest.raises(NotMendableError, match="remembers nothing"):
            await mend(store, paged, damaged)
        await written(store, paged, await mend(store, paged, damaged, backup))
    assert len(await lines(paged)) == 50
    assert await checked(store) == {}


async def test_a_copy_that_is_damaged_too_is_of_no_use(store: MemoryStore, paged: PagedStore) -> None:
    await store.commit([], [Put(PAGE, b"junk"), Put(keys.tenant("acme"), b"\xff")])
    backup = MemoryStore()
    await backup.commit([], [Put(PAGE, b"junk"), Put(keys.tenant("acme"), b"\xff")])
    with pytest.raises(NotMendableError, match="there too"):
        await mend(store, paged, keys.tenant("acme"), backup)
    with pytest.raises(NotMendableError, match="there too"):
        await mend(store, paged, PAGE, backup)


async def test_of_what_nothing_is_left_the_place_is_made_free(store: MemoryStore, paged: PagedStore) -> None:
    store.compact(await store.commit([], [Put(PAGE, b"junk"), Put(keys.tenant("acme"), b"\xff")]))
    for key in (PAGE, keys.tenant("acme")):
        await written(store, paged, await emptied(store, paged, key))
    assert await lines(paged) == {}
    await paged.commit([], [put(line(1))])
    assert await checked(store) == {}


async def test_what_is_not_damaged_is_left_alone(store: MemoryStore, paged: PagedStore) -> None:
    for key in (keys.tenant("acme"), keys.line("acme", "line-003")):
        with pytest.raises(NotMendableError, match="is not damaged"):
            await mend(store, paged, key)
        with pytest.raises(NotMendableError, match="is not damaged"):
            await emptied(store, paged, key)
    with pytest.raises(NotMendableError, match="nothing at"):
        await mend(store, paged, keys.tenant("none"))
    with pytest.raises(NotMendableError):
        await mend(store, paged, PAGE)
    await store.commit([], [Put(PAGE, b"junk")])
    with pytest.raises(NotMendableError, match="mend that"):
        await mend(store, paged, keys.line("acme", "line-003"))


def test_keys_are_written_as_people_can() -> None:
    assert shown(PAGE) == "rules/lines/acme/LAST"
    assert meant(shown(PAGE)) == PAGE
    assert meant("rules/tenants/acme") == "rules/tenants/acme"
