"""The torture corpora of RFC 4475 and RFC 5118 against a user agent on a socket: it serves the next request, always."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.sip.message import Headers, Request, Response
from signalbox.sip.parser import parse
from signalbox.sip.timers import Timers
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.transport import Transports
from signalbox.sip.useragent import UserAgent
from support.corpus import MESSAGES, needs_corpus
from support.sip_calls import ANSWER
from support.sip_wire import HOST, Peer, udp_peer
from support.wait import until

if TYPE_CHECKING:
    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.source import Address

pytestmark = needs_corpus

PEER_HOST = "127.0.0.77"
"""Answers go to the ports that the messages name, where nobody is here."""
PATIENCE_S = 30.0
SLOW = Timers(t1=30)
"""No transaction ends, and nothing is sent again, while the test runs."""


async def _answer(call: IncomingCall) -> None:
    call.ring()
    await call.answer(ANSWER)
    await call.over()


async def answers_options(peer: Peer, address: Address, branch: str) -> bool:
    """Whether an OPTIONS, sent after all else, is answered 200."""
    headers = [
        ("Via", f"SIP/2.0/UDP {PEER_HOST}:{peer.port};rport;branch=z9hG4bK{branch}"),
        ("From", "<sip:peer@example.com>;tag=peer"),
        ("To", "<sip:worker@example.com>"),
        ("Call-ID", branch),
        ("CSeq", "1 OPTIONS"),
    ]
    peer.transport.sendto(Request("OPTIONS", f"sip:{HOST}", Headers(headers)).encode(), address)

    def answer() -> Response | None:
        for data, _ in peer.got:
            message = parse(data)
            if isinstance(message, Response) and message.call_id == branch:
                return message
        return None

    await until(lambda: answer() is not None, PATIENCE_S)
    found = answer()
    return found is not None and found.status == 200


async def test_after_every_torture_the_next_options_is_answered() -> None:
    transports = Transports()
    ua = UserAgent(Transactions(transports, SLOW), _answer)
    address = await transports.listen_udp(HOST, 0)
    transactions: list[int] = []
    try:
        async with udp_peer(PEER_HOST) as peer:
            for turn in range(3):
                for file in MESSAGES:
                    peer.transport.sendto(file.read_bytes(), address)
                    assert await answers_options(peer, address, f"{file.name}-{turn}")
                    peer.got.clear()
                transactions.append(len(ua.transactions))
            # What comes again is known, so that nothing grows but the transactions of OPTIONS.
            assert [after - transactions[0] for after in transactions] == [0, len(MESSAGES), 2 * len(MESSAGES)]
            for call in list(ua.calls):
                call.hang_up()
            await until(lambda: not ua.calls and not ua.running, PATIENCE_S)
    finally:
        ua.transactions.close()
        await transports.close()
