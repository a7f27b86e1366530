"""Runs inside Kamailio (KEMI, ``app_python3``): each worker asks the routing service for every call, and waits.

``Decide`` over a channel that each worker makes for itself after it was forked: one that is made before belongs to the
parent's threads, which a child does not have. Nothing but what a call needs to reach its line and to end is done: no
screening of sources, no events, no failover. Kamailio's environment names the routing service.
"""

from __future__ import annotations

import os
from typing import Any

import grpc
import KSR  # type: ignore[import-not-found]  # Kamailio brings it.
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc

from signalbox_local.peers import ROUTING_ADDRESS, TRUNK

TIMEOUT_S = 2.0


class Proxy:
    """What Kamailio calls."""

    def __init__(self) -> None:
        self._decide: Any = None
        self._channel: grpc.Channel | None = None

    def child_init(self, rank: int) -> int:
        """In each process; workers that take SIP have a rank of 1 and up."""
        if rank > 0:
            self._channel = grpc.insecure_channel(os.environ[ROUTING_ADDRESS])
            self._decide = routing_pb2_grpc.RoutingServiceStub(self._channel).Decide
        return 0

    def ksr_request_route(self, message: Any) -> int:
        """A request."""
        if KSR.maxfwd.process_maxfwd(70) < 0:
            KSR.sl.send_reply(483, "Too Many Hops")
        elif KSR.is_OPTIONS():
            KSR.sl.send_reply(200, "OK")
        elif KSR.is_CANCEL():
            if KSR.tm.t_check_trans() > 0:
                KSR.tm.t_relay()
        elif KSR.siputils.has_totag() > 0:
            self._in_dialog()
        elif KSR.is_INVITE():
            self._new_call()
        else:
            KSR.sl.send_reply(501, "Not Implemented")
        return 1

    def ksr_reply_route(self, message: Any) -> int:
        """A reply. Kamailio calls this, and takes it amiss if it is not there."""
        return 1

    def ksr_onsend_route(self, message: Any) -> int:
        """Before a message is sent: the same."""
        return 1

    def _in_dialog(self) -> None:
        if KSR.rr.loose_route() > 0:
            KSR.tm.t_relay()
        elif KSR.is_ACK():
            # Of a refusal: its transaction takes it.
            if KSR.tm.t_check_trans() > 0:
                KSR.tm.t_relay()
        else:
            KSR.sl.send_reply(404, "Not Found")

    def _new_call(self) -> None:
        # One that was sent again ends here.
        if KSR.tm.t_newtran() <= 0:
            return
        KSR.tm.t_reply(100, "Trying")
        question = routing_pb2.DecideRequest(
            call_id=KSR.pv.get("$ci"),
            trunk=os.environ[TRUNK],
            called=KSR.pv.get("$rU"),
            calling=KSR.pv.get("$fU"),
            source_address=KSR.pv.get("$si"),
        )
        try:
            decision = self._decide(question, timeout=TIMEOUT_S).decision
        except grpc.RpcError:
            KSR.tm.t_reply(503, "Service Unavailable")
            return
        if not decision.HasField("dial"):
            KSR.tm.t_reply(decision.reject.code, decision.reject.phrase)
            return
        branch = decision.dial.stages[0].branches[0]
        KSR.seturi(branch.uri)
        KSR.setdsturi(branch.destination)
        KSR.rr.record_route()
        if KSR.tm.t_relay() < 0:
            KSR.tm.t_reply(500, "Server Internal Error")


def mod_init() -> Proxy:
    """What Kamailio looks for."""
    return Proxy()
