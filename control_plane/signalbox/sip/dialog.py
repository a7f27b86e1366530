"""Dialogs: what two user agents remember of each other (RFC 3261 section 12). Pure: nothing is sent here.

A forked INVITE makes one dialog for each To tag that answers it, all from the one request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.sip.errors import MessageError, SipError
from signalbox.sip.headers import CSEQ_MAX, NameAddr
from signalbox.sip.message import Headers, Request
from signalbox.sip.uri import Uri

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.sip.message import Message, Response

Key = tuple[str, str, str]
"""Call-ID, local tag, remote tag; a tag is "" for a peer of RFC 2543."""

MAX_FORWARDS = 70

_IN_NO_REQUEST_URI = ("method",)
"""Parameters that a Route may have and a Request-URI must not (section 19.1.1)."""


def incoming_key(request: Request) -> Key:
    """The key of the dialog that a request belongs to. Raises MessageError."""
    return request.call_id, request.to_tag, request.from_tag


def response_key(response: Response) -> Key:
    """The key of the dialog that a response to our request belongs to, or makes. Raises MessageError."""
    return response.call_id, response.from_tag, response.to_tag


class NoDialogError(SipError):
    """A message makes no dialog: a response without a To tag, or one that is no 101 to 299."""


class Dialog:
    """``target``: where the other party is; ``is_confirmed``: a 2xx was sent or came, not only a 1xx (early)."""

    __slots__ = (
        "_first_route",
        "_local",
        "_remote",
        "_routes",
        "call_id",
        "contact",
        "is_confirmed",
        "local_cseq",
        "local_tag",
        "remote_cseq",
        "remote_tag",
        "target",
    )

    def __init__(
        self,
        *,
        call_id: str,
        local: str,
        local_tag: str,
        remote: str,
        remote_tag: str,
        contact: str,
        target: Uri,
        routes: list[str],
        local_cseq: int,
        remote_cseq: int | None,
        is_confirmed: bool,
    ) -> None:
        self.call_id = call_id
        self.local_tag = local_tag
        self.remote_tag = remote_tag
        self.contact = contact
        self.target = target
        self.local_cseq = local_cseq
        self.remote_cseq = remote_cseq
        self.is_confirmed = is_confirmed
        self._local = local
        self._remote = remote
        self._set_routes(routes)

    @classmethod
    def as_server(cls, request: Request, response: Response) -> Dialog:
        """The dialog that our 1xx or 2xx to a request makes (section 12.1.1). Our requests have its Contact.

        Raises MessageError if the request has no Contact that requests can be sent to.
        """
        _check_makes_dialog(response)
        made = cls.as_callee(request, response.to_tag, _own_contact(response))
        made.is_confirmed = response.status >= 200
        return made

    @classmethod
    def as_callee(cls, request: Request, tag: str, contact: str) -> Dialog:
        """The early dialog of a request, before there is a response; responses will have this To tag and Contact.

        Raises MessageError as :meth:`as_server`.
        """
        theirs = request.contact
        if theirs is None:
            raise MessageError("Contact", "is missing")
        local = request.headers.line("To")
        return cls(
            call_id=request.call_id,
            local=local if request.to_tag else f"{local};tag={tag}",
            local_tag=tag,
            remote=request.headers.line("From"),
            remote_tag=request.from_tag,
            contact=contact,
            target=_target(theirs),
            routes=request.headers.values("Record-Route"),
            local_cseq=0,
            remote_cseq=request.cseq.number,
            is_confirmed=False,
        )

    @classmethod
    def as_client(cls, request: Request, response: Response) -> Dialog:
        """The dialog that a 1xx or 2xx to our request makes (section 12.1.2).

        A response without Contact, which is against the rules, leaves the Request-URI as target. Raises MessageError.
        """
        _check_makes_dialog(response)
        contact = response.contact
        return cls(
            call_id=request.call_id,
            local=request.headers.get("From") or "",
            local_tag=request.from_tag,
            remote=response.headers.get("To") or "",
            remote_tag=response.to_tag,
            contact=_own_contact(request),
            target=request.target if contact is None else _target(contact),
            routes=response.headers.values("Record-Route")[::-1],
            local_cseq=request.cseq.number,
            remote_cseq=None,
            is_confirmed=response.status >= 200,
        )

    @property
    def key(self) -> Key:
        return self.call_id, self.local_tag, self.remote_tag

    @property
    def routes(self) -> tuple[str, ...]:
        """The route set, the hop next to us first, as written."""
        return self._routes

    @property
    def next_hop(self) -> Uri:
        """Where requests go first: the first route, a loose or a strict one, or the target (section 12.2.1.1)."""
        return self.target if self._first_route is None else self._first_route.uri

    def confirm(self, response: Response | None = None) -> None:
        """A 2xx to the INVITE was sent, or ``response`` is one that came: of it the route set and the target are taken
        again (section 13.2.2.4). Raises MessageError, and nothing has changed then."""
        if response is not None and not self.is_confirmed:
            target = response.contact
            routes = response.headers.values("Record-Route")[::-1]
            refreshed = self.target if target is None else _target(target)
            self._set_routes(routes)
            self.target = refreshed
        self.is_confirmed = True

    def request(
        self, method: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", content_type: str = ""
    ) -> Request:
        """The next request in the dialog, without Via (section 12.2.1.1). Not for ACK and CANCEL.

        Contact is in requests that refresh the target. ``content_type``: of a body.
        """
        if self.local_cseq >= CSEQ_MAX:
            raise SipError("the dialog has used all its sequence numbers")
        self.local_cseq += 1
        made = self._request(method, self.local_cseq)
        if method in ("INVITE", "UPDATE"):
            made.headers.set("Contact", self.contact)
        for name, value in headers:
            made.headers.add(name, value)
        if content_type:
            made.headers.set("Content-Type", content_type)
        made.body = body
        return made

    def ack(
        self, cseq: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", content_type: str = ""
    ) -> Request:
        """The ACK of a 2xx (section 13.2.2.4). ``cseq``: number of its INVITE; ``headers``: its credentials, if any."""
        made = self._request("ACK", cseq)
        for name, value in headers:
            made.headers.add(name, value)
        if content_type:
            made.headers.set("Content-Type", content_type)
        made.body = body
        return made

    def accept(self, request: Request) -> None:
        """Notes the sequence number of a request that came in the dialog. Raises MessageError with code 500 if it isn't
        above the last one's (section 12.2.2). An ACK has its INVITE's."""
        number = request.cseq.number
        if request.method == "ACK":
            return
        if self.remote_cseq is not None and number <= self.remote_cseq:
            raise MessageError("CSeq", f"must be above {self.remote_cseq}", code=500)
        self.remote_cseq = number

    def refresh(self, message: Message) -> None:
        """Takes the target from the Contact, if any, of an INVITE or UPDATE in the dialog that is accepted, or of the
        2xx to ours (sections 12.2.1.2 and 12.2.2; a refused one refreshes nothing, RFC 6141 section 4).

        Raises MessageError if the Contact is malformed.
        """
        contact = message.contact
        if contact is not None:
            self.target = _target(contact)

    def _request(self, method: str, number: int) -> Request:
        uri, routes = self.target, self._routes
        if self._first_route is not None and "lr" not in self._first_route.uri.params:
            uri, routes = _request_uri(self._first_route.uri), (*routes[1:], f"<{self.target}>")
        fields = {
            "Max-Forwards": [str(MAX_FORWARDS)],
            "From": [self._local],
            "To": [self._remote],
            "Call-ID": [self.call_id],
            "CSeq": [f"{number} {method}"],
        }
        if routes:
            fields["Route"] = list(routes)
        return Request(method, str(uri), Headers.of(fields))

    def _set_routes(self, routes: list[str]) -> None:
        first = NameAddr.parse(routes[0], "Record-Route") if routes else None
        if first is not None and not first.uri.host:
            raise MessageError("Record-Route", "must be a SIP URI")
        self._first_route = first
        self._routes = tuple(routes)


def _check_makes_dialog(response: Response) -> None:
    if not 100 < response.status < 300:
        raise NoDialogError(f"a {response.status} makes no dialog")
    if not response.to_tag and response.status < 200:
        raise NoDialogError("a 1xx without a To tag makes no dialog")


def _own_contact(message: Message) -> str:
    contact = message.headers.get("Contact")
    if contact is None:
        raise ValueError("what we send to make a dialog must have a Contact")
    return contact


def _target(contact: NameAddr) -> Uri:
    if not contact.uri.host:
        raise MessageError("Contact", "must be a SIP URI")
    return contact.uri


def _request_uri(uri: Uri) -> Uri:
    """A strict route as Request-URI: without what must not stand there (section 12.2.1.1)."""
    params = {name: value for name, value in uri.params.items() if name not in _IN_NO_REQUEST_URI}
    return Uri(uri.scheme, uri.user, uri.host, uri.port, params)
