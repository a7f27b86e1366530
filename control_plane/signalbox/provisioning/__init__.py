"""The provisioning service: the only writer of rules."""
