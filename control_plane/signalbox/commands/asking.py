"""One service of the API as commands ask it: a request and its answer, and the pages of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalbox.commands.failure import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

    import grpc

    from signalbox.commands.connection import Connection

PAGE_SIZE = 1_000


class Api:
    """A service; a refusal is told and ends the command."""

    def __init__(self, messages: ModuleType, stub: Callable[[grpc.Channel], Any]) -> None:
        """``messages``: the module that its requests are in."""
        self._messages = messages
        self._stub = stub

    def ask(self, connection: Connection, method: str, **fields: Any) -> Any:
        """One RPC."""
        request = getattr(self._messages, f"{method}Request")(**fields)
        with connection.channel() as channel, told():
            return getattr(self._stub(channel), method)(request, timeout=connection.timeout_s)

    def listed(self, connection: Connection, method: str, fields: Mapping[str, Any], limit: int) -> Iterator[Any]:
        """The pages of a list, as many as it takes for so many objects."""
        request = getattr(self._messages, f"{method}Request")
        with connection.channel() as channel, told():
            ask = getattr(self._stub(channel), method)
            token = ""
            while limit > 0:
                size = min(limit, PAGE_SIZE)
                page = ask(request(**fields, page_size=size, page_token=token), timeout=connection.timeout_s)
                yield page
                limit -= size
                token = page.next_page_token
                if not token:
                    return
