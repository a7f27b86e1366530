"""Services for the pages' examples to talk to."""

from support.commands import service, silent_service

__all__ = ["service", "silent_service"]
