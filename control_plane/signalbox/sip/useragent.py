"""The user agent: gives each request to its call, and answers what belongs to none (RFC 3261 sections 8.2 and 11)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from signalbox.sip import content, reliable, sessiontimer
from signalbox.sip.dialog import incoming_key, response_key
from signalbox.sip.ended import CallOverError
from signalbox.sip.errors import MessageError
from signalbox.sip.incoming import IncomingCall
from signalbox.sip.message import response
from signalbox.sip.outgoing import OutgoingCall
from signalbox.sip.session import orphan
from signalbox.sip.sessiontimer import Policy
from signalbox.sip.transactions.server_invite import InviteServerTransaction

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from signalbox.sip.call import Call
    from signalbox.sip.dialog import Key
    from signalbox.sip.message import Request, Response
    from signalbox.sip.outgoing import Invitation
    from signalbox.sip.sdp import SessionDescription
    from signalbox.sip.session import Session
    from signalbox.sip.source import Address, Source
    from signalbox.sip.transactions.client import ClientUser
    from signalbox.sip.transactions.layer import Transactions
    from signalbox.sip.transactions.server import ServerTransaction
    from signalbox.sip.uri import Uri

    Handler = Callable[[IncomingCall], Coroutine[object, object, None]]
    Invited = tuple[str, str, int]
    """Call-ID, From tag and number of an INVITE."""

logger = structlog.get_logger(__name__)

ALLOW = ("INVITE", "ACK", "CANCEL", "BYE", "PRACK", "UPDATE", "OPTIONS")
SUPPORTED = (reliable.OPTION, sessiontimer.OPTION)
"""Option tags of what is served here: those that :mod:`signalbox.sip.validate` lets pass."""
POLICY = Policy(always=False)
"""Of session timers: one is asked for in each call that we make, and agreed to where the caller asks."""
KNOWN = frozenset({"INFO", "MESSAGE", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE"})
"""Methods that are known but not served: 405, others 501."""
IN_DIALOG = frozenset({"BYE", "NOTIFY", "PRACK", "UPDATE"})
"""Methods that make no sense outside of a dialog, or of a subscription: 481."""


class UserAgent:
    """Calls over one transaction layer, whose user this becomes. To be made in a running event loop.

    ``on_invite`` is run as a task for each call that comes in. A call that it leaves unanswered is refused with 480,
    one that it leaves standing is hung up; if it raises anything but CallOverError the caller is told 500.

    ``calls``: those that live; ``sessions``: the dialogs, each until the last answer in it has come.
    """

    def __init__(self, transactions: Transactions, on_invite: Handler, policy: Policy = POLICY) -> None:
        self.transactions = transactions
        self.policy = policy
        """Of session timers."""
        self.calls: set[Call] = set()
        self.sessions: dict[Key, Session] = {}
        self.abilities = (("Allow", ", ".join(ALLOW)), ("Supported", ", ".join(SUPPORTED)))
        """Header fields that tell what is served here."""
        self._on_invite = on_invite
        self._tasks: set[asyncio.Task[None]] = set()
        self._invited: set[Invited] = set()
        self._retry_after_s: int | None = None
        self._emptied = asyncio.Event()
        transactions.user = self

    @property
    def running(self) -> int:
        """How many coroutines of calls run, also those whose call is over."""
        return len(self._tasks)

    def drain(self, retry_after_s: int = 5) -> None:
        """Take no new calls: INVITE and OPTIONS outside of dialogs are answered 503. Calls go on."""
        self._retry_after_s = retry_after_s
        self.transactions.drain(retry_after_s)

    async def close(self, patience_s: float = 2.0) -> None:
        """End all calls, wait so long for the last answers, and end what is left: tasks, dialogs and transactions.

        Callers whose call is not answered are told 503. The sockets are not ours to close.
        """
        self.drain()
        for call in tuple(self.calls):
            if isinstance(call, IncomingCall) and call.rings:
                call.reject(503)
            else:
                call.hang_up()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._tasks:
                    await asyncio.wait(self._tasks)
                while self.sessions:
                    self._emptied.clear()
                    await self._emptied.wait()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for session in tuple(self.sessions.values()):
            session.close()
        self.transactions.close()

    def call(self, invitation: Invitation, offer: SessionDescription | None) -> OutgoingCall:
        """Call somebody. The INVITE is sent at once; what becomes of it is told by the call.

        Without an ``offer`` it is left to the other party, and the call's ``on_offer`` answers it: it must be set
        before anything is awaited.
        """
        return OutgoingCall(self, invitation, offer)

    # What the transaction layer tells.

    def on_request(self, tx: ServerTransaction, request: Request, /) -> None:
        """A new request."""
        if request.to_tag:
            session = self.sessions.get(incoming_key(request))
            if session is None:
                tx.respond(response(request, 481))
            else:
                session.on_request(tx, request)
        elif isinstance(tx, InviteServerTransaction):
            self._take_call(tx, request)
        else:
            self.answer_other(tx, request)

    def on_ack(self, request: Request, source: Source, /) -> None:
        """The ACK of a 2xx, or of nothing."""
        session = self.sessions.get(incoming_key(request))
        if session is not None:
            session.on_ack(request)

    def on_stray_response(self, response: Response, source: Source, /) -> None:
        """A 2xx to an INVITE that we gave up long ago: acknowledged, and its call ended (section 13.2.2.4)."""
        session = self.sessions.get(response_key(response))
        if session is None:
            try:
                session = orphan(self, response, self.contact(source.protocol, source.remote))
            except MessageError:
                self.transactions.stats.dropped_stray_response += 1
        else:
            session.acknowledge_again()

    # What calls and sessions ask for.

    def contact(self, protocol: str, remote: Address) -> tuple[str, str]:
        """The Contact by which a party that speaks this protocol reaches us."""
        transport = ";transport=tcp" if protocol == "tcp" else ""
        return "Contact", f"<sip:{self.transactions.carrier.sent_by(protocol, remote)}{transport}>"

    def send(self, request: Request, hop: Uri, user: ClientUser) -> None:
        """Send a request to the next hop of a dialog."""
        self.transactions.send(request, hop.transport, hop.address, user)

    def forget(self, dialog: Key) -> None:
        """A dialog is over."""
        self.sessions.pop(dialog, None)
        if not self.sessions:
            self._emptied.set()

    def start(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Run what a call has to do, as a task that is counted in :attr:`running`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def refuse(self, tx: ServerTransaction, request: Request, error: MessageError) -> None:
        """Answer a request that is refused for what it says."""
        tx.respond(response(request, error.code, error.phrase, tag=tx.tag, headers=error.headers))

    def answer_other(self, tx: ServerTransaction, request: Request) -> None:
        """Answer what neither begins, changes nor ends a call, in a dialog or outside."""
        method = request.method
        if method == "OPTIONS":
            self._tell_abilities(tx, request)
        elif method in IN_DIALOG:
            tx.respond(response(request, 481, tag=tx.tag))
        else:
            status = 405 if method in KNOWN else 501
            tx.respond(response(request, status, tag=tx.tag, headers=self.abilities))

    def _tell_abilities(self, tx: ServerTransaction, request: Request) -> None:
        """Section 11.2: as an INVITE would be answered."""
        if self._retry_after_s is not None and not request.to_tag:
            tx.respond(response(request, 503, tag=tx.tag, headers=[("Retry-After", str(self._retry_after_s))]))
            return
        fields = (*self.abilities, ("Accept", content.TYPE), ("Accept-Encoding", "identity"))
        tx.respond(response(request, 200, tag=tx.tag, headers=fields))

    def _take_call(self, tx: InviteServerTransaction, request: Request) -> None:
        same: Invited = request.call_id, request.from_tag, request.cseq.number
        if same in self._invited:
            # It was forked on the way, and has come here twice (section 8.2.2.2).
            tx.respond(response(request, 482, tag=tx.tag))
            return
        try:
            call = IncomingCall(self, tx, request)
        except MessageError as error:
            self.refuse(tx, request, error)
            return
        self._invited.add(same)
        self.start(self._run(call, same), f"sip call {request.call_id}")

    async def _run(self, call: IncomingCall, same: Invited) -> None:
        try:
            await self._on_invite(call)
        except CallOverError:
            pass
        except Exception:
            logger.exception("sip_call_failed", call_id=call.request.call_id)
            if call.rings:
                call.reject(500)
        finally:
            call.hang_up()
            self._invited.discard(same)
