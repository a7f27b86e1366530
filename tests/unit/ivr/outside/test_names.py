"""Names looked up in threads, a few of a tenant's at a time."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from signalbox.ivr.outside.names import LOOKUPS_PER_TENANT, Names
from signalbox.ivr.ports import RequestFailedError
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Slow:
    """A resolver that answers when it is let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = threading.Event()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        self.go.wait(60)
        return ["192.0.2.1"]


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.go.set()


async def test_an_address_is_its_own() -> None:
    names = Names()
    assert await names.addresses("acme", "127.0.0.1", 80) == ["127.0.0.1"]
    assert await names.addresses("acme", "::1", 80) == ["::1"]
    # As curl, browsers and attackers write it.
    assert await names.addresses("acme", "127.1", 80) == ["127.0.0.1"]
    assert await names.addresses("acme", "2130706433", 80) == ["127.0.0.1"]


async def test_a_name_has_each_of_its_addresses_once() -> None:
    found = await Names().addresses("acme", "localhost", 80)
    assert set(found) <= {"127.0.0.1", "::1"}
    assert len(found) == len(set(found)) > 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError("no more files"), "no more files"),
        (UnicodeError("label too long"), "is no name of a host"),
    ],
)
async def test_a_name_that_stands_for_nothing_is_told_with_its_reason(error: Exception, reason: str) -> None:
    def fail(host: str, port: int) -> Sequence[str]:
        raise error

    with pytest.raises(RequestFailedError, match=f"^crm: {reason}$"):
        await Names(fail).addresses("acme", "crm", 80)


async def test_a_label_too_long_for_a_name_is_told() -> None:
    with pytest.raises(RequestFailedError, match="is no name of a host"):
        await Names().addresses("acme", "a" * 64 + ".test", 80)


async def test_a_name_without_addresses_is_told() -> None:
    with pytest.raises(RequestFailedError, match="has no address"):
        await Names(lambda host, port: []).addresses("acme", "crm", 80)


async def test_a_name_that_is_being_looked_up_is_looked_up_once(slow: Slow) -> None:
    names = Names(slow)
    waiting = [asyncio.create_task(names.addresses("acme", "crm", 80)) for _ in range(5)]
    await until(lambda: slow.asked == ["crm"])
    slow.go.set()
    assert await asyncio.gather(*waiting) == [["192.0.2.1"]] * 5
    assert slow.asked == ["crm"]
    await names.addresses("acme", "crm", 80)
    assert slow.asked == ["crm", "crm"], "an answer is not kept: it may have changed"


async def test_names_that_nobody_answers_hold_up_their_tenant_alone(slow: Slow) -> None:
    names = Names(slow)
    tasks = [asyncio.create_task(names.addresses("slow", f"h{n}", 80)) for n in range(LOOKUPS_PER_TENANT)]
    await until(lambda: len(slow.asked) == LOOKUPS_PER_TENANT)
    for task in tasks:
        # Nobody waits any more, and still the threads are taken.
        task.cancel()
    await asyncio.wait(tasks)
    with pytest.raises(RequestFailedError, match="too many names"):
        await names.addresses("slow", "one-more", 80)
    other = asyncio.create_task(names.addresses("other", "crm", 80))
    await until(lambda: slow.asked[-1] == "crm")
    slow.go.set()
    assert await other == ["192.0.2.1"]
    await until(lambda: not names.busy)
    assert await names.addresses("slow", "one-more", 80) == ["192.0.2.1"]


async def test_a_lookup_that_fails_when_nobody_waits_any_more_harms_nobody() -> None:
    go = threading.Event()

    def fail(host: str, port: int) -> Sequence[str]:
        go.wait(60)
        raise OSError("late")

    names = Names(fail)
    task = asyncio.create_task(names.addresses("acme", "crm", 80))
    await until(lambda: names.busy == 1)
    task.cancel()
    await asyncio.wait([task])
    go.set()
    await until(lambda: not names.busy)
