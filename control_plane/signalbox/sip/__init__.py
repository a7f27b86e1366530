"""SIP as a server behind our own proxies speaks it (RFC 3261): see docs/design/sip.md."""
