"""Other ways to route a call, to be measured beside ours: each with no more to do than it takes to reach the line."""

ROUTING_ADDRESS, TRUNK = "PEER_ROUTING_ADDRESS", "PEER_TRUNK"
"""Environment variables of Kamailio with Python: the routing service (host:port), and the trunk of all calls."""
