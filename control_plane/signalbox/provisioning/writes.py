"""How every request that writes is carried out: in one step, once for each request id, or only for show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from signalbox.errors import SignalboxError
from signalbox.provisioning import requestids
from signalbox.provisioning.draft import Transactions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.draft import Draft
    from signalbox.store.base import Store

Answer = TypeVar("Answer", bound="Message")


class Writes:
    """Carries requests out."""

    def __init__(self, store: Store) -> None:
        self._transactions = Transactions(store)
        self._leases = requestids.Leases(store)

    async def run(
        self,
        principal: Principal,
        method: str,
        request: Any,
        answer: type[Answer],
        work: Callable[[Draft], Awaitable[Answer]],
    ) -> Answer:
        """The answer of ``work``, or the first one if the request came before.

        With ``validate_only`` nothing is written, and the request id is as if it were not there (AIP-163).
        """
        fields = type(request).DESCRIPTOR.fields_by_name
        keep = not ("validate_only" in fields and request.validate_only)
        request_id = request.request_id if "request_id" in fields else ""
        requestids.check(request_id)
        memory = None
        if request_id and keep:
            memory = requestids.Memory(self._leases, principal.tenant, method, request)

        async def attempt(draft: Draft) -> Answer:
            if memory is None:
                return await work(draft)
            first = await memory.recall(draft, answer)
            if first is not None:
                return first
            try:
                made = await work(draft)
            except SignalboxError:
                # Refused, perhaps for what the same request has done meanwhile.
                first = await memory.recall(draft, answer)
                if first is None:
                    raise
                draft.clear()
                return first
            await memory.keep(draft, made)
            return made

        made, revision = await self._transactions.run(attempt, keep=keep)
        requestids.settle(made, revision)
        return made
