"""Callers and lines of many calls in a process of their own: SIP and RTP as telephones speak them, on asyncio.

It is a process apart from Locust's, which has gevent in place of threads and sockets. What it is told and tells are
lines of JSON (:mod:`loadtest.engine.messages`).
"""
