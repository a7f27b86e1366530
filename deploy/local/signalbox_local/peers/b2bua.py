"""A back-to-back user agent of sippy that sends every call on to one line: ``python -m signalbox_local.peers.b2bua``.

Arguments: its own address and the line's, both ``host:port``. It logs nothing and relays no RTP; descriptions of
sessions are handed on. Its event loop, one for all, never ends by itself.
"""

from __future__ import annotations

import sys
from typing import Any

from signalbox.address import split
from sippy.CCEvents import CCEventDisconnect, CCEventTry
from sippy.Core.EventDispatcher import ED2
from sippy.SipAddress import SipAddress
from sippy.SipConf import SipConf
from sippy.SipContact import SipContact
from sippy.SipTransactionManager import SipTransactionManager
from sippy.SipURL import SipURL
from sippy.UA import UA


class Silent:
    """Takes what sippy would log."""

    def write(self, *_: object, **__: object) -> None:
        """Nothing."""


class Call:
    """Two user agents, one for each side; what happens to one is told to the other."""

    def __init__(self, config: dict[str, Any], line: tuple[str, int]) -> None:
        self._config = config
        self._line = line
        self.caller = self._agent()
        self._callee: Any = None

    def _agent(self, target: tuple[str, int] | None = None) -> Any:
        agent = UA(self._config, event_cb=self._on_event, nh_address=target)
        # Without the name that sippy gives it: SIPp takes all of Contact for the address.
        host, port = self._config["_sip_address"], self._config["_sip_port"]
        agent.lContact = SipContact(address=SipAddress(url=SipURL(host=host, port=port)))
        return agent

    def _on_event(self, event: Any, agent: Any) -> None:
        if agent is not self.caller:
            self.caller.recvEvent(event)
            return
        if self._callee is None:
            if not isinstance(event, CCEventTry):
                self.caller.recvEvent(CCEventDisconnect())
                return
            self._callee = self._agent(self._line)
        self._callee.recvEvent(event)


class Switch:
    """Takes requests that belong to no dialog."""

    def __init__(self, own: tuple[str, int], line: tuple[str, int]) -> None:
        self._line = line
        self._config: dict[str, Any] = {"_sip_address": own[0], "_sip_port": own[1], "_sip_logger": Silent()}
        self._config["_sip_tm"] = SipTransactionManager(self._config, self._on_request)

    def _on_request(self, request: Any, transaction: Any) -> Any:
        if request.getHFBody("to").getTag() is not None:
            return request.genResponse(481, "Call Leg/Transaction Does Not Exist"), None, None
        match request.getMethod():
            case "INVITE":
                return Call(self._config, self._line).caller.recvRequest(request, transaction)
            case "OPTIONS":
                return request.genResponse(200, "OK"), None, None
        return request.genResponse(501, "Not Implemented"), None, None


def main() -> None:
    """Serve until killed."""
    own, line = (split(argument) for argument in sys.argv[1:3])
    SipConf.my_uaname = "b2bua"
    Switch(own, line)
    ED2.loop()


if __name__ == "__main__":
    main()
