"""The edge's door for the people on its machine: HTTP on a UNIX socket that only our user may open.

``POST /calls/<call id>/hangup`` ends a call, whichever proxy it went through: 200 with the parties' status codes, 202
if they have not answered yet, 404 if no such call is known, 503 if redis does not answer. Who asks for it is on our
disk before it is done, for the audit log (orders.py); what cannot be written is not done: 503.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from aiohttp import web

from signalbox.edge.dialogs import DialogsUnavailableError
from signalbox.edge.orders import actor_of

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.edge.ender import Ender
    from signalbox.edge.orders import Orders

SOCKET = "edge.sock"
"""Name of the socket in ``edge.kamailio.runtime_dir``."""

WITHIN_S = 5.0
"""So long the answer waits for the parties."""

_CALL_ID = re.compile(r"[!-~]{1,128}")


class Door:
    """Serves while it is open."""

    def __init__(self, runtime_dir: Path, ender: Ender, orders: Orders) -> None:
        self._path = runtime_dir / SOCKET
        self._orders = orders
        self._ender = ender
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Bind and serve. Raises OSError."""
        app = web.Application()
        app.router.add_post("/calls/{call_id}/hangup", self._hang_up)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(self._path)).start()
        finally:
            os.umask(mask)

    async def close(self) -> None:
        """Close the socket and remove its path."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._path.unlink(missing_ok=True)

    async def _hang_up(self, request: web.Request) -> web.Response:
        call_id = request.match_info["call_id"]
        if not _CALL_ID.fullmatch(call_id):
            return web.json_response({"call_id": call_id, "error": "no such call is known"}, status=404)
        assert request.transport is not None
        try:
            order = await self._orders.keep(call_id, actor_of(request.transport.get_extra_info("socket")))
            done = True
            try:
                codes = await self._ender.hang_up(call_id, "operator", WITHIN_S)
                done = codes is not None
            finally:
                self._orders.settle(order, done=done)
        except DialogsUnavailableError as error:
            return web.json_response({"call_id": call_id, "error": f"redis: {error}"}, status=503)
        except OSError as error:
            return web.json_response({"call_id": call_id, "error": f"the order cannot be kept: {error}"}, status=503)
        if codes is None:
            return web.json_response({"call_id": call_id, "error": "no such call is known"}, status=404)
        return web.json_response({"call_id": call_id, **codes}, status=200 if codes else 202)
