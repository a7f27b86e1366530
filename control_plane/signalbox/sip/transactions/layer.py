"""The transaction layer: gives each message to its machine, makes new ones, and answers what needs no user.

Nothing here is a task. A message is handled to its end in the call that brings it; time comes from ``clock``.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import TYPE_CHECKING, Protocol

import structlog

from signalbox.sip.headers import MAGIC
from signalbox.sip.message import Headers, Request, response
from signalbox.sip.timers import Timers
from signalbox.sip.transactions.base import State
from signalbox.sip.transactions.client import ClientTransaction
from signalbox.sip.transactions.client_invite import InviteClientTransaction
from signalbox.sip.transactions.matching import Key, client_key, server_key
from signalbox.sip.transactions.server import ServerTransaction
from signalbox.sip.transactions.server_invite import InviteServerTransaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.sip.errors import MessageError
    from signalbox.sip.message import Response
    from signalbox.sip.source import Address, Source
    from signalbox.sip.transactions.base import Carrier, Clock, Handle, Transaction
    from signalbox.sip.transactions.client import ClientUser

logger = structlog.get_logger(__name__)

DATAGRAM_BYTES = 1300
"""A request above this is not sent by UDP if TCP is there (section 18.1.1)."""

UDP_ONLY_S = 300.0
"""So long a peer that took no TCP connection is not tried again with one for a large request."""

UDP_ONLY_MOST = 1024

SERVERS_MOST = 50_000
"""So many server transactions live at most: those of 780 calls a second, for each has two, which are kept 32 s."""

OVERLOADED_RETRY_AFTER_S = 8


class TransactionUser(Protocol):
    """Who answers requests: the user agent."""

    def on_request(self, tx: ServerTransaction, request: Request, /) -> None:
        """A new request, never an ACK or a CANCEL. It is answered with ``tx.respond``, now or later."""

    def on_ack(self, request: Request, source: Source, /) -> None:
        """An ACK that belongs to no failed INVITE: that of a 2xx, as often as it comes, or of nothing."""

    def on_stray_response(self, response: Response, source: Source, /) -> None:
        """A 2xx of an INVITE of ours that has failed, or whose transaction is long over."""


class Transactions:
    """All transactions over one set of transports, whose receiver this becomes.

    Until ``user`` is set, and after :meth:`drain`, INVITEs that would begin a call are answered 503.
    While ``most`` server transactions live, so is every request outside of dialogs, and nothing is kept of it.
    """

    def __init__(
        self, carrier: Carrier, timers: Timers | None = None, *, clock: Clock | None = None, most: int = SERVERS_MOST
    ) -> None:
        self.carrier = carrier
        self.timers = timers or Timers()
        self.clock: Clock = clock or asyncio.get_running_loop()
        self.stats = carrier.stats
        self.most = most
        self.user: TransactionUser | None = None
        self._retry_after_s: int | None = None
        self._clients: dict[Key, ClientTransaction] = {}
        self._servers: dict[Key, ServerTransaction] = {}
        self._acks: dict[Key, InviteServerTransaction] = {}
        self._udp_only: dict[Address, Handle] = {}
        self._branches = secrets.token_hex(6)
        self._branch_count = 0
        self._secret = secrets.token_bytes(16)
        carrier.receiver = self

    def __len__(self) -> int:
        """How many transactions live."""
        return len(self._clients) + len(self._servers)

    # What goes out.

    def send(self, request: Request, protocol: str, remote: Address, user: ClientUser) -> ClientTransaction:
        """Send a request, never an ACK or a CANCEL, and tell ``user`` what becomes of it.

        Gives the request its one Via, so the same request can be sent again with credentials. Above 1300 bytes TCP is
        taken instead of UDP if we listen there too, and UDP after all if the peer takes no connection (18.1.1).
        """
        if request.method == "INVITE":
            return self.invite(request, protocol, remote, user)
        tx = ClientTransaction(self, self._new_branch(), request, protocol, remote, user)
        self._begin(tx)
        return tx

    def invite(self, request: Request, protocol: str, remote: Address, user: ClientUser) -> InviteClientTransaction:
        """As :meth:`send`, for an INVITE, which can be cancelled."""
        tx = InviteClientTransaction(self, self._new_branch(), request, protocol, remote, user)
        self._begin(tx)
        return tx

    def send_ack(self, ack: Request, protocol: str, remote: Address) -> Callable[[], None]:
        """Send the ACK of a 2xx, with a branch of its own (section 13.2.2.4). What is returned sends it again."""
        self._set_via(ack, self._new_branch(), protocol, remote)
        data = ack.encode()
        self.carrier.send(data, protocol, remote)

        def again() -> None:
            self.stats.retransmitted += 1
            self.carrier.send(data, protocol, remote)

        return again

    def drain(self, retry_after_s: int = 5) -> None:
        """Refuse new calls from now on, with 503 and this Retry-After. What has begun goes on, and its dialogs do."""
        self._retry_after_s = retry_after_s

    def close(self) -> None:
        """End all transactions at once. Their users are told nothing."""
        for tx in (*self._clients.values(), *self._servers.values()):
            tx.abandon()
        self._clients.clear()
        self._servers.clear()
        for handle in self._udp_only.values():
            handle.cancel()
        self._udp_only.clear()

    # What comes in.

    def on_message(self, message: Request | Response, source: Source) -> None:
        """A valid message has come."""
        if isinstance(message, Request):
            self._on_request(message, source)
        else:
            self._on_response(message, source)

    def on_bad(self, error: MessageError, source: Source) -> None:
        """A malformed message has come: it is answered without a transaction if it is a request that can be."""
        head = error.request_head
        if head is None or head.method == "ACK":
            self.stats.dropped_bad += 1
            return
        self.stats.refused += 1
        answer = response(head, error.code, error.phrase, tag=self._stateless_tag(head), headers=error.headers)
        self.carrier.respond(answer, source)

    def _on_request(self, request: Request, source: Source) -> None:
        method = request.method
        if method == "ACK":
            self._on_ack(request, source)
            return
        key = server_key(request, method)
        known = self._servers.get(key)
        if known is not None:
            known.on_again()
            return
        if len(self._servers) >= self.most and method != "CANCEL" and not request.to_tag:
            self._overloaded(request, source)
            return
        kind = InviteServerTransaction if method == "INVITE" else ServerTransaction
        tx = kind(self, key, request, source)
        self._servers[key] = tx
        if method == "CANCEL":
            self._on_cancel(tx, request)
        elif self.user is None or (self._retry_after_s is not None and method == "INVITE" and not request.to_tag):
            self._refuse(tx, request)
        else:
            self._ask(self.user, tx, request)
        tx.start()

    def _overloaded(self, request: Request, source: Source) -> None:
        """Section 8.2.7: without a transaction, the same each time."""
        self.stats.overloaded += 1
        wait = [("Retry-After", str(OVERLOADED_RETRY_AFTER_S))]
        self.carrier.respond(response(request, 503, tag=self._stateless_tag(request), headers=wait), source)

    def _ask(self, user: TransactionUser, tx: ServerTransaction, request: Request) -> None:
        try:
            user.on_request(tx, request)
        except Exception:
            logger.exception("sip_request_failed", call_id=request.call_id, method=request.method)
            tx.respond(response(request, 500, tag=tx.tag))

    def _on_ack(self, request: Request, source: Source) -> None:
        key = server_key(request, "INVITE")
        invite = self._servers.get(key)
        if invite is None and self._acks:
            invite = self._acks.get(server_key(request, "ACK"))
        theirs = not isinstance(invite, InviteServerTransaction) or invite.on_ack()
        if theirs and self.user is not None:
            self.user.on_ack(request, source)

    def _on_cancel(self, tx: ServerTransaction, cancel: Request) -> None:
        invite = self._servers.get(server_key(cancel, "INVITE"))
        if not isinstance(invite, InviteServerTransaction):
            tx.respond(response(cancel, 481, tag=tx.tag))
            return
        tx.respond(response(cancel, 200, tag=invite.tag))
        invite.on_cancelled(cancel)

    def _refuse(self, tx: ServerTransaction, request: Request) -> None:
        self.stats.drained += 1
        wait_s = 1 if self._retry_after_s is None else self._retry_after_s
        tx.respond(response(request, 503, tag=tx.tag, headers=[("Retry-After", str(wait_s))]))

    def _on_response(self, message: Response, source: Source) -> None:
        tx = self._clients.get(client_key(message))
        is_answer = message.cseq.method == "INVITE" and 200 <= message.status < 300
        # A proxy sends on the 2xx of one branch after the failure of another (section 16.7): it waits for an ACK.
        if tx is not None and not (is_answer and tx.state is State.COMPLETED):
            tx.on_response(message)
        elif not is_answer:
            self.stats.dropped_stray_response += 1
        elif message.via.sent_by != self.carrier.sent_by(source.protocol, source.remote):
            self.stats.dropped_foreign_response += 1
        elif self.user is not None:
            self.user.on_stray_response(message, source)

    # What the machines ask for.

    def start(self, tx: ClientTransaction) -> None:
        """Start a transaction whose request has its Via: a CANCEL."""
        self._clients[tx.key] = tx
        tx.start(tx.request.encode())

    def fall_back(self, tx: ClientTransaction) -> None:
        """TCP could not be had for a large request: it goes by UDP after all."""
        remote = tx.remote
        if len(self._udp_only) < UDP_ONLY_MOST:
            self._udp_only[remote] = self.clock.call_later(UDP_ONLY_S, lambda: self._udp_only.pop(remote, None))
        tx.protocol = "udp"
        tx.start(self._encoded(tx))

    def forget(self, tx: Transaction) -> None:
        """A transaction is over."""
        if isinstance(tx, ClientTransaction):
            self._clients.pop(tx.key, None)
        else:
            self._servers.pop(tx.key, None)

    def expect_ack(self, key: Key, tx: InviteServerTransaction) -> None:
        """An ACK by the rules of RFC 2543 will have this key."""
        self._acks[key] = tx

    def forget_ack(self, key: Key) -> None:
        """That ACK is no longer awaited."""
        self._acks.pop(key, None)

    def _begin(self, tx: ClientTransaction) -> None:
        data = self._encoded(tx)
        if tx.protocol == "udp" and len(data) > DATAGRAM_BYTES and self._takes_tcp(tx.remote):
            tx.protocol = "tcp"
            tx.fallback = True
            data = self._encoded(tx)
        self._clients[tx.key] = tx
        tx.start(data)

    def _takes_tcp(self, remote: Address) -> bool:
        return remote not in self._udp_only and self.carrier.sent_by("tcp", remote) != ""

    def _encoded(self, tx: ClientTransaction) -> bytes:
        self._set_via(tx.request, tx.key[0], tx.protocol, tx.remote)
        return tx.request.encode()

    def _set_via(self, request: Request, branch: str, protocol: str, remote: Address) -> None:
        sent_by = self.carrier.sent_by(protocol, remote)
        via = f"SIP/2.0/{protocol.upper()} {sent_by};branch={branch};rport"
        if "Via" in request.headers:
            request.headers.set("Via", via)
        else:
            request.headers = Headers((("Via", via), *request.headers))

    def _new_branch(self) -> str:
        """Unique among all workers, and not to be guessed from another's (section 8.1.1.7)."""
        self._branch_count += 1
        return f"{MAGIC}{self._branches}{self._branch_count:x}{secrets.token_hex(4)}"

    def _stateless_tag(self, request: Request) -> str:
        """The same for the same request each time it comes (section 8.2.7)."""
        seen = f"{request.headers.get('Via')}\n{request.headers.get('Call-ID')}\n{request.headers.get('CSeq')}"
        return hashlib.blake2b(seen.encode(errors="replace"), key=self._secret, digest_size=8).hexdigest()
