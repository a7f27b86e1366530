"""How every process connects to redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from signalbox import address
from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from signalbox.settings import RedisSettings


def connect(settings: RedisSettings) -> Redis:
    """A client; it connects when it is used. Raises ConfigurationError that names the setting."""
    host, port = address.split(settings.address)
    tls = settings.tls
    try:
        password = settings.password_file.read_text().strip() if settings.password_file else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"redis.password_file: {error}") from error
    return Redis(
        host=host,
        port=port,
        db=settings.database,
        username=settings.username,
        password=password,
        protocol=2,
        # Who uses it sets the time limit of each attempt; nothing is tried twice.
        retry=Retry(NoBackoff(), 0),
        ssl=tls.enabled,
        ssl_ca_certs=str(tls.ca_file) if tls.ca_file else None,
        ssl_certfile=str(tls.cert_file) if tls.cert_file else None,
        ssl_keyfile=str(tls.key_file) if tls.key_file else None,
    )
