"""Short messages of call flows: handed to the operator's gateway, or, for trials, to the log (docs/messages.md)."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Protocol

import aiohttp
import structlog

from signalbox import secretfile
from signalbox.errors import ConfigurationError
from signalbox.ivr.outside import tls
from signalbox.ivr.ports import Messages, NotSentError

if TYPE_CHECKING:
    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.settings.outside import MessagesSettings

logger = structlog.get_logger(__name__)

TRIES = 2
"""How often a gateway is told that cannot be connected to, or that hangs up without an answer."""
PAUSE_S = 0.2
"""Between two tries."""


class Sender(Messages, Protocol):
    """One that holds connections."""

    async def close(self) -> None:
        """Close them."""


def sender(settings: MessagesSettings) -> Sender:
    """The one that the settings choose; to be made within the event loop. Raises ConfigurationError."""
    match settings.sender:
        case "log":
            return LogSender()
        case "http":
            return HttpSender(settings)
    return NoSender()


class NoSender:
    """Where there is no gateway."""

    async def send(self, call: routing_pb2.FlowCall, sender: str, to: str, text: str) -> None:
        """Raises NotSentError."""
        raise NotSentError("no gateway is set (ivr.messages.sender)")

    async def close(self) -> None:
        """There is nothing to close."""


class LogSender:
    """Writes to the log what would have been sent: the number and the text, which are somebody's, at debug alone."""

    async def send(self, call: routing_pb2.FlowCall, sender: str, to: str, text: str) -> None:
        """Raises NotSentError if there is no number."""
        _require(to)
        logger.info("message_logged", call_id=call.call_id, tenant=call.tenant, sender=sender, characters=len(text))
        logger.debug("message_text", call_id=call.call_id, to=to, text=text)

    async def close(self) -> None:
        """There is nothing to close."""


class HttpSender:
    """Hands messages to a gateway: one POST each, told again with the same id if the connection fails."""

    def __init__(self, settings: MessagesSettings) -> None:
        assert settings.url is not None, "the settings see to it"
        self._url = settings.url
        self._timeout_s = settings.timeout_s
        connector = aiohttp.TCPConnector(ssl=tls.context(settings.ca_file, "ivr.messages.ca_file"))
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "signalbox", **_authorization(settings)},
            timeout=aiohttp.ClientTimeout(),
            trust_env=False,
        )

    async def send(self, call: routing_pb2.FlowCall, sender: str, to: str, text: str) -> None:
        """Returns when the gateway has taken it.

        Raises NotSentError: if nothing was said in time it may have been taken all the same.
        """
        _require(to)
        message = {
            "id": uuid.uuid4().hex,
            "call_id": call.call_id,
            "tenant": call.tenant,
            "number": call.number,
            "sender": sender,
            "to": to,
            "text": text,
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._hand_over(message)
        except TimeoutError as error:
            raise NotSentError(f"the gateway has not answered within {self._timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise NotSentError(f"the gateway cannot be reached ({type(error).__name__})") from error
        if not 200 <= status < 300:
            raise NotSentError(f"the gateway answered {status}")

    async def close(self) -> None:
        """Close connections."""
        await self._session.close()

    async def _hand_over(self, message: dict[str, str]) -> int:
        for left in reversed(range(TRIES)):
            try:
                async with self._session.post(self._url, json=message, allow_redirects=False) as response:
                    return response.status
            except aiohttp.ClientConnectionError:
                if not left:
                    raise
                await asyncio.sleep(PAUSE_S)
        raise AssertionError("the last try returns or raises")


def _require(to: str) -> None:
    if not to:
        raise NotSentError("there is no number to send to")


def _authorization(settings: MessagesSettings) -> dict[str, str]:
    if settings.token_file is None:
        return {}
    setting = "ivr.messages.token_file"
    token = secretfile.read(settings.token_file, setting).decode()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(f"{setting}: {settings.token_file} is no token: one line of ASCII without blanks")
    return {"Authorization": f"Bearer {token}"}
