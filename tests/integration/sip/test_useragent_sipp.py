"""Calls between the user agent and SIPp, both ways, by UDP and by TCP."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from signalbox.sip.headers import NameAddr
from signalbox.sip.outgoing import Invitation
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.transport import Transports
from signalbox.sip.useragent import UserAgent
from signalbox_local.sipp import SCENARIOS, Sipp, SippOptions
from support.sip_calls import ANSWER, OFFER
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.sip.incoming import IncomingCall

    Protocol = Literal["udp", "tcp"]

HOST = "127.0.0.1"
LOSSY = Path(__file__).with_name("uac_lossy.xml")
LOSSY_CALLS = 300
LOSS_PERCENT = 5
CALLS = 40
PATIENCE_S = 60.0


async def _answer(call: IncomingCall) -> None:
    call.ring()
    await call.answer(ANSWER)
    await call.over()


@contextlib.asynccontextmanager
async def agent() -> AsyncIterator[tuple[UserAgent, int, int]]:
    """A user agent that answers, and its ports of UDP and TCP. In the end nothing of its calls may be left."""
    transports = Transports()
    ua = UserAgent(Transactions(transports), _answer)
    udp = await transports.listen_udp(HOST, 0)
    tcp = await transports.listen_tcp(HOST, 0)
    try:
        yield ua, udp[1], tcp[1]
        await until(lambda: not ua.calls and not ua.sessions and not ua.running, PATIENCE_S)
    finally:
        ua.transactions.close()
        await transports.close()


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
async def test_sipp_calls(tmp_path: Path, protocol: Protocol) -> None:
    async with agent() as (_, udp, tcp):
        options = SippOptions(
            SCENARIOS / "uac_load.xml",
            tmp_path,
            "caller",
            target=f"{HOST}:{udp if protocol == 'udp' else tcp}",
            transport=protocol,
            rate=40,
            calls=CALLS,
            timeout_s=PATIENCE_S,
            keys={"caller": "1000"},
        )
        async with await Sipp.start(options) as sipp:
            result = await sipp.wait()
        assert (result.exit_code, result.statistics.successful) == (0, CALLS), result.errors


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
async def test_sipp_is_called(tmp_path: Path, protocol: Protocol) -> None:
    async with agent() as (ua, _, _):
        options = SippOptions(
            SCENARIOS / "uas_load.xml",
            tmp_path,
            "line",
            transport=protocol,
            calls=CALLS,
            timeout_s=PATIENCE_S,
        )
        async with await Sipp.start(options) as sipp:

            async def call(number: int) -> None:
                await asyncio.sleep(number / 40)
                callee = NameAddr.parse(f"<sip:line@{sipp.address}>")
                caller = NameAddr.parse(f"<sip:{number}@{HOST}>")
                made = ua.call(Invitation(str(callee.uri), caller, callee, protocol, (HOST, sipp.port)), OFFER)
                await made.answered()
                await asyncio.sleep(0.1)
                made.hang_up()

            await asyncio.gather(*(call(number) for number in range(CALLS)))
            result = await sipp.wait()
        assert (result.exit_code, result.statistics.successful) == (0, CALLS), result.errors


async def test_sipp_calls_over_a_network_that_loses_messages(tmp_path: Path) -> None:
    async with agent() as (ua, udp, _):
        options = SippOptions(
            LOSSY,
            tmp_path,
            "caller",
            target=f"{HOST}:{udp}",
            rate=60,
            calls=LOSSY_CALLS,
            timeout_s=PATIENCE_S,
            loss_percent=LOSS_PERCENT,
            keys={"caller": "1000"},
        )
        async with await Sipp.start(options) as sipp:
            result = await sipp.wait()
        assert (result.exit_code, result.statistics.successful) == (0, LOSSY_CALLS), result.errors
        # What was lost came again, in both directions.
        assert result.statistics.retransmissions > 0
        assert ua.transactions.stats.retransmitted > 0
