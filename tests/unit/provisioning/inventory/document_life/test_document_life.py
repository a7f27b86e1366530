"""Applications name documents; these stay as long as they must, and go when they must."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from signalbox.api.provisioning.v1 import documents_pb2 as pb
from signalbox.api.provisioning.v1 import inventory_pb2 as stock
from signalbox.api.provisioning.v1 import provisioning_pb2
from signalbox.api.types.v1 import inventory_pb2, types_pb2
from signalbox.provisioning.access import ADMINISTRATOR
from support.audit import forget, told, waiting
from support.document_life import NUMBER, OTHER, UNUSED_S, nothing_left, step
from support.documents import LICENCE, PDF, PNG, RETENTION_S, sha256
from support.provisioning import As, Example, invalid, key, refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.clock import Clock
    from support.documents import Papers


async def activated(api: Papers, documents: Sequence[inventory_pb2.NumberDocument], number: str = NUMBER) -> None:
    await api.apply(number, list(documents))
    await step(api, "Approve", number)
    with suppress(grpc.aio.AioRpcError):
        await api.rules.CreateLine(provisioning_pb2.CreateLineRequest(line=Example.line("a")))
    await step(api, "Activate", number, rule=types_pb2.Number(stages=[types_pb2.DialStage(lines=["a"])]))


async def test_an_application_has_all_that_is_known_of_its_documents(api: Papers) -> None:
    named = await api.three()
    await api.apply(NUMBER, named)
    shown = await api.inventory.GetInventoryNumber(stock.GetInventoryNumberRequest(number=NUMBER))
    first = shown.documents[0]
    assert (first.kind, first.id, first.file_name, first.media_type, first.size_bytes, first.sha256) == (
        LICENCE,
        named[0].id,
        "licence.pdf",
        "application/pdf",
        len(PDF),
        sha256(PDF),
    )
    history = await api.inventory.ListNumberHistory(stock.ListNumberHistoryRequest(number=NUMBER))
    assert history.events[0].documents == shown.documents
    known = await api.get(named[0].id)
    assert (known.uses, known.judged, known.HasField("delete_time")) == (1, True, False)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"id": "0" * 32}, {"documents[0].id": "does not exist"}),
        ({"id": "x"}, {"documents[0].id": "must be 32 hexadecimal digits"}),
        ({"sha256": b"x" * 32}, {"documents[0].sha256": "is not that of the uploaded document"}),
        ({"size_bytes": 5}, {"documents[0].size_bytes": "is not that of the uploaded document"}),
        ({"kind": 2}, {"documents[0].kind": "is not that of the uploaded document"}),
        ({"content": "s3://x"}, {"documents[0].content": "must be empty: the document was uploaded"}),
    ],
)
async def test_what_is_said_of_an_uploaded_document_must_be_so(
    api: Papers, change: dict[str, Any], wrong: dict[str, str]
) -> None:
    named = await api.three()
    named[0].MergeFrom(inventory_pb2.NumberDocument(**change))
    with invalid() as refusal:
        await api.apply(NUMBER, named)
    assert refusal.fields == wrong
    assert (await api.get(named[1].id)).uses == 0


async def test_a_document_of_another_tenant_does_not_exist(api: Papers) -> None:
    named = [*(await api.three())[1:], (await api.three("best"))[0]]
    # Of the same kind and content another tenant's has the same id: only what this tenant has uploaded counts.
    foreign = inventory_pb2.NumberDocument(id=(await api.upload(PNG, kind=LICENCE, tenant="best")).id)
    with invalid() as refusal:
        await api.apply(NUMBER, [*named[:2], foreign])
    assert refusal.fields == {"documents[2].id": "does not exist"}


async def test_the_same_document_twice_is_refused(api: Papers) -> None:
    named = await api.three()
    with invalid() as refusal:
        await api.apply(NUMBER, [*named, named[0]])
    assert refusal.fields == {"documents[0].id": "is named twice", "documents[3].id": "is named twice"}


async def test_kinds_that_were_not_uploaded_are_missing(api: Papers) -> None:
    named = await api.three()
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "TRANSITION_REFUSED") as refusal:
        await api.apply(NUMBER, named[:2])
    assert "signed_order" in refusal.message
    assert (await api.get(named[0].id)).uses == 0


async def test_what_nobody_names_goes_after_its_time(api: Papers, clock: Clock) -> None:
    made = await api.upload(PDF)
    assert made.delete_time.ToDatetime() == clock.now.replace(tzinfo=None) + timedelta(seconds=UNUSED_S)
    clock.advance(UNUSED_S - 1)
    assert await api.service.disposal.sweep() == 0
    clock.advance(1)
    await forget(api.store)
    assert await api.service.disposal.sweep() == 1
    assert api.files() == []
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.get(made.id)
    records = await waiting(api.store)
    assert told(records) == [("document", "acme", made.id, "changed"), ("document", "acme", made.id, "deleted")]
    assert {one.actor.name for one in records} == {"clock"}
    await nothing_left(api)


async def test_what_was_judged_stays_its_time_after_the_release(api: Papers, clock: Clock) -> None:
    named = await api.three()
    await activated(api, named)
    clock.advance(10 * UNUSED_S)
    assert await api.service.disposal.sweep() == 0
    await step(api, "Release")
    assert (await api.get(named[0].id)).delete_time.seconds == int(clock.now.timestamp()) + RETENTION_S
    await step(api, "Quarantine")
    clock.advance(RETENTION_S - 1)
    assert await api.service.disposal.sweep() == 0
    assert await api.download(named[0].id) == PDF
    clock.advance(1)
    assert await api.service.disposal.sweep() == 3
    assert api.files() == []
    await nothing_left(api)


async def test_a_document_of_two_numbers_stays_until_the_last_is_released(api: Papers, clock: Clock) -> None:
    named = await api.three()
    await activated(api, named)
    await activated(api, named, OTHER)
    assert (await api.get(named[0].id)).uses == 2
    await step(api, "Release")
    clock.advance(RETENTION_S)
    assert await api.service.disposal.sweep() == 0
    await step(api, "Release", OTHER)
    clock.advance(RETENTION_S)
    assert await api.service.disposal.sweep() == 3


@pytest.mark.parametrize("end", ["Reject", "Withdraw"])
async def test_an_application_that_came_to_nothing_keeps_its_documents_for_the_time(
    api: Papers, clock: Clock, end: str
) -> None:
    named = await api.three()
    await api.apply(NUMBER, named)
    await step(api, end, **({"reason": "unreadable"} if end == "Reject" else {}))
    assert (await api.get(named[0].id)).uses == 0
    clock.advance(RETENTION_S)
    assert await api.service.disposal.sweep() == 3


async def test_a_rejected_application_may_name_its_documents_again(api: Papers, clock: Clock) -> None:
    named = await api.three()
    await api.apply(NUMBER, named)
    await step(api, "Reject", reason="unreadable")
    await api.inventory.ApplyForNumber(stock.ApplyForNumberRequest(number=NUMBER, documents=named))
    clock.advance(2 * RETENTION_S)
    assert await api.service.disposal.sweep() == 0
    await step(api, "Reject", reason="unreadable")
    await step(api, "Withdraw")
    assert (await api.get(named[0].id)).uses == 0, "counted down once"


async def test_what_is_judged_is_deleted_by_the_operator_alone_and_not_while_it_is_needed(api: Papers) -> None:
    named = await api.three()
    await api.apply(NUMBER, named)
    request = pb.DeleteDocumentRequest(tenant="acme", id=named[0].id)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE"):
        await api.api.DeleteDocument(request)
    await step(api, "Withdraw")
    caller = As(api.api, await key(api.rules, "acme", ADMINISTRATOR))  # type: ignore[arg-type]
    with refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED"):
        await caller.DeleteDocument(request)
    await api.api.DeleteDocument(request)
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.api.DeleteDocument(request)
    assert len(api.files()) == 2


async def test_documents_that_are_kept_elsewhere_are_as_before(api: Papers) -> None:
    from support.inventory import DOCUMENTS

    named = [*DOCUMENTS[:2], (await api.three())[2]]
    await activated(api, named)
    await step(api, "Release")
    shown = await api.inventory.GetInventoryNumber(stock.GetInventoryNumberRequest(number=NUMBER))
    assert [(one.id, one.content) for one in shown.documents] == [
        ("", "s3://documents/1"),
        ("", "s3://documents/2"),
        (named[2].id, ""),
    ]
