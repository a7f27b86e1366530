"""What happened to a number, from the chunks that its page's history is kept in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.provisioning import pagetoken
from signalbox.provisioning.inventory.attachments import backwards
from signalbox.provisioning.inventory.transitions import Hint, range_of
from signalbox.provisioning.listing import page_size

if TYPE_CHECKING:
    from signalbox.api.types.v1 import inventory_pb2
    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.writer import Reader

METHOD = "ListNumberHistory"


async def listed(
    store: Reader, principal: Principal, request: pb.ListNumberHistoryRequest, hint: Hint
) -> pb.ListNumberHistoryResponse:
    """One page of a number's history, the latest first; to a tenant what is its own.

    Raises InvalidFieldError and NotFoundError.
    """
    await range_of(store, request.number, hint)
    after = pagetoken.decode(METHOD, request.number, request.page_token)
    size = page_size(request.page_size)
    found: list[inventory_pb2.NumberEvent] = []
    place = ""
    async for chunk, position, event in backwards(store, request.number, after):
        if principal.is_operator or event.tenant == principal.tenant:
            if len(found) == size:
                token = pagetoken.encode(METHOD, request.number, place)
                return pb.ListNumberHistoryResponse(events=found, next_page_token=token)
            found.append(event)
        place = f"{chunk}.{position}"
    return pb.ListNumberHistoryResponse(events=found)
