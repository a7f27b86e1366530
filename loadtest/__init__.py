"""Load tests of a cluster with Locust: callers over SIP and RTP, questions over gRPC, and provisioning beside them.

``docs/load-testing.md`` tells how they are run and read. What is measured is told by Locust's own statistics; what
callers do by ``traffic.toml``; what a run must reach by ``objectives.toml``.
"""
