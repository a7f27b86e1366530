"""Counters of the SIP core: plain integers, turned into metrics only when somebody asks."""

from __future__ import annotations


class Stats:
    """What happened since the start. Messages are counted in both directions, by UDP and TCP together."""

    __slots__ = (
        "connect_failed",
        "connections_accepted",
        "connections_closed_idle",
        "connections_made",
        "connections_refused",
        "connections_unfollowable",
        "drained",
        "dropped_bad",
        "dropped_early_ack",
        "dropped_foreign_response",
        "dropped_stray_response",
        "dropped_udp_full",
        "keepalives",
        "overloaded",
        "received",
        "refused",
        "repeated",
        "retransmitted",
        "send_failed",
        "sent",
        "slow_readers",
        "timeouts",
    )  # fmt: skip

    def __init__(self) -> None:
        self.received = 0
        """Messages, well-formed or not."""
        self.sent = 0
        """Messages given to a socket, retransmissions among them."""
        self.retransmitted = 0
        """Messages that we sent again."""
        self.repeated = 0
        """Messages that came again and were absorbed by their transaction."""
        self.refused = 0
        """Requests answered 400 and the like because they are malformed."""
        self.drained = 0
        """INVITEs refused because we are stopping, or have not begun."""
        self.overloaded = 0
        """Requests outside of dialogs that were answered 503 because too many transactions live."""
        self.timeouts = 0
        """Transactions that ended because the other side kept silent."""
        self.send_failed = 0
        """Messages that could not be sent."""
        self.keepalives = 0
        """Empty datagrams and pings between messages of a stream (RFC 5626)."""
        self.dropped_bad = 0
        """Malformed messages that cannot be answered: responses, ACKs, and what is not SIP."""
        self.dropped_early_ack = 0
        """ACKs of an INVITE that has no final response."""
        self.dropped_stray_response = 0
        """Responses of no transaction, except 2xx of an INVITE."""
        self.dropped_foreign_response = 0
        """2xx of no transaction whose Via is not ours (section 18.1.2)."""
        self.dropped_udp_full = 0
        """Datagrams that a full buffer or table of the kernel did not take: as if lost."""
        self.connections_accepted = 0
        self.connections_made = 0
        self.connections_refused = 0
        """Connections closed at once, or not made, because there are too many."""
        self.connections_closed_idle = 0
        self.connections_unfollowable = 0
        """Connections closed because their stream could not be cut into messages (section 18.3)."""
        self.connect_failed = 0
        self.slow_readers = 0
        """Connections given up because the peer did not read what we wrote."""
