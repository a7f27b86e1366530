"""Callers and lines behind the carrier's switch, in one event loop with four sockets: what each of them sees is kept.

A caller calls, is answered, speaks for as long as calls of its kind last, and hangs up. Its line rings and answers.
Both say five times a second which call they are of; one that does not hear the other for more than 2 s notes that.
Nothing is done that telephones would not do: requests and answers are sent again as RFC 3261 says, and no call is
tried twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signalbox_local import flow_messages as sip
from signalbox_local.testcluster.tally import SILENCE_S, Outcome, Record

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from signalbox_local.flow_messages import Address, Message

T1_S, T2_S = 0.5, 4.0
"""RFC 3261 section 17.1.1.1."""
SETUP_S = 30.0
"""A caller waits so long for an answer, and one whom a flow has answered for the line."""
ENDING_S = 32.0
"""64 T1: a BYE has been answered by then, or never will be (RFC 3261 section 17.1.2.2)."""
RING_S = 0.1
SPEAK_EVERY_S = 0.2
TAKEN = 100
"""Records that fit the buffer of a pipe."""
SLOTS = 10
"""Calls speak in turn."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Calls of one kind."""

    name: str
    number: str
    rate: float
    """Calls a second."""
    hold_s: float
    """So long they are up once their line is."""


@dataclass(slots=True, eq=False)
class Leg:
    """What a line has of a call: an INVITE, and the last answer to it."""

    invite: Message
    reply: bytes
    source: Address
    tag: bytes
    acknowledged: bool = False
    over: bool = False


@dataclass(slots=True, eq=False)
class Call:
    """One call, both sides. Times in seconds of the monotonic clock, 0: not yet."""

    n: int
    kind: Kind
    begun: float
    answer: Message | None = None
    answered: float = 0.0
    connected: float = 0.0
    """The line has its ACK."""
    ending: float = 0.0
    """The caller has hung up."""
    caller_media: Address | None = None
    line_media: Address | None = None
    caller_heard: float = 0.0
    line_heard: float = 0.0
    silence_s: float = 0.0
    silent_at: float = 0.0
    leg: Leg | None = None
    outcome: Outcome = Outcome.OK
    why: str = ""
    at: float = 0.0
    caller_over: bool = False
    sequence: int = 0
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)


class Callers:
    """Calls of several kinds, begun at their rates."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, kinds: Sequence[tuple[Kind, sip.Caller]], contact: str, media: Address
    ) -> None:
        """``contact``: URI of the lines; ``media``: where they listen."""
        self.records: list[Record] = []
        """Calls that are over, and that nobody has taken yet."""
        self.unreadable = 0
        self._loop = loop
        self._messages = {kind.name: messages for kind, messages in kinds}
        self._kinds = [kind for kind, _ in kinds]
        self._contact = contact
        self._description = sip.description(media)
        self._next = 0
        self._running = False
        self._tick = 0
        self._calls: dict[int, Call] = {}
        self._slots: list[dict[int, Call]] = [{} for _ in range(SLOTS)]
        self._ids: dict[bytes, Call] = {}
        self._legs: dict[bytes, Call] = {}
        self._at_caller: dict[Address, Call] = {}
        self._at_line: dict[Address, Call] = {}
        self._to_switch: Callable[[bytes], object]
        self._line_send: Callable[[bytes, Address], object]
        self._caller_rtp: Callable[[bytes, Address], object]
        self._line_rtp: Callable[[bytes, Address], object]

    def use(
        self,
        to_switch: Callable[[bytes], object],
        line_send: Callable[[bytes, Address], object],
        caller_rtp: Callable[[bytes, Address], object],
        line_rtp: Callable[[bytes, Address], object],
    ) -> None:
        """How to send: SIP of the callers and of the lines, RTP of both."""
        self._to_switch, self._line_send, self._caller_rtp, self._line_rtp = to_switch, line_send, caller_rtp, line_rtp
        self._loop.call_later(SPEAK_EVERY_S / SLOTS, self._speak)

    # --- told from outside -------------------------------------------------------------------------------------

    def begin(self, share: float) -> None:
        """Begin calls at this share of their rates from now on."""
        self._running = True
        for at, kind in enumerate(self._kinds):
            if kind.rate * share > 0:
                every = 1 / (kind.rate * share)
                # Not all kinds at once.
                self._begin(kind, every, time.monotonic() + every * (at + 1) / (len(self._kinds) + 1))

    def stop(self) -> None:
        """Begin no more; those that are up end when they would."""
        self._running = False

    def take(self) -> tuple[list[Record], int]:
        """Calls that are over and were not taken before, at most :data:`TAKEN`, and how many are not over."""
        taken, self.records = self.records[:TAKEN], self.records[TAKEN:]
        return taken, len(self._calls)

    # --- callers -----------------------------------------------------------------------------------------------

    def _begin(self, kind: Kind, every: float, due: float) -> None:
        if not self._running:
            return
        now = time.monotonic()
        while due <= now:
            due += every
            self._invite(kind)
        self._loop.call_later(due - now, self._begin, kind, every, due)

    def _invite(self, kind: Kind) -> None:
        n, self._next = self._next, self._next + 1
        messages = self._messages[kind.name]
        call = Call(n, kind, time.monotonic())
        self._calls[n] = self._slots[n % SLOTS][n] = self._ids[messages.id(n)] = call
        self._at(call, "deadline", SETUP_S, self._too_late)
        self._request(call, "INVITE", messages.invite(n))

    def of_switch(self, data: bytes) -> None:
        """SIP came to the callers."""
        if (message := self._read(data)) is None:
            return
        call = self._ids.get(message.call_id)
        if not message.status:
            if message.method != b"ACK":
                self._to_switch(sip.response(message, 200, "OK"))
            if call is not None and message.method == b"BYE":
                self._bad(call, Outcome.CUT, f"the caller was ended: {message.why}")
                call.caller_over = True
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
                self._bad(call, Outcome.LEFT, f"BYE: {message.why}")
            self._maybe_over(call)

    def _invited(self, call: Call, message: Message) -> None:
        messages = self._messages[call.kind.name]
        if not call.answered:
            self._cancel(call, "request")
        if message.status >= 300:
            self._to_switch(messages.refused(call.n, message.to))
            if not call.answered:
                call.caller_over = True
                self._bad(call, Outcome.FAILED, message.why)
                self._maybe_over(call)
        elif message.status >= 200:
            self._to_switch(messages.within(call.n, b"ACK", 1, message))
            if not call.answered:
                self._answered(call, message)

    def _answered(self, call: Call, message: Message) -> None:
        call.answer, call.answered = message, time.monotonic()
        call.caller_media = message.media
        self._at_caller[call.caller_media] = call
        if call.outcome is not Outcome.OK:
            # It was given up, and is answered now.
            self._bye(call)
        else:
            self._maybe_up(call)

    def _maybe_up(self, call: Call) -> None:
        """Both sides are up: from now on the call lasts as long as its kind does."""
        if call.answered and call.connected and not call.ending:
            self._cancel(call, "deadline")
            self._at(call, "hold", call.kind.hold_s, self._bye)

    def _bye(self, call: Call) -> None:
        assert call.answer is not None
        call.ending = time.monotonic()
        self._note_silence(call, call.ending)
        self._at(call, "deadline", ENDING_S, self._too_late)
        self._request(call, "BYE", self._messages[call.kind.name].within(call.n, b"BYE", 2, call.answer))

    def _too_late(self, call: Call) -> None:
        """Of setting up, or of ending."""
        if not call.answered and call.outcome is Outcome.OK:
            self._bad(call, Outcome.FAILED, f"no answer within {SETUP_S:.0f} s")
            self._cancel(call, "request")
            self._to_switch(self._messages[call.kind.name].cancel(call.n))
            self._at(call, "deadline", ENDING_S, self._too_late)
        elif call.answered and not call.ending:
            # The flow that would have gone on was there until its last word.
            last = max(call.answered, call.caller_heard)
            self._bad(call, Outcome.CUT, f"answered, but no line within {SETUP_S:.0f} s", last)
            self._bye(call)
        else:
            sides = "caller" if not call.caller_over else "line"
            self._bad(call, Outcome.LEFT, f"not over at the {sides} within {ENDING_S:.0f} s")
            self._over(call)

    # --- lines -------------------------------------------------------------------------------------------------

    def of_line(self, data: bytes, source: Address) -> None:
        """SIP came to the lines."""
        message = self._read(data)
        if message is None or message.status:
            return
        call = self._legs.get(message.call_id)
        if message.method == b"INVITE":
            self._ring(message, source)
        elif message.method == b"ACK":
            if call is not None and call.leg is not None and not call.leg.acknowledged:
                call.leg.acknowledged = True
                self._cancel(call, "ring")
                call.connected = time.monotonic()
                self._maybe_up(call)
        else:
            known = call is not None and call.leg is not None
            status, reason = (200, "OK") if known else (481, "Call/Transaction Does Not Exist")
            self._line_send(sip.response(message, status, reason, tag=b"l"), source)
            if call is not None and message.method in (b"BYE", b"CANCEL"):
                self._line_ended(call, message, source)

    def _ring(self, message: Message, source: Address) -> None:
        n = sip.call_of(message.caller)
        call = None if n is None else self._calls.get(n)
        if call is None or call.ending:
            self._line_send(sip.response(message, 486, "Busy Here", tag=b"l"), source)
            return
        if call.leg is not None and branch(call.leg.invite) == branch(message):
            self._line_send(call.leg.reply, source)
            return
        # A second one of the same call comes by another proxy, as the first has died: it is the one that counts.
        tag = b"l%d-%d" % (call.n, 0 if call.leg is None else 1)
        ringing = sip.response(message, 180, "Ringing", tag=tag, contact=self._contact)
        call.leg = leg = Leg(message, ringing, source, tag)
        call.connected, call.line_media = 0.0, message.media
        self._legs[message.call_id] = self._at_line[call.line_media] = call
        self._line_send(leg.reply, source)
        self._at(call, "ring", RING_S, self._answer)

    def _answer(self, call: Call) -> None:
        leg = call.leg
        assert leg is not None
        leg.reply = sip.response(leg.invite, 200, "OK", tag=leg.tag, contact=self._contact, body=self._description)
        self._again(call, "ring", T1_S, lambda: self._line_send(leg.reply, leg.source))

    def _line_ended(self, call: Call, message: Message, source: Address) -> None:
        assert call.leg is not None
        if message.method == b"CANCEL":
            if branch(message) != branch(call.leg.invite):
                return
            self._line_send(sip.response(call.leg.invite, 487, "Request Terminated", tag=call.leg.tag), source)
        self._cancel(call, "ring")
        call.leg.over = True
        if not call.ending and call.outcome is Outcome.OK and (call.answered or message.method == b"BYE"):
            self._bad(call, Outcome.CUT, f"the line was ended: {message.why}")
            if call.answered:
                # A caller that hears nothing more hangs up.
                self._bye(call)
        self._maybe_over(call)

    # --- sound -------------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        """The calls whose turn it is say who they are, and look what they have heard."""
        self._loop.call_later(SPEAK_EVERY_S / SLOTS, self._speak)
        self._tick += 1
        now = time.monotonic()
        for call in self._slots[self._tick % SLOTS].values():
            if not call.answered or call.ending:
                continue
            call.sequence += 1
            if call.caller_media is not None:
                self._caller_rtp(sip.sound(call.n, "caller", call.sequence), call.caller_media)
            if call.connected and call.line_media is not None:
                self._line_rtp(sip.sound(call.n, "line", call.sequence), call.line_media)
            self._note_silence(call, now)

    def _note_silence(self, call: Call, now: float) -> None:
        if not call.connected or not call.answered:
            # A flow may be silent while it dials.
            return
        up = max(call.connected, call.answered)
        since = min(max(call.caller_heard, up), max(call.line_heard, up))
        if (silence := now - since) > call.silence_s:
            call.silence_s, call.silent_at = silence, since

    def caller_hears(self, data: bytes, source: Address) -> None:
        """RTP came to the callers."""
        call = self._at_caller.get(source)
        if call is None or not sip.is_sound(data):
            return
        if sip.said(data) == sip.name(call.n, "line") or not call.connected:
            self._note_silence(call, time.monotonic())
            call.caller_heard = time.monotonic()

    def line_hears(self, data: bytes, source: Address) -> None:
        """RTP came to the lines."""
        call = self._at_line.get(source)
        if call is not None and sip.said(data) == sip.name(call.n, "caller"):
            self._note_silence(call, time.monotonic())
            call.line_heard = time.monotonic()

    # --- the end -----------------------------------------------------------------------------------------------

    def _bad(self, call: Call, outcome: Outcome, why: str, at: float = 0.0) -> None:
        """What happened first is what counts. ``at``: now if it is 0."""
        if call.outcome is Outcome.OK:
            call.outcome, call.why, call.at = outcome, why, at or time.monotonic()

    def _maybe_over(self, call: Call) -> None:
        line_over = call.leg is None or call.leg.over
        if call.outcome is Outcome.FAILED and call.leg is not None and not call.leg.acknowledged:
            # Ringing ends with CANCEL, or with a line that gives up.
            line_over = True
        if call.caller_over and line_over:
            self._over(call)
        elif call.caller_over and call.outcome is not Outcome.OK:
            self._at(call, "deadline", ENDING_S, self._too_late)

    def _over(self, call: Call) -> None:
        now = time.monotonic()
        if call.outcome is Outcome.OK and call.answered and self._unheard(call):
            # Fallen silent is who does not say the next word.
            call.outcome, call.at = Outcome.SILENT, call.silent_at + SPEAK_EVERY_S
            call.why = "silence of more than 2 s" if call.caller_heard and call.line_heard else "nothing was heard"
        node = call.caller_media[0] if call.caller_media is not None else ""
        at = call.at or call.ending or now
        self.records.append(
            Record(
                call.n,
                call.kind.name,
                call.begun,
                call.answered,
                at,
                now,
                call.outcome,
                call.why,
                node,
                round(call.silence_s, 2),
            )
        )
        for timer in call.timers.values():
            timer.cancel()
        del self._calls[call.n], self._slots[call.n % SLOTS][call.n]
        self._ids.pop(self._messages[call.kind.name].id(call.n), None)
        if call.leg is not None:
            self._legs.pop(call.leg.invite.call_id, None)
        for table, address in ((self._at_caller, call.caller_media), (self._at_line, call.line_media)):
            # The port may be another call's by now.
            if address is not None and table.get(address) is call:
                del table[address]

    def _unheard(self, call: Call) -> bool:
        # One of half a second may be over before the second packet comes.
        return call.silence_s > SILENCE_S or not (call.caller_heard and call.line_heard)

    def _read(self, data: bytes) -> Message | None:
        try:
            return sip.read(data)
        except sip.UnreadableError:
            self.unreadable += 1
            return None

    # --- time --------------------------------------------------------------------------------------------------

    def _request(self, call: Call, method: str, data: bytes) -> None:
        # INVITE is not held at T2 (RFC 3261 section 17.1.1.2).
        self._again(call, "request", T1_S, lambda: self._to_switch(data), SETUP_S if method == "INVITE" else T2_S)

    def _again(self, call: Call, timer: str, after_s: float, send: Callable[[], object], most_s: float = T2_S) -> None:
        """Send, and again until the timer is cancelled, each time after twice as long."""
        send()
        self._at(call, timer, after_s, lambda call: self._again(call, timer, min(after_s * 2, most_s), send, most_s))

    def _at(self, call: Call, timer: str, after_s: float, action: Callable[[Call], object]) -> None:
        if (before := call.timers.get(timer)) is not None:
            before.cancel()
        call.timers[timer] = self._loop.call_later(after_s, action, call)

    def _cancel(self, call: Call, timer: str) -> None:
        if (handle := call.timers.pop(timer, None)) is not None:
            handle.cancel()


def branch(message: Message) -> bytes:
    """The transaction of a message: its first Via as it is (RFC 3261 section 17.2.3)."""
    return next((line for line in message.raw.split(b"\r\n") if line[:4].lower() == b"via:"), b"")
