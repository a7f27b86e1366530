"""Drafts: reads see the writes before them, and the commit holds only on the state that was read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.errors import InvalidFieldError
from signalbox.provisioning.draft import PENDING, SHARED_FENCE, Draft, Transactions
from signalbox.provisioning.writer import Plan
from signalbox.store.base import Compare, CompareFailedError, Delete, Put
from signalbox.store.memory import MemoryStore
from signalbox.store.turns import Turns

NAMES = [f"a/{n}" for n in range(6)] + ["b/0"]
names = st.sampled_from(NAMES)
writes = st.lists(
    st.one_of(st.builds(Put, names, st.binary(max_size=3)), st.builds(Delete, names)),
    max_size=6,
    unique_by=lambda write: write.key,
)


@given(writes, writes, st.sampled_from(["", *NAMES]), st.integers(1, 8))
async def test_a_draft_reads_as_the_store_will_after_its_commit(
    before: list[Put | Delete], after: list[Put | Delete], start: str, limit: int
) -> None:
    store = MemoryStore()
    await store.commit([], before)
    draft = Draft(store, Turns())
    draft.add([], after)
    page = [(entry.key, entry.value) for entry in await draft.page("a/", start, limit)]
    listing = [(entry.key, entry.value) for entry in (await draft.list("a/")).entries]
    found = [entry and entry.value for entry in await draft.get_many(NAMES)]
    if draft.changes:
        await draft.commit()
    assert page == [(entry.key, entry.value) for entry in await store.page("a/", start, limit)]
    assert listing == [(entry.key, entry.value) for entry in (await store.list("a/")).entries]
    assert found == [entry and entry.value for entry in await store.get_many(NAMES)]


async def test_several_plans_under_one_fence_are_one_commit() -> None:
    store = MemoryStore()
    await store.commit([], [Put("fences/x", b"")])

    async def work(draft: Draft) -> list[int]:
        async def plan(key: str) -> Plan[str]:
            return Plan(key, [Compare(key, 0)], [Put(key, b"")])

        return [(await draft.write("fences/x", lambda key=key: plan(key)))[1] for key in ("rules/a", "rules/b")]

    revisions, revision = await Transactions(store).run(work)
    assert revisions == [PENDING, PENDING]
    entries = await store.get_many(["rules/a", "rules/b", "fences/x"])
    assert {entry.revision for entry in entries if entry} == {revision}


async def test_what_was_read_of_the_operators_must_still_be_so() -> None:
    store = MemoryStore()
    await store.commit([], [Put("rules/calendars/_/x", b"")])
    draft = Draft(store, Turns())
    assert await draft.get("rules/calendars/_/x")
    draft.add([], [Put("rules/schedules/acme/x", b"")])
    await store.commit([], [Delete("rules/calendars/_/x")])
    with pytest.raises(CompareFailedError):
        await draft.commit()


async def test_what_was_read_of_the_operators_before_its_fence_must_still_be_so() -> None:
    store = MemoryStore()
    await store.commit([], [Put("rules/calendars/_/x", b"")])

    async def plan() -> Plan[None]:
        return Plan(None, writes=[Put("rules/calendars/_/y", b"")])

    async with Draft(store, Turns()) as draft:
        assert await draft.get("rules/calendars/_/x")
        await store.commit([], [Delete("rules/calendars/_/x"), Put(SHARED_FENCE, b"")])
        await draft.write(SHARED_FENCE, plan)
        with pytest.raises(CompareFailedError):
            await draft.commit()


async def test_what_needed_no_change_must_still_need_none() -> None:
    store = MemoryStore()

    async def nothing() -> Plan[None]:
        return Plan(None)

    async with Draft(store, Turns()) as draft:
        assert await draft.write("fences/x", nothing) == (None, 0)
        assert not draft.changes
        draft.add([], [Put("rules/y", b"")])
        await store.commit([], [Put("fences/x", b"")])
        with pytest.raises(CompareFailedError):
            await draft.commit()


async def test_who_relies_on_the_operators_tells_its_fence_and_spoils_no_other() -> None:
    store = MemoryStore()
    await store.commit([], [Put("rules/calendars/_/x", b"")])
    drafts = [Draft(store, Turns()) for _ in range(2)]
    for n, draft in enumerate(drafts):
        await draft.get("rules/calendars/_/x")
        draft.add([], [Put(f"rules/schedules/acme/{n}", b"")])
    for draft in drafts:
        await draft.commit()
    assert await store.get(SHARED_FENCE)


async def test_what_is_too_much_for_a_commit_is_refused() -> None:
    for draft_writes in ([Put(f"rules/{n}", b"") for n in range(129)], [Put("rules/x", b"a" * 2_000_000)]):
        draft = Draft(MemoryStore(), Turns())
        draft.add([], draft_writes)
        with pytest.raises(InvalidFieldError, match="at most"):
            await draft.commit()


async def test_a_part_made_of_another_state_is_done_again() -> None:
    draft = Draft(MemoryStore(), Turns())
    draft.add([Compare("rules/x", 0)], [])
    with pytest.raises(CompareFailedError):
        draft.add([Compare("rules/x", 7)], [])


async def test_without_keeping_nothing_is_written() -> None:
    store = MemoryStore()

    async def work(draft: Draft) -> str:
        draft.add([], [Put("rules/x", b"")])
        return "done"

    assert await Transactions(store).run(work, keep=False) == ("done", 0)
    assert await store.get("rules/x") is None
