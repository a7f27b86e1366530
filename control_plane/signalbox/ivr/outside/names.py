"""Names of services looked up, so that no tenant's name servers hold up another tenant's calls.

The system's resolver blocks, for tens of seconds if it likes: it runs in threads of its own, and a tenant has a few of
them. A lookup cannot be stopped; a thread that nobody waits for any more does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from signalbox.ivr.ports import RequestFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Look = Callable[[str, int], Sequence[str]]

LOOKUPS_PER_TENANT = 8
"""Different names that are being looked up for a tenant at a time."""


def system(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as the system gives them. Blocks. Raises OSError, UnicodeError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Names:
    """``look``: gives the addresses of a name, and blocks."""

    def __init__(self, look: Look = system) -> None:
        self._look = look
        self._running: dict[tuple[str, str, int], asyncio.Future[Sequence[str]]] = {}

    @property
    def busy(self) -> int:
        """Lookups that run."""
        return len(self._running)

    async def addresses(self, tenant: str, host: str, port: int) -> Sequence[str]:
        """IP addresses of a host, at least one, looked up now or being looked up already. Raises RequestFailedError."""
        key = (tenant, host, port)
        running = self._running.get(key)
        if running is None:
            if sum(of == tenant for of, *_ in self._running) >= LOOKUPS_PER_TENANT:
                raise RequestFailedError(f"{host}: too many names of the tenant are being looked up")
            running = self._running[key] = self._start(host, port)
            running.add_done_callback(lambda _: self._running.pop(key))
        try:
            found = await asyncio.shield(running)
        except (OSError, UnicodeError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else "is no name of a host"
            raise RequestFailedError(f"{host}: {reason}") from error
        if not found:
            raise RequestFailedError(f"{host}: has no address")
        return found

    def _start(self, host: str, port: int) -> asyncio.Future[Sequence[str]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sequence[str]] = loop.create_future()
        # Nobody may be there any more to see how it failed.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

        def run() -> None:
            try:
                found = self._look(host, port)
            except Exception as error:
                tell(future.set_exception, error)
            else:
                tell(future.set_result, found)

        def tell(how: Callable[..., None], what: object) -> None:
            with suppress(RuntimeError):  # The loop has ended.
                loop.call_soon_threadsafe(how, what)

        Thread(target=run, name=f"lookup {host}", daemon=True).start()
        return future
