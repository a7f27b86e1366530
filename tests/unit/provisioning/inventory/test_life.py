"""Numbers from their reservation to their release, through the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2
from signalbox.api.types.v1 import inventory_pb2, types_pb2
from signalbox.domain.inventory import RESERVATIONS_MAX
from support.inventory import DOCUMENTS, RULE
from support.provisioning import As, Example, invalid, key, refused

if TYPE_CHECKING:
    from signalbox.store.memory import MemoryStore
    from support.inventory import Site

    from .conftest import Clock

NUMBER = "4001231234"
AVAILABLE, RESERVED, APPLIED, APPROVED, ACTIVE, SUSPENDED, RELEASED, QUARANTINED = range(1, 9)


async def rule_of(api: Site, number: str = NUMBER) -> types_pb2.Number:
    return await api.rules.GetNumber(provisioning_pb2.GetNumberRequest(number=number))


def transition_refused() -> object:
    return refused(StatusCode.FAILED_PRECONDITION, "TRANSITION_REFUSED")


async def test_the_whole_life(api: Site, clock: Clock) -> None:
    got = await api.inventory.GetInventoryNumber(pb.GetInventoryNumberRequest(number=NUMBER))
    assert (got.state, got.range, got.etag, got.tenant) == (AVAILABLE, "main", "0", "")
    reserved = await api.reserve(NUMBER)
    assert (reserved.state, reserved.tenant) == (RESERVED, "acme")
    assert reserved.end_time.seconds == int(clock().timestamp()) + 72 * 3600
    applied = await api.apply(NUMBER)
    assert (applied.state, applied.HasField("end_time")) == (APPLIED, False)
    got = await api.inventory.GetInventoryNumber(pb.GetInventoryNumberRequest(number=NUMBER))
    assert list(got.documents) == DOCUMENTS
    assert (await api.inventory.ApproveNumber(pb.ApproveNumberRequest(number=NUMBER))).state == APPROVED
    active = await api.inventory.ActivateNumber(pb.ActivateNumberRequest(number=NUMBER, rule=RULE))
    assert active.state == ACTIVE
    rule = await rule_of(api)
    assert (rule.tenant, rule.state, rule.stages) == ("acme", types_pb2.NUMBER_STATE_ACTIVE, RULE.stages)
    suspend = pb.SuspendNumberRequest(number=NUMBER, reason="SUSPENSION_REASON_UNPAID", note="three bills")
    assert (await api.inventory.SuspendNumber(suspend)).state == SUSPENDED
    assert (await rule_of(api)).state == types_pb2.NUMBER_STATE_SUSPENDED
    assert (await api.inventory.ResumeNumber(pb.ResumeNumberRequest(number=NUMBER))).state == ACTIVE
    assert (await rule_of(api)).state == types_pb2.NUMBER_STATE_ACTIVE
    assert (await api.inventory.ReleaseNumber(pb.ReleaseNumberRequest(number=NUMBER))).state == RELEASED
    assert (await rule_of(api)).state == types_pb2.NUMBER_STATE_SUSPENDED
    quarantine = pb.QuarantineNumberRequest(number=NUMBER, duration=Duration(seconds=3600))
    assert (await api.inventory.QuarantineNumber(quarantine)).state == QUARANTINED
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await rule_of(api)
    with transition_refused() as refusal:
        await api.reserve(NUMBER, "best")
    assert refusal.metadata["state"] == "quarantined"
    clock.advance(3600)
    assert (await api.reserve(NUMBER, "best")).tenant == "best"

    history = await api.inventory.ListNumberHistory(pb.ListNumberHistoryRequest(number=NUMBER))
    names = [inventory_pb2.InventoryTransition.Name(event.transition).rpartition("_")[2] for event in history.events]
    assert names == [
        "RESERVE", "LAPSE", "QUARANTINE", "RELEASE", "RESUME", "SUSPEND", "ACTIVATE", "APPROVE", "APPLY", "RESERVE",
    ]  # fmt: skip
    assert [event.tenant for event in history.events] == ["best", "", *["acme"] * 8]
    assert [event.actor for event in history.events] == ["operator", "", *["operator"] * 8]
    assert history.events[5].reason == "unpaid: three bills"
    assert list(history.events[8].documents) == DOCUMENTS


async def test_a_reservation_ends_by_itself(api: Site, clock: Clock) -> None:
    await api.reserve(NUMBER, duration=Duration(seconds=600))
    clock.advance(599)
    with transition_refused():
        await api.reserve(NUMBER, "best")
    clock.advance(1)
    with transition_refused() as refusal:
        await api.apply(NUMBER)
    assert refusal.metadata == {
        "resource": "number",
        "id": NUMBER,
        "state": "reserved",
        "transition": "apply",
        "reason": "its reservation has expired",
    }
    assert (await api.inventory.GetInventoryNumber(pb.GetInventoryNumberRequest(number=NUMBER))).state == AVAILABLE
    assert NUMBER not in [one.number for one in (await api.search("ends:1234")).numbers]
    assert await api.service.sweeper.sweep() == 1
    assert NUMBER in [one.number for one in (await api.search("ends:1234")).numbers]
    assert await api.service.sweeper.sweep() == 0


async def test_many_reservations_of_a_page_end_at_once(api: Site, clock: Clock) -> None:
    for low in range(70):
        await api.reserve(f"40012300{low:02d}", "acme" if low % 2 else "best")
    await api.synced()
    clock.advance(72 * 3600)
    assert await api.service.sweeper.sweep() == 70
    assert (await api.search("starts:40012300")).total_size == 100


async def test_numbers_of_a_page_that_are_each_another_tenants_go_in_commits_of_bearable_size(
    api: Site, clock: Clock
) -> None:
    tenants = [f"tenant-{low}" for low in range(65)]
    for low, tenant in enumerate(tenants):
        await api.rules.CreateTenant(provisioning_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(id=tenant)))
        await api.reserve(f"40012300{low:02d}", tenant)
    await api.synced()
    clock.advance(72 * 3600)
    assert await api.service.sweeper.sweep() == 65
    for low, tenant in enumerate(tenants):
        line = Example.line("a", tenant)
        await api.rules.CreateLine(provisioning_pb2.CreateLineRequest(line=line))
        rule = Example.number(f"40012300{low:02d}", ["a"], tenant=tenant)
        await api.rules.CreateNumber(provisioning_pb2.CreateNumberRequest(number=rule))
    assert (await api.inventory.AdoptNumbers(pb.AdoptNumbersRequest(range="main"))).adopted == 65


async def test_a_good_number_has_its_price(api: Site, store: MemoryStore) -> None:
    gold = inventory_pb2.NumberClass(
        id="gold", patterns=["AAA", "ends:888"], rank=1, minimum_spend=200_000, currency="CNY", contract_months=13
    )
    await api.inventory.CreateNumberClass(pb.CreateNumberClassRequest(number_class=gold))
    await api.range("vip", "95105000", "95105999", number_class="gold")
    found = await api.search(number_class="gold", page_size=1000)
    assert found.total_size == 100 + 1000
    assert [found.numbers[0].number, found.numbers[-1].number] == ["95105000", "95105999"]
    assert found.numbers[0].terms.minimum_spend == 200_000
    ordinary = await api.search(ordinary=True, range="main", page_size=1)
    assert (ordinary.total_size, ordinary.numbers[0].terms.number_class) == (10_000 - 100, "")
    number = "4001230888"
    reserved = await api.reserve(number)
    assert (reserved.terms.number_class, reserved.terms.minimum_spend) == ("gold", 200_000)
    gold.minimum_spend = 300_000
    await api.inventory.UpdateNumberClass(pb.UpdateNumberClassRequest(number_class=gold))
    with transition_refused() as refusal:
        await api.apply(number, 300_000)
    assert refusal.metadata["reason"] == "the minimum spend is 200000, not 300000"
    await api.apply(number, 200_000)
    await api.inventory.ApproveNumber(pb.ApproveNumberRequest(number=number))
    active = await api.inventory.ActivateNumber(pb.ActivateNumberRequest(number=number, rule=RULE))
    assert active.end_time.ToJsonString() == "2027-02-28T09:30:00Z", "13 months after the 31st of January"


async def test_a_rejected_application_may_be_made_again(api: Site) -> None:
    await api.reserve(NUMBER)
    await api.apply(NUMBER)
    with transition_refused() as refusal:
        await api.inventory.RejectNumber(pb.RejectNumberRequest(number=NUMBER))
    assert refusal.metadata["reason"] == "a reason is needed"
    rejected = await api.inventory.RejectNumber(pb.RejectNumberRequest(number=NUMBER, reason="the licence is blurred"))
    assert rejected.state == RESERVED
    assert (await api.apply(NUMBER)).state == APPLIED
    assert (await api.inventory.WithdrawNumber(pb.WithdrawNumberRequest(number=NUMBER))).state == AVAILABLE


async def test_an_application_without_its_documents(api: Site) -> None:
    await api.reserve(NUMBER)
    with transition_refused() as refusal:
        await api.inventory.ApplyForNumber(pb.ApplyForNumberRequest(number=NUMBER, documents=DOCUMENTS[:1]))
    assert refusal.metadata["reason"] == "documents are missing: legal_person_id, signed_order"
    bad = inventory_pb2.NumberDocument(file_name="../x", sha256=b"1", media_type="text/html", kind=9)
    with invalid() as refusal:
        await api.inventory.ApplyForNumber(pb.ApplyForNumberRequest(number=NUMBER, documents=[bad]))
    assert set(refusal.fields) == {
        f"documents[0].{field}" for field in ("kind", "file_name", "sha256", "size_bytes", "media_type", "content")
    }


async def test_a_rule_that_cannot_be_leaves_the_number_as_it_was(api: Site) -> None:
    await api.reserve(NUMBER)
    await api.apply(NUMBER)
    await api.inventory.ApproveNumber(pb.ApproveNumberRequest(number=NUMBER))
    with invalid() as refusal:
        rule = types_pb2.Number(stages=[types_pb2.DialStage(lines=["nobody"])])
        await api.inventory.ActivateNumber(pb.ActivateNumberRequest(number=NUMBER, rule=rule))
    assert refusal.fields == {"rule.stages[0].lines[0]": "tenant acme has no line nobody"}
    with invalid() as refusal:
        await api.inventory.ActivateNumber(pb.ActivateNumberRequest(number=NUMBER))
    assert refusal.fields == {"rule": "is required"}
    got = await api.inventory.GetInventoryNumber(pb.GetInventoryNumberRequest(number=NUMBER))
    assert got.state == APPROVED


async def test_etags_request_ids_and_trials(api: Site) -> None:
    trial = await api.reserve(NUMBER, validate_only=True)
    assert trial.state == RESERVED
    first = await api.reserve(NUMBER, request_id="one")
    await api.reserve("4001231235")
    assert await api.reserve(NUMBER, request_id="one") == first
    with refused(StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED"):
        await api.reserve("4001231236", request_id="one")
    with refused(StatusCode.ABORTED, "ETAG_MISMATCH"):
        await api.inventory.WithdrawNumber(pb.WithdrawNumberRequest(number=NUMBER, etag="7"))
    withdraw = pb.WithdrawNumberRequest(number=NUMBER, etag=first.etag)
    assert (await api.inventory.WithdrawNumber(withdraw)).state == AVAILABLE


async def test_the_rules_of_numbers_in_service_are_the_inventorys(api: Site) -> None:
    await api.activate(NUMBER)
    suspended = types_pb2.Number(number=NUMBER, state=types_pb2.NUMBER_STATE_SUSPENDED)
    mask = FieldMask(paths=["state"])
    with transition_refused() as refusal:
        await api.rules.UpdateNumber(provisioning_pb2.UpdateNumberRequest(number=suspended, update_mask=mask))
    assert refusal.metadata["transition"] == "write"
    with transition_refused():
        await api.rules.DeleteNumber(provisioning_pb2.DeleteNumberRequest(number=NUMBER))
    changed = types_pb2.Number(number=NUMBER, media=types_pb2.MEDIA_MODE_BYPASS)
    mask = FieldMask(paths=["media"])
    assert (await api.rules.UpdateNumber(provisioning_pb2.UpdateNumberRequest(number=changed, update_mask=mask))).etag
    await api.reserve("4001230001")
    theirs = Example.number("4001230001", ["a"], tenant="best")
    with transition_refused():
        await api.rules.CreateNumber(provisioning_pb2.CreateNumberRequest(number=theirs))


async def test_a_number_with_a_rule_is_not_reserved_but_adopted(api: Site) -> None:
    for digits, state in (("4001230005", "NUMBER_STATE_ACTIVE"), ("4001239999", "NUMBER_STATE_SUSPENDED")):
        rule = Example.number(digits, ["a"], state=state)
        await api.rules.CreateNumber(provisioning_pb2.CreateNumberRequest(number=rule))
    with transition_refused() as refusal:
        await api.reserve("4001230005", "best")
    assert refusal.metadata["reason"] == "it has a rule already"
    token, adopted = "", 0
    while True:
        piece = await api.inventory.AdoptNumbers(pb.AdoptNumbersRequest(range="main", page_token=token))
        adopted, token = adopted + piece.adopted, piece.next_page_token
        assert not piece.conflicts
        if not token:
            break
    assert adopted == 2
    await api.synced()
    listed = await api.inventory.ListInventoryNumbers(pb.ListInventoryNumbersRequest(tenant="acme"))
    assert [(one.number, one.state) for one in listed.inventory_numbers] == [
        ("4001230005", ACTIVE),
        ("4001239999", SUSPENDED),
    ]
    again = await api.inventory.AdoptNumbers(pb.AdoptNumbersRequest(range="main"))
    assert again.adopted == 0
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.inventory.AdoptNumbers(pb.AdoptNumbersRequest(range="nowhere"))


async def test_a_tenant_that_has_numbers_stays(api: Site) -> None:
    await api.rules.CreateTenant(provisioning_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(id="new")))
    await api.reserve(NUMBER, "new")
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE"):
        await api.rules.DeleteTenant(provisioning_pb2.DeleteTenantRequest(id="new"))
    await api.inventory.WithdrawNumber(pb.WithdrawNumberRequest(number=NUMBER))
    await api.rules.DeleteTenant(provisioning_pb2.DeleteTenantRequest(id="new"))
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.reserve(NUMBER, "new")


async def test_a_tenant_reserves_no_more_than_its_share(api: Site) -> None:
    for low in range(RESERVATIONS_MAX):
        await api.reserve(f"40012300{low:02d}")
    with transition_refused() as refusal:
        await api.reserve(NUMBER)
    assert "100 numbers reserved" in refusal.metadata["reason"]
    await api.apply("4001230000")
    await api.reserve(NUMBER)


async def test_what_a_tenant_sees_and_does(api: Site) -> None:
    await api.activate("4001230001")
    await api.reserve("4001230002", "best")
    acme = As(api.inventory, await key(api.rules, "acme", types_pb2.ROLE_TENANT_ADMINISTRATOR))
    best = As(api.inventory, await key(api.rules, "best", types_pb2.ROLE_TENANT_ADMINISTRATOR))
    for method, request in (
        ("GetInventoryNumber", pb.GetInventoryNumberRequest(number="4001230001")),
        ("WithdrawNumber", pb.WithdrawNumberRequest(number="4001230001")),
        ("ReleaseNumber", pb.ReleaseNumberRequest(number="4001230001")),
        ("GetInventoryNumber", pb.GetInventoryNumberRequest(number="4009999999")),
    ):
        with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await getattr(best, method)(request)
    with transition_refused() as refusal:
        await best.ReserveNumber(pb.ReserveNumberRequest(number="4001230001", tenant="best"))
    assert refusal.metadata["state"] == "not available", "not whose it is, nor what becomes of it"
    with refused(StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED"):
        await best.ReserveNumber(pb.ReserveNumberRequest(number="4001230003", tenant="acme"))
    with invalid() as told:
        long = Duration(seconds=80 * 3600)
        await best.ReserveNumber(pb.ReserveNumberRequest(number="4001230003", tenant="best", duration=long))
    assert told.fields == {"duration": "must be at most 259200 s"}
    await api.synced()
    listed = await best.ListInventoryNumbers(pb.ListInventoryNumbersRequest(tenant="best"))
    assert [one.number for one in listed.inventory_numbers] == ["4001230002"]
    assert listed.total_size == 1
    history = await best.ListNumberHistory(pb.ListNumberHistoryRequest(number="4001230001"))
    assert list(history.events) == []
    assert (await acme.ReleaseNumber(pb.ReleaseNumberRequest(number="4001230001"))).state == RELEASED
    history = await acme.ListNumberHistory(pb.ListNumberHistoryRequest(number="4001230001"))
    assert history.events[0].actor == "api-key acme/key"


async def test_limits_are_the_operators_to_give(api: Site) -> None:
    await api.reserve(NUMBER)
    await api.apply(NUMBER)
    await api.inventory.ApproveNumber(pb.ApproveNumberRequest(number=NUMBER))
    acme = As(api.inventory, await key(api.rules, "acme", types_pb2.ROLE_TENANT_ADMINISTRATOR))
    rule = types_pb2.Number(stages=RULE.stages, limits=types_pb2.Limits(concurrent_calls=1000))
    with invalid() as refusal:
        await acme.ActivateNumber(pb.ActivateNumberRequest(number=NUMBER, rule=rule))
    assert refusal.fields == {"rule.limits": "is the operator's to give"}
    assert (await acme.ActivateNumber(pb.ActivateNumberRequest(number=NUMBER, rule=RULE))).state == ACTIVE


async def test_a_long_history_is_told_in_pages_and_the_latest_first(api: Site) -> None:
    rounds = 120
    for _ in range(rounds):
        await api.reserve(NUMBER)
        await api.apply(NUMBER)
        await api.inventory.WithdrawNumber(pb.WithdrawNumberRequest(number=NUMBER))
        await api.reserve("4001231235")
        await api.inventory.WithdrawNumber(pb.WithdrawNumberRequest(number="4001231235"))
    chunks = [entry.key for entry in (await api.store.list("numberlog/")).entries]
    assert len(chunks) >= 2, "a chunk is full some time"
    token, told = "", []
    while True:
        request = pb.ListNumberHistoryRequest(number=NUMBER, page_size=7, page_token=token)
        page = await api.inventory.ListNumberHistory(request)
        told += [event.transition for event in page.events]
        token = page.next_page_token
        if not token:
            break
    assert told == [9, 3, 1] * rounds


@pytest.mark.parametrize("number", ["", "4009", "40012312345", "400123123x"])
async def test_what_no_range_has(api: Site, number: str) -> None:
    with pytest.raises(Exception, match=r"INVALID_ARGUMENT|NOT_FOUND"):
        await api.reserve(number)


async def test_a_store_that_is_away(api: Site, store: MemoryStore) -> None:
    store.available = False
    with refused(StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"):
        await api.reserve(NUMBER)
