"""A call from both ends: the caller who makes it, and the line that it comes to."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from signalbox.sip.ended import CallOverError
from signalbox.sip.headers import NameAddr
from signalbox.sip.outgoing import Invitation
from signalbox.sip.sdp import SessionDescription
from signalbox.sip.uri import Uri
from signalbox_local import flow_messages

from loadtest.engine.messages import Direction, Result
from loadtest.engine.sound import Stream
from loadtest.outcome import Outcome

if TYPE_CHECKING:
    from signalbox.sip.ended import Ended
    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.message import Request, Response
    from signalbox.sip.outgoing import OutgoingCall
    from signalbox.sip.useragent import UserAgent

    from loadtest.engine.messages import Address
    from loadtest.engine.sound import Party
    from loadtest.model.traffic import Plan

BUSY_USER = "busy"
"""A line whose user part begins so is busy always."""
NO_LINE_S = 30.0
"""A caller whom a flow has answered waits so long for the line."""
PROMPT_S = 10.0
"""And so long for the first sound of an announcement."""
CLEARED_S = 33.0
"""64 T1: a BYE has reached the line by then, or never will (RFC 3261 section 17.1.2.2)."""
SILENCE_MS = 2000.0
"""Who hears nothing of the other for so long says hello, and hangs up."""
TAIL_S = 0.1
"""The last packets arrive before the call is hung up."""
LEAST_HOLD_S = 0.5
KEY_S = 0.3
"""For a key and the pause behind it."""
MENU_KEY = "1"
GAVE_UP = frozenset({408, 480, 487})
"""What a cluster says that has rung long enough."""
BUSY = frozenset({486, 600})


@dataclass(slots=True, eq=False)
class Live:
    """A call that is under way. Times of the monotonic clock, seconds."""

    n: int
    plan: Plan
    rang: bool = False
    """The line, not the caller, knows that."""
    line: Stream | None = None
    line_up: asyncio.Event = field(default_factory=asyncio.Event)
    line_over: asyncio.Event = field(default_factory=asyncio.Event)
    line_over_at: float = 0.0


class Calls:
    """Makes calls, and answers them."""

    def __init__(self, callers: Party, lines: Party) -> None:
        self.strays = 0
        """INVITEs at the lines that are of no call of ours."""
        self.callers, self.lines = callers, lines
        """Where they speak and hear."""
        self._caller_description = SessionDescription.parse(flow_messages.description(callers.address))
        self._line_description = SessionDescription.parse(flow_messages.description(lines.address))
        self._count = itertools.count(1)
        self._by_id: dict[str, Live] = {}
        self._by_caller: dict[str, Live] = {}

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._by_id)

    # --- callers -----------------------------------------------------------------------------------------------

    async def place(self, agent: UserAgent, plan: Plan, number: str, proxy: Address) -> Result:
        """Make one call as it is planned. What becomes of it is told, never raised."""
        begun = monotonic()
        to = NameAddr("", Uri("sip", number, *proxy))
        caller = NameAddr("", Uri("sip", plan.caller, self.callers.address[0]))
        invitation = Invitation(str(to.uri), caller, to, plan.protocol, proxy)
        call = agent.call(invitation, self._caller_description)
        live = Live(next(self._count), plan)
        self._by_id[call.call_id] = self._by_caller[plan.caller] = live
        attempt = Attempt(self, live, call, begun)
        try:
            return await attempt.run()
        finally:
            attempt.close()
            del self._by_id[call.call_id]
            if self._by_caller.get(plan.caller) is live:
                del self._by_caller[plan.caller]

    # --- lines -------------------------------------------------------------------------------------------------

    async def answer(self, call: IncomingCall) -> None:
        """What a line does: on_invite of the lines' user agent."""
        request = call.request
        live = self._of(request)
        if live is None:
            self.strays += 1
            call.reject(480)
            return
        if live.plan.line == "busy" or (Uri.parse(request.uri).user or "").startswith(BUSY_USER):
            call.reject(486)
            return
        await asyncio.sleep(live.plan.alerting_s)
        call.ring()
        live.rang = True
        if live.plan.line == "silent" or call.offer is None:
            await call.over()
            return
        await asyncio.sleep(live.plan.ring_s)
        if call.ended is not None:
            return
        stream = live.line = Stream(2 * live.n + 1, 2 * live.n, media_of(call.offer))
        self.lines.begin(stream)
        await call.answer(self._line_description)
        live.line_up.set()
        await call.over()
        live.line_over_at = monotonic()
        live.line_over.set()

    def _of(self, request: Request) -> Live | None:
        """The call that an INVITE at a line belongs to: by its Call-ID, or by its caller if a worker with voice
        calls."""
        live = self._by_id.get(request.call_id)
        return live or self._by_caller.get(request.from_.uri.user or "")


class Attempt:
    """The caller's side of one call."""

    def __init__(self, calls: Calls, live: Live, call: OutgoingCall, begun: float) -> None:
        self._calls = calls
        self._live = live
        self._call = call
        self._begun = begun
        self._stream: Stream | None = None
        self._told: dict[str, float] = {}
        call.on_progress = self._progress

    async def run(self) -> Result:
        """The whole call."""
        try:
            async with asyncio.timeout(self._live.plan.patience_s):
                await self._call.answered()
        except TimeoutError:
            return self._impatient()
        except CallOverError:
            return self._refused()
        self._told.setdefault("dialled_ms", self._ms())
        self._told["answered_ms"] = self._told["final_ms"] = self._ms()
        offered = self._call.remote
        if offered is None:
            self._call.hang_up()
            return self._result(Outcome.SILENT, "an answer without a description")
        self._stream = Stream(2 * self._live.n, 2 * self._live.n + 1, media_of(offered))
        self._calls.callers.begin(self._stream)
        return await self._talk(self._stream)

    def close(self) -> None:
        """Nothing is left of it."""
        if self._stream is not None:
            self._calls.callers.end(self._stream)
        if self._live.line is not None:
            self._calls.lines.end(self._live.line)

    async def _talk(self, caller: Stream) -> Result:
        plan, live = self._live.plan, self._live
        over = asyncio.ensure_future(self._call.over())
        try:
            if plan.kind == "menu":
                await self._choose(caller, over)
            if not await self._either(live.line_up, over, NO_LINE_S):
                ended = self._call.ended
                self._call.hang_up()
                return self._result(
                    Outcome.NO_LINE, f"ended: {ended.reason}" if ended else f"none in {NO_LINE_S:.0f} s"
                )
            line = live.line
            assert line is not None
            now = monotonic()
            self._told["connected_ms"] = self._ms()
            caller.talk(now)
            line.talk(now)
            caller.press(plan.keys)
            hold_s = max(plan.hold_s, LEAST_HOLD_S + KEY_S * len(plan.keys))
            await asyncio.wait({over}, timeout=hold_s)
            self._told["talked_ms"] = (monotonic() - now) * 1000
            return await self._hang_up(caller, line)
        finally:
            over.cancel()

    async def _choose(self, caller: Stream, over: asyncio.Future[Ended]) -> None:
        """Press a key as soon as the announcement is heard."""
        await self._either(caller.came, over, PROMPT_S)
        caller.press(MENU_KEY)

    async def _hang_up(self, caller: Stream, line: Stream) -> Result:
        cut = self._call.ended is not None or self._live.line_over.is_set()
        why = ""
        if cut:
            ended = self._call.ended
            why = (ended.reason or ended.why.value) if ended else "the line was ended"
        self._calls.callers.hush(caller)
        self._calls.lines.hush(line)
        caller_said, line_said = caller.sounds, line.sounds
        await asyncio.sleep(TAIL_S)
        heard = {"caller": caller.of(line, line_said), "line": line.of(caller, caller_said)}
        keys = {"keys": self._live.plan.keys, "heard_keys": line.heard_keys}
        begun = monotonic()
        self._call.hang_up()
        if cut:
            return self._result(Outcome.CUT, why, **heard, **keys)
        if not await self._either(self._live.line_over, None, CLEARED_S):
            return self._result(Outcome.LEFT_UP, f"no BYE at the line within {CLEARED_S:.0f} s", **heard, **keys)
        self._told["cleared_ms"] = max(0.0, (self._live.line_over_at - begun) * 1000)
        if silent := [side for side, what in heard.items() if _silent(what)]:
            return self._result(Outcome.SILENT, f"{' and '.join(silent)} heard nothing for 2 s", **heard, **keys)
        return self._result(Outcome.ANSWERED, "", **heard, **keys)

    def _impatient(self) -> Result:
        """The caller hangs up before anybody answers."""
        self._call.hang_up()
        live = self._live
        if live.rang and not live.line_up.is_set():
            return self._result(Outcome.ABANDONED)
        why = "the line has answered" if live.line_up.is_set() else "no line rang"
        return self._result(Outcome.TIMED_OUT, f"given up after {live.plan.patience_s:.1f} s: {why}")

    def _refused(self) -> Result:
        final, plan = self._call.final, self._live.plan
        if final is None:
            return self._result(Outcome.TIMED_OUT, "no response in time")
        self._told["final_ms"] = self._ms()
        what = {"status": final.status, "retry_after": "Retry-After" in final.headers}
        said = f"{final.status} {final.reason}"
        if final.status == 503:
            return self._result(Outcome.SHED, said, **what)
        if final.status in BUSY and plan.line == "busy":
            return self._result(Outcome.BUSY, said, **what)
        if final.status in GAVE_UP and self._live.rang and plan.line == "silent":
            return self._result(Outcome.NO_ANSWER, said, **what)
        if final.status == 408:
            return self._result(Outcome.TIMED_OUT, said, **what)
        return self._result(Outcome.REFUSED, said, **what)

    def _progress(self, response: Response) -> None:
        self._told.setdefault("dialled_ms", self._ms())

    async def _either(self, event: asyncio.Event, over: asyncio.Future[Ended] | None, most_s: float) -> bool:
        """Wait for an event; False: the call was over before, or it took too long."""
        waiting = asyncio.ensure_future(event.wait())
        awaited: set[asyncio.Future[Any]] = {waiting} if over is None else {waiting, over}
        try:
            await asyncio.wait(awaited, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return event.is_set()

    def _ms(self) -> float:
        return (monotonic() - self._begun) * 1000

    def _result(self, outcome: Outcome, why: str = "", **more: object) -> Result:
        status = self._call.final.status if self._call.final is not None else 0
        return Result(**{"status": status, **self._told, **more}, outcome=outcome, why=why)  # type: ignore[arg-type]


def media_of(description: SessionDescription) -> Address:
    """Where the other side listens; port 9 of nowhere (RFC 863) if it does not."""
    found = description.address(description.media[0]) if description.media else None
    return found or ("0.0.0.0", 9)


def _silent(direction: Direction) -> bool:
    return direction.first_ms is None or direction.first_ms > SILENCE_MS
