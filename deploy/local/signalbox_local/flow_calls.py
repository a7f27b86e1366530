"""Callers and lines of thousands of calls to a number with a voice, in one event loop with four sockets.

::

    INVITED ──200──► ANSWERED ──first packet of the prompt, key 1──► KEYED ──INVITE, 180, 200, ACK at the line──►
    CONNECTED ──each side has heard the other one──► BRIDGED ──held──► ENDING ──200 to BYE, BYE at the line──► over

What each side hears is checked: its packets name call and side (:mod:`signalbox_local.flow_messages`). A call that does
not go this way is counted as failed with what happened, and is ended.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from signalbox_local import flow_messages as sip
from signalbox_local.flow_call import Call, Counts, Stage

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from signalbox_local.flow_messages import Address, Message

T1_S, T2_S = 0.5, 4.0
"""RFC 3261 section 17.1.1.1."""
SETUP_S = 30.0
"""A call that is not bridged after this has failed."""
ENDING_S = 32.0
"""The same for one that is not over after its BYE: 64 T1 (RFC 3261 section 17.1.2.2)."""
RING_S = 0.2
FRAME_S = 0.02
NAMES_EVERY_S = 0.06
"""The line says which call it is so often until both sides have heard each other."""
KEEP_EVERY_S = 12.0
"""Each side of a held call sends a packet so often."""
DEAD_S = 3 * KEEP_EVERY_S
KEEP_STEPS = 120
KEY = "1"


class Callers:
    """Calls, begun at a rate."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, messages: sip.Caller, contact: str, line_media: Address
    ) -> None:
        """``contact``: URI of the line."""
        self.counts = Counts()
        self._loop = loop
        self._messages = messages
        self._contact = contact
        self._line_description = sip.description(line_media)
        self._next = 0
        self._last: int | None = None
        self._rate = 0.0
        self._hold_s: float | None = 0.0
        self._due = 0.0
        self._tick = 0
        self._calls: dict[bytes, Call] = {}
        self._lines: dict[bytes, Call] = {}
        self._at_caller: dict[Address, Call] = {}
        self._at_line: dict[Address, Call] = {}
        self._to_proxy: Callable[[bytes], object]
        self._line_send: Callable[[bytes, Address], object]
        self._caller_rtp: Callable[[bytes, Address], object]
        self._line_rtp: Callable[[bytes, Address], object]

    def use(
        self,
        to_proxy: Callable[[bytes], object],
        line_send: Callable[[bytes, Address], object],
        caller_rtp: Callable[[bytes, Address], object],
        line_rtp: Callable[[bytes, Address], object],
    ) -> None:
        """How to send: SIP of the callers and of the line, RTP of both."""
        self._to_proxy, self._line_send, self._caller_rtp, self._line_rtp = to_proxy, line_send, caller_rtp, line_rtp
        self._loop.call_later(KEEP_EVERY_S / KEEP_STEPS, self._keep)

    # --- told from outside -------------------------------------------------------------------------------------

    def begin(self, rate: float, hold_s: float | None, most: int | None = None) -> None:
        """Begin calls at this rate from now on, so many or without end; rate 0: none. They are held so long when they
        are bridged; None: until told to hang up."""
        running = self._rate > 0
        self._rate, self._hold_s = rate, hold_s
        self._last = None if most is None else self._next + most
        if rate > 0:
            self._due = self._loop.time()
            if not running:
                self._some()

    def hang_up(self, rate: float) -> None:
        """Begin no more, and end all calls that are bridged, at this rate; those that are not yet, when they are."""
        self._rate, self._hold_s = 0.0, 0.0
        waiting = [call for call in self._calls.values() if call.stage is Stage.BRIDGED]
        for at, call in enumerate(waiting):
            self._at(call, "hold", at / rate, self._bye)

    def told(self) -> Counts:
        """The counts as they are now."""
        now, counts = self._loop.time(), self.counts
        bridged = [call for call in self._calls.values() if call.stage is Stage.BRIDGED]
        counts.open = len(self._calls)
        counts.alive = sum(min(one.caller_heard, one.line_heard) > now - DEAD_S for one in bridged)
        counts.cpu_s = time.process_time()
        return counts

    # --- callers -----------------------------------------------------------------------------------------------

    def _some(self) -> None:
        now = self._loop.time()
        while self._rate > 0 and self._due <= now:
            if self._next == self._last:
                self._rate = 0.0
                return
            self._due += 1 / self._rate
            self._invite()
        if self._rate > 0:
            self._loop.call_at(self._due, self._some)

    def _invite(self) -> None:
        n, self._next = self._next, self._next + 1
        call = self._calls[self._messages.id(n)] = Call(n, self._loop.time())
        self.counts.begun += 1
        self._at(call, "deadline", SETUP_S, self._too_late)
        self._request(call, "INVITE", self._messages.invite(n))

    def of_proxy(self, data: bytes) -> None:
        """SIP came to the callers."""
        if (message := self._read(data)) is None:
            return
        call = self._calls.get(message.call_id)
        if not message.status:
            if message.method != b"ACK":
                self._to_proxy(sip.response(message, 200, "OK"))
            if call is not None and message.method == b"BYE":
                call.caller_over = True
                if call.stage is not Stage.ENDING:
                    self._failed(call, f"the caller was ended: {message.why}")
                self._maybe_over(call)
            return
        if call is None:
            return
        if message.method == b"INVITE":
            self._invited(call, message)
        elif message.method == b"BYE" and message.status >= 200:
            self._cancel(call, "request")
            call.caller_over = True
            if message.status >= 300:
                self._failed(call, f"BYE: {message.why}")
            self._maybe_over(call)

    def _invited(self, call: Call, message: Message) -> None:
        if message.status < 200:
            self._cancel(call, "request")
        elif message.status >= 300:
            self._cancel(call, "request")
            self._to_proxy(self._messages.refused(call.n, message.to))
            call.caller_over = True
            self._failed(call, f"INVITE: {message.why}")
            self._maybe_over(call)
        else:
            self._to_proxy(self._messages.within(call.n, b"ACK", 1, message))
            if call.answer is None:
                self._cancel(call, "request")
                call.answer = message
                call.caller_media = message.media
                self._at_caller[call.caller_media] = call
                self._reach(call, Stage.ANSWERED)
                self.counts.answered_s.append(self._loop.time() - call.begun)
            if call.failed and call.stage is not Stage.ENDING:
                self._bye(call)

    def caller_hears(self, data: bytes, source: Address) -> None:
        """RTP came to the callers."""
        call = self._at_caller.get(source)
        if call is None or call.failed:
            return
        if call.stage is Stage.ANSWERED and sip.is_sound(data):
            self._press(call)
        elif sip.said(data) == sip.name(call.n, "line"):
            call.caller_heard = self._loop.time()
            if not call.line_heard:
                self._speak(call, "caller")
            self._maybe_bridged(call)
        elif sip.said(data)[:6] == b"line  ":
            self._failed(call, "heard the line of another call")

    def _press(self, call: Call) -> None:
        packets = sip.key(call.n, "caller", KEY, call.sequence)
        call.sequence += len(packets)
        self._reach(call, Stage.KEYED)
        self._events(call, packets)

    def _events(self, call: Call, packets: list[bytes]) -> None:
        assert call.caller_media is not None
        if len(packets) > 3:
            self._caller_rtp(packets[0], call.caller_media)
            self._at(call, "key", FRAME_S, lambda call: self._events(call, packets[1:]))
            return
        for one in packets:
            self._caller_rtp(one, call.caller_media)
        call.keyed_at = self._loop.time()

    # --- the line ----------------------------------------------------------------------------------------------

    def of_line(self, data: bytes, source: Address) -> None:
        """SIP came to the line."""
        message = self._read(data)
        if message is None or message.status:
            return
        call = self._lines.get(message.call_id)
        if message.method == b"INVITE":
            if call is None:
                self._ring(message, source)
            else:
                self._line_send(call.line_reply, source)
        elif message.method == b"ACK":
            if call is not None:
                self._acknowledged(call)
        else:
            self._line_send(sip.response(message, 200, "OK", tag=b"l"), source)
            if call is not None and message.method in (b"BYE", b"CANCEL"):
                self._line_ended(call, message, source)

    def _ring(self, message: Message, source: Address) -> None:
        n = sip.call_of(message.caller)
        call = None if n is None else self._calls.get(self._messages.id(n))
        if call is None or call.line_invite is not None:
            self._line_send(sip.response(message, 486, "Busy Here", tag=b"l"), source)
            self.counts.failed["the line was called twice, or by nobody"] += 1
            return
        call.line_invite, call.line_media = message, message.media
        self._lines[message.call_id] = call
        self._at_line[call.line_media] = call
        self.counts.reached["RUNG"] += 1
        call.line_reply = sip.response(message, 180, "Ringing", tag=b"l%d" % call.n, contact=self._contact)
        self._line_send(call.line_reply, source)

        def answer(call: Call) -> None:
            call.line_reply = sip.response(
                message, 200, "OK", tag=b"l%d" % call.n, contact=self._contact, body=self._line_description
            )
            self._again(call, "ring", "200", T1_S, lambda: self._line_send(call.line_reply, source))

        self._at(call, "ring", RING_S, answer)

    def _line_ended(self, call: Call, message: Message, source: Address) -> None:
        call.line_over = True
        self._cancel(call, "ring")
        if message.method == b"CANCEL" and call.line_invite is not None:
            over = sip.response(call.line_invite, 487, "Request Terminated", tag=b"l%d" % call.n)
            self._line_send(over, source)
        if call.stage is not Stage.ENDING:
            self._failed(call, f"the line was ended: {message.why}")
        self._maybe_over(call)

    def _acknowledged(self, call: Call) -> None:
        self._cancel(call, "ring")
        if call.stage is Stage.KEYED and not call.failed:
            self._reach(call, Stage.CONNECTED)
            self._name(call)

    def _name(self, call: Call) -> None:
        self._speak(call, "line")
        self._at(call, "names", NAMES_EVERY_S, self._name)

    def line_hears(self, data: bytes, source: Address) -> None:
        """RTP came to the line."""
        call = self._at_line.get(source)
        if call is None or call.failed:
            return
        if sip.said(data) == sip.name(call.n, "caller"):
            call.line_heard = self._loop.time()
            self._maybe_bridged(call)
        elif sip.said(data)[:6] == b"caller":
            self._failed(call, "the line heard the caller of another call")

    # --- both --------------------------------------------------------------------------------------------------

    def _speak(self, call: Call, side: str) -> None:
        call.sequence += 1
        packet = sip.sound(call.n, side, call.sequence)
        if side == "caller":
            assert call.caller_media is not None
            self._caller_rtp(packet, call.caller_media)
        else:
            assert call.line_media is not None
            self._line_rtp(packet, call.line_media)

    def _maybe_bridged(self, call: Call) -> None:
        if call.stage is Stage.CONNECTED and call.heard:
            self._cancel(call, "names")
            self._cancel(call, "deadline")
            self._reach(call, Stage.BRIDGED)
            self.counts.connected_s.append(self._loop.time() - call.keyed_at - RING_S)
            if self._hold_s is not None:
                self._at(call, "hold", self._hold_s, self._bye)

    def _keep(self) -> None:
        """Packets of the calls whose turn it is."""
        self._loop.call_later(KEEP_EVERY_S / KEEP_STEPS, self._keep)
        self._tick += 1
        first = (self._next - 1 - self._tick) % KEEP_STEPS
        for n in range(first, self._next, KEEP_STEPS):
            call = self._calls.get(self._messages.id(n))
            if call is not None and call.stage is Stage.BRIDGED:
                self._speak(call, "caller")
                self._speak(call, "line")

    def _bye(self, call: Call) -> None:
        assert call.answer is not None
        call.stage = Stage.ENDING
        self._at(call, "deadline", ENDING_S, self._too_late)
        self._request(call, "BYE", self._messages.within(call.n, b"BYE", 2, call.answer))

    def _too_late(self, call: Call) -> None:
        if call.stage is not Stage.ENDING and not call.failed:
            rung = call.stage is Stage.KEYED and call.line_invite is not None
            self._failed(call, f"nothing after {'RUNG' if rung else call.stage.name} within {SETUP_S:.0f} s")
            return
        if not call.failed:
            sides = [side for side, over in (("caller", call.caller_over), ("line", call.line_over)) if not over]
            call.failed = True
            self.counts.failed[f"not over at the {' and the '.join(sides)} within {ENDING_S:.0f} s"] += 1
        call.caller_over = call.line_over = True
        self._maybe_over(call)

    def _failed(self, call: Call, why: str) -> None:
        """Count it, once, and end what is left of it."""
        if call.failed:
            return
        call.failed = True
        self.counts.failed[why] += 1
        for timer in ("request", "key", "names", "hold"):
            self._cancel(call, timer)
        self._at(call, "deadline", ENDING_S, self._too_late)
        if not call.caller_over:
            if call.answer is not None:
                self._bye(call)
            else:
                self._to_proxy(self._messages.cancel(call.n))

    def _maybe_over(self, call: Call) -> None:
        if not call.caller_over or not (call.line_over or call.line_invite is None):
            return
        if not call.failed:
            self.counts.done += 1
        for timer in call.timers.values():
            timer.cancel()
        self._calls.pop(self._messages.id(call.n), None)
        if call.line_invite is not None:
            self._lines.pop(call.line_invite.call_id, None)
        for table, address in ((self._at_caller, call.caller_media), (self._at_line, call.line_media)):
            # The port may be another call's by now.
            if address is not None and table.get(address) is call:
                del table[address]

    def _read(self, data: bytes) -> Message | None:
        try:
            return sip.read(data)
        except sip.UnreadableError as error:
            self.counts.failed[str(error)] += 1
            return None

    def _reach(self, call: Call, stage: Stage) -> None:
        call.stage = stage
        self.counts.reached[stage.name] += 1

    # --- time --------------------------------------------------------------------------------------------------

    def _request(self, call: Call, method: str, data: bytes) -> None:
        self._again(call, "request", method, T1_S, lambda: self._to_proxy(data))

    def _again(self, call: Call, timer: str, what: str, after_s: float, send: Callable[[], object]) -> None:
        """Send, and again until the timer is cancelled, each time after twice as long."""
        send()

        def resend(call: Call) -> None:
            self.counts.resent[what] += 1
            # INVITE is not held at T2 (RFC 3261 section 17.1.1.2).
            longest = SETUP_S if what == "INVITE" else T2_S
            self._again(call, timer, what, min(after_s * 2, longest), send)

        self._at(call, timer, after_s, resend)

    def _at(self, call: Call, timer: str, after_s: float, action: Callable[[Call], object]) -> None:
        if (before := call.timers.get(timer)) is not None:
            before.cancel()
        call.timers[timer] = self._loop.call_later(after_s, action, call)

    def _cancel(self, call: Call, timer: str) -> None:
        if (handle := call.timers.pop(timer, None)) is not None:
            handle.cancel()
