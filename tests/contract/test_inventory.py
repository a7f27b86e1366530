"""The inventory over both stores: who comes together gets in each other's way by no more than a refusal."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2
from signalbox.api.types.v1 import inventory_pb2
from signalbox.domain.inventory import RESERVATIONS_MAX
from support.clock import Clock
from support.inventory import DOCUMENTS, Network, Site, anything_goes, check_agreement, site
from support.provisioning import Example, reason_of
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.store.base import Store

NUMBER = "4001231234"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sites(store: Store, clock: Clock) -> AsyncIterator[list[Site]]:
    """Two replicas with one store."""
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(site(Network(store, seed), clock)) for seed in (1, 2)]  # type: ignore[arg-type]
        await made[0].fill()
        yield made
        await check_agreement(store)


async def test_of_many_who_reserve_a_number_one_gets_it(sites: list[Site]) -> None:
    for round in range(5):
        number = f"400123100{round}"
        asked = [sites[n % 2].reserve(number, ("acme", "best")[n % 2]) for n in range(8)]
        told = await asyncio.gather(*(reason_of(one) for one in asked))
        assert sorted(told) == ["OK", *["TRANSITION_REFUSED"] * 7]


async def test_neighbours_do_not_refuse_each_other(sites: list[Site]) -> None:
    numbers = [f"40012310{low:02d}" for low in range(24)]
    asked = [sites[n % 2].reserve(number, ("acme", "best")[n % 2]) for n, number in enumerate(numbers)]
    assert await asyncio.gather(*(reason_of(one) for one in asked)) == ["OK"] * 24


async def test_many_at_once_are_none_too_many(sites: list[Site]) -> None:
    """Of one page and of many, by one tenant and by two."""
    numbers = [*(f"40012310{low:02d}" for low in range(40)), *(f"400123{page}00" for page in range(11, 51))]
    asked = [sites[n % 2].reserve(number, ("acme", "best")[n // 2 % 2]) for n, number in enumerate(numbers)]
    assert set(await asyncio.gather(*(reason_of(one) for one in asked))) == {"OK"}


async def test_nobody_gets_more_than_its_share_by_asking_often_at_once(sites: list[Site]) -> None:
    for low in range(RESERVATIONS_MAX - 2):
        await sites[0].reserve(f"400123{low:02d}00")
    asked = [sites[n % 2].reserve(f"400123{n:02d}01") for n in range(10)]
    told = await asyncio.gather(*(reason_of(one) for one in asked))
    assert sorted(told) == ["OK"] * 2 + ["TRANSITION_REFUSED"] * 8


async def test_a_reservation_that_expires_while_its_tenant_applies(sites: list[Site], clock: Clock) -> None:
    """Either there is an application in time, or the number is free: whichever is first, and never both."""
    for round in range(6):
        number = f"400123200{round}"
        await sites[0].reserve(number)
        await until(lambda n=number: sites[1].service.index.due(2**40), "the index")
        late = round % 2
        clock.now += timedelta(hours=72, seconds=-1 + late)
        told, ended, other = await asyncio.gather(
            reason_of(sites[0].apply(number)),
            sites[1].service.sweeper.sweep(),
            reason_of(sites[1].reserve(number, "best")),
        )
        assert told == ("TRANSITION_REFUSED" if late else "OK")
        assert ended <= late
        assert other == ("OK" if late else "TRANSITION_REFUSED")
        await sites[0].inventory.WithdrawNumber(pb.WithdrawNumberRequest(number=number))


async def test_a_rule_and_a_reservation_of_one_number_exclude_each_other(sites: list[Site]) -> None:
    for round in range(8):
        number = f"400123300{round}"
        rule = Example.number(number, ["a"], tenant="best")
        told = await asyncio.gather(
            reason_of(sites[0].reserve(number)),
            reason_of(sites[1].rules.CreateNumber(provisioning_pb2.CreateNumberRequest(number=rule))),
        )
        assert sorted(told) == ["OK", "TRANSITION_REFUSED"], round


async def test_a_range_goes_or_its_number_is_reserved(sites: list[Site]) -> None:
    for round in range(6):
        await sites[0].range("short", "95105000", "95105099")
        closed = inventory_pb2.NumberRange(id="short", disabled=True)
        mask = FieldMask(paths=["disabled"])

        async def close(closed: inventory_pb2.NumberRange = closed, mask: FieldMask = mask) -> str:
            api = sites[1].inventory
            await api.UpdateNumberRange(pb.UpdateNumberRangeRequest(number_range=closed, update_mask=mask))
            return await reason_of(api.DeleteNumberRange(pb.DeleteNumberRangeRequest(id="short")))

        number = f"9510500{round}"
        reserved, gone = await asyncio.gather(reason_of(sites[0].reserve(number)), close())
        assert (reserved == "OK") == (gone == "RESOURCE_IN_USE"), (reserved, gone)
        if reserved == "OK":
            await sites[0].inventory.WithdrawNumber(pb.WithdrawNumberRequest(number=number))
            await sites[0].inventory.DeleteNumberRange(pb.DeleteNumberRangeRequest(id="short"))


@pytest.mark.parametrize("seed", range(3))
async def test_anything_goes(sites: list[Site], seed: int) -> None:
    await anything_goes(sites, [NUMBER, "4001231235", "4001239999"], seed, writers=4, writes=40)


async def test_a_request_that_comes_again_after_a_lost_answer(store: Store, clock: Clock) -> None:
    """Whether its commit was lost or only the answer: it is done once, and its first answer is given."""
    async with site(store, clock) as good:
        await good.fill()
    async with site(Network(store, 7, failing=0.3), clock) as flaky:  # type: ignore[arg-type]
        for low in range(12):
            number = f"40012340{low:02d}"
            for made in (
                lambda n=number: flaky.reserve(n, request_id=f"reserve {n}".replace(" ", "-")),
                lambda n=number: flaky.inventory.ApplyForNumber(
                    pb.ApplyForNumberRequest(number=n, documents=DOCUMENTS, request_id=f"apply-{n}")
                ),
            ):
                while (told := await reason_of(made())) == "STORE_UNAVAILABLE":
                    await check_agreement(store)
                assert told == "OK"
            history = await flaky.inventory.ListNumberHistory(pb.ListNumberHistoryRequest(number=number))
            assert [event.transition for event in history.events] == [3, 1], "once each"
    await check_agreement(store)
