"""Which transaction a message belongs to (RFC 3261 sections 17.1.3 and 17.2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.sip.headers import MAGIC

if TYPE_CHECKING:
    from signalbox.sip.message import Request, Response

Key = tuple[str, ...]


def client_key(response: Response) -> Key:
    """By the branch that we made, and the method: a CANCEL has the branch of its INVITE."""
    return response.via.branch, response.cseq.method


def server_key(request: Request, method: str) -> Key:
    """Of a request, or of the INVITE that an ACK or CANCEL is for: by branch, sent-by and method.

    And by Call-ID and number: Kamailio gives all that it forwards without a transaction one and the same branch
    (its ``syn_branch``), and a BYE must not be taken for the one of another call.
    A branch without the magic cookie is no identifier: then by what RFC 2543 has (section 17.2.3).
    """
    via = request.via
    branch = via.branch
    if branch.startswith(MAGIC):
        return branch, via.sent_by, method, request.call_id, str(request.cseq.number)
    return _old_key(request, method, request.to_tag)


def old_ack_key(invite: Request, to_tag: str) -> Key | None:
    """Of the ACK of a failed INVITE, by RFC 2543: with the response's To tag. None if the INVITE has a branch."""
    return None if invite.via.branch.startswith(MAGIC) else _old_key(invite, "ACK", to_tag)


def _old_key(request: Request, method: str, to_tag: str) -> Key:
    return (
        method, request.uri, to_tag, request.from_tag, request.call_id, str(request.cseq.number), str(request.via)
    )  # fmt: skip
