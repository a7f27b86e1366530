"""How every process connects to redis and runs its scripts there."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from importlib import resources
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from signalbox import address
from signalbox.cancellation import cancelled
from signalbox.errors import ConfigurationError
from signalbox.tlsfiles import TlsFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.settings import RedisSettings
    from signalbox.tlsfiles import Material


def connect(settings: RedisSettings) -> Redis:
    """A client; it connects when it is used. Raises ConfigurationError that names the setting."""
    host, port = address.split(settings.address)
    tls = settings.tls
    try:
        password = settings.password_file.read_text().strip() if settings.password_file else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"redis.password_file: {error}") from error
    client = Redis(
        host=host,
        port=port,
        db=settings.database,
        username=settings.username,
        password=password,
        protocol=2,
        # Who uses it sets the time limit of each attempt; nothing is tried twice.
        retry=Retry(NoBackoff(), 0),
        ssl=tls.enabled,
    )
    if tls.enabled:
        files = TlsFiles("redis.tls", ca=tls.ca_file, cert=tls.cert_file, key=tls.key_file)
        client.connection_pool.connection_class = _Renewed
        client.connection_pool.connection_kwargs["trust"] = _Trust(files)
    return client


class _Trust:
    """The context of TLS of all connections, made anew when its files are. It trusts the authority that is set up, no
    other: redis-py's own would trust public ones besides."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._taken = files.material
        self._context = self._made(self._taken)

    def context(self) -> ssl.SSLContext:
        """For a connection that begins now. Raises OSError if files were replaced at this very moment."""
        material = self._files.material
        if material is not self._taken:
            self._context = self._made(material)
            self._taken = material
        return self._context

    def _made(self, material: Material) -> ssl.SSLContext:
        assert material.ca is not None
        context = ssl.create_default_context(cadata=material.ca.decode())
        if self._files.cert is not None:
            # The module takes a key from a file alone.
            context.load_cert_chain(self._files.cert, self._files.key)
        return context


class _Renewed(SSLConnection):
    """A connection that is made anew with the files as they are then; redis-py reads them once."""

    def __init__(self, *, trust: _Trust, **settings: Any) -> None:
        super().__init__(**settings)
        self._trust = trust

    def _connection_arguments(self) -> Mapping[str, Any]:
        self.ssl_context.context = self._trust.context()
        found: Mapping[str, Any] = super()._connection_arguments()
        return found


class Script:
    """A Lua script that lies in a package."""

    def __init__(self, package: str, name: str) -> None:
        self.source = resources.files(package).joinpath(name).read_text(encoding="utf-8")
        self._sha = hashlib.sha1(self.source.encode()).hexdigest()

    async def run(self, redis: Redis, *arguments: str | int) -> Any:
        """Run it without keys. Raises RedisError and OSError as the client does."""
        try:
            return await redis.evalsha(self._sha, 0, *arguments)
        except NoScriptError:
            # The first time, and after redis was started anew.
            return await redis.eval(self.source, 0, *arguments)


def obey_cancellation() -> None:
    """Raise CancelledError if our task was cancelled and the client has swallowed it. Call it after every use.

    The client uses ``asyncio.wait_for``, which before Python 3.12 does so when what it waits for ends at the same time:
    an error or a result comes instead.
    """
    if cancelled():
        raise asyncio.CancelledError
