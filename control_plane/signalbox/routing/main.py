"""The routing process: one worker, or a parent with several that share the port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.routing import worker, workers

if TYPE_CHECKING:
    from signalbox.settings import Settings


def serve(settings: Settings) -> None:
    """Run the routing service until SIGTERM. Does not return."""
    if settings.routing.workers > 1:
        workers.serve(settings)
    else:
        worker.serve(settings)
