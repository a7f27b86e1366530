"""A gRPC channel whose certificate may be renewed while it is used.

gRPC takes the files of a client once, and a channel goes on with them for as long as it lives: it presents a
certificate that has expired at the next connection, and servers of ours end connections every 30 s. So a new channel is
made when the files have changed. The old one is closed when its last call is over: what is open on it, a stream that
lasts for weeks too, is not touched.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signalbox.tlsfiles import Material, TlsFiles


def credentials(material: Material) -> grpc.ChannelCredentials:
    """Credentials of a connection to a server."""
    return grpc.ssl_channel_credentials(
        root_certificates=material.ca, private_key=material.key, certificate_chain=material.cert
    )


def channel(target: str, files: TlsFiles, options: Sequence[tuple[str, str | int]]) -> RenewingChannel:
    """A channel with TLS to a target of gRPC. To be made within the event loop."""
    return RenewingChannel(
        files, lambda material: grpc.aio.secure_channel(target, credentials(material), options=options)
    )


class _Inner:
    """A channel, and how many calls are open on it."""

    def __init__(self, material: Material, channel: grpc.aio.Channel) -> None:
        self.material, self.channel = material, channel
        self.calls = 0
        self.closing: asyncio.Task[None] | None = None
        self._retired = False

    def begin(self, call: Any) -> Any:
        self.calls += 1
        call.add_done_callback(self._end)
        return call

    def retire(self) -> None:
        """Close as soon as no call is open."""
        self._retired = True
        self._maybe_close()

    def _end(self, call: object) -> None:
        self.calls -= 1
        self._maybe_close()

    def _maybe_close(self) -> None:
        if self._retired and not self.calls and self.closing is None:
            self.closing = asyncio.get_running_loop().create_task(self.channel.close(), name="close old channel")


class _Method:
    """A method of a service, as a stub calls it."""

    def __init__(self, owner: RenewingChannel, kind: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._owner, self._kind, self._arguments, self._named = owner, kind, arguments, named
        self._inner: _Inner | None = None
        self._on_channel: Any = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        inner = self._owner.current()
        if inner is not self._inner:
            # Kept here and not by the channel: stubs may be made for each call.
            self._inner = inner
            self._on_channel = getattr(inner.channel, self._kind)(*self._arguments, **self._named)
        return inner.begin(self._on_channel(*arguments, **named))


class RenewingChannel(grpc.aio.Channel):
    """Used as any channel of grpc.aio."""

    def __init__(self, files: TlsFiles, make: Callable[[Material], grpc.aio.Channel]) -> None:
        self._files, self._make = files, make
        material = files.material
        self._inner = _Inner(material, make(material))
        self._old: list[_Inner] = []

    def current(self) -> _Inner:
        """The channel with the files that are good now."""
        material = self._files.material
        if material is not self._inner.material:
            old, self._inner = self._inner, _Inner(material, self._make(material))
            self._old = [one for one in self._old if one.closing is None or not one.closing.done()] + [old]
            old.retire()
        return self._inner

    def unary_unary(self, *arguments: Any, **named: Any) -> Any:
        """See grpc.aio.Channel."""
        return _Method(self, "unary_unary", arguments, named)

    def unary_stream(self, *arguments: Any, **named: Any) -> Any:
        """See grpc.aio.Channel."""
        return _Method(self, "unary_stream", arguments, named)

    def stream_unary(self, *arguments: Any, **named: Any) -> Any:
        """See grpc.aio.Channel."""
        return _Method(self, "stream_unary", arguments, named)

    def stream_stream(self, *arguments: Any, **named: Any) -> Any:
        """See grpc.aio.Channel."""
        return _Method(self, "stream_stream", arguments, named)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Of the channel with the files that are good now."""
        return self.current().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Of that one."""
        await self.current().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Of that one."""
        await self.current().channel.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """All of them."""
        await asyncio.gather(*(one.channel.close(grace) for one in (self._inner, *self._old)))

    async def __aenter__(self) -> RenewingChannel:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
