"""A user agent of sippy, another SIP stack, in a process of its own, for its event loop is one for all and never ends.

Started as ``python sippy_agent.py <port>``. Reads commands from stdin and writes events to stdout, one a line:
``call <port> [<user> <password>]``, ``ring``, ``answer``, ``refuse``, ``hold`` (a re-INVITE), ``hang up``;
``try``, ``ring``, ``connect``, ``update``, ``fail <status>``, ``disconnect``. With ``challenge <user> <password>`` it
asks whoever calls for credentials, from the event ``challenge`` on.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from sippy.CCEvents import CCEventConnect, CCEventDisconnect, CCEventFail, CCEventRing, CCEventTry, CCEventUpdate
from sippy.Core.EventDispatcher import ED2
from sippy.MsgBody import MsgBody
from sippy.SipHeader import SipHeader
from sippy.SipTransactionManager import SipTransactionManager
from sippy.SipWWWAuthenticate import SipWWWAuthenticate
from sippy.UA import UA

HOST = "127.0.0.1"


class Silent:
    """Takes what sippy would log."""

    def write(self, *_: object, **__: object) -> None:
        """Nothing."""


def described(direction: str) -> MsgBody:
    """A session of one stream of PCMA."""
    version = 1 if direction == "sendrecv" else 2
    return MsgBody(
        f"v=0\r\no=- 7 {version} IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
        f"m=audio 6000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na={direction}\r\n"
    )


class Agent:
    """One call at a time."""

    def __init__(self, port: int) -> None:
        self.config: dict[str, Any] = {"_sip_address": HOST, "_sip_port": port, "_sip_logger": Silent()}
        self.config["_sip_tm"] = SipTransactionManager(self.config, self.on_request)
        self.ua: UA | None = None
        self.credentials: tuple[str, str] | None = None

    def on_request(self, request: Any, transaction: Any) -> Any:
        """A request outside of all dialogs."""
        if request.getHFBody("to").getTag() is not None or request.getMethod() != "INVITE":
            return request.genResponse(481, "Call Leg/Transaction Does Not Exist"), None, None
        if self.credentials is not None and not self.is_known(request):
            refused = request.genResponse(401, "Unauthorized")
            challenge = SipWWWAuthenticate(realm="sippy", algorithm="SHA-256")
            refused.appendHeader(SipHeader(body=challenge))
            return refused, None, None
        self.ua = UA(self.config, self.on_event)
        return self.ua.recvRequest(request, transaction)

    def is_known(self, request: Any) -> bool:
        """Whether it has the credentials that are asked for."""
        if self.credentials is None or request.countHFs("authorization") == 0:
            return False
        told = request.getHFBody("authorization")
        user, password = self.credentials
        return bool(told.verify(password, "INVITE") and told.username == user)

    def on_event(self, event: Any, ua: UA) -> None:
        """What sippy tells."""
        name = type(event).__name__.removeprefix("CCEvent").lower()
        tell(f"{name} {event.getData()[0]}" if name == "fail" else name)
        if name == "update":
            ua.recvEvent(CCEventConnect((200, "OK", described("recvonly"))))

    def obey(self, line: str) -> None:
        """A command."""
        match line.split():
            case ["call", port, *credentials]:
                user, password = credentials or (None, None)
                self.ua = UA(self.config, self.on_event, user, password, (HOST, int(port)))
                offer = described("sendrecv")
                self.ua.recvEvent(CCEventTry((None, "sippy", "signalbox", offer, None, None)))
            case ["challenge", user, password]:
                self.credentials = (user, password)
                tell("challenge")
            case words:
                assert self.ua is not None
                self.ua.recvEvent(EVENTS[" ".join(words)]())


EVENTS = {
    "ring": lambda: CCEventRing((180, "Ringing", None)),
    "answer": lambda: CCEventConnect((200, "OK", described("sendrecv"))),
    "refuse": lambda: CCEventFail((486, "Busy Here")),
    "hold": lambda: CCEventUpdate(described("sendonly")),
    "hang up": lambda: CCEventDisconnect(),
}


def tell(event: str) -> None:
    """Write an event."""
    sys.stdout.write(f"{event}\n")
    sys.stdout.flush()


def listen(agent: Agent) -> None:
    """Obey commands until there are no more."""
    for line in sys.stdin:
        ED2.callFromThread(agent.obey, line)
    ED2.callFromThread(ED2.breakLoop)


if __name__ == "__main__":
    agent = Agent(int(sys.argv[1]))
    threading.Thread(target=listen, args=(agent,), daemon=True).start()
    tell("ready")
    ED2.loop()
