"""Requests and responses (RFC 3261 section 7): header fields as text, and as values when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from signalbox.sip import grammar, usual
from signalbox.sip.errors import MessageError
from signalbox.sip.headers import CSeq, NameAddr, Via, split_values
from signalbox.sip.names import REASONS, canonical
from signalbox.sip.uri import Uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")

MAX_FORWARDS = 255
DIALOG_METHODS = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
"""Methods whose responses make dialogs, and so carry Record-Route (section 12.1.1; RFC 6665, RFC 3515)."""
ANSWERED_BY = ("Via", "From", "To", "Call-ID", "CSeq")
"""Header fields that every message has and a response takes from its request (sections 8.1.1, 8.2.6.2)."""


class Headers:
    """Header fields in order: fields of one name together, names in the order of their first field.

    The order of fields of different names means nothing (section 7.3.1). Names in any capitals and in compact form
    are the same name. Raises MessageError for a name that is no token and for a value with a line break.
    """

    __slots__ = ("_fields", "_typed")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: dict[str, list[str]] = {}
        self._typed: dict[str, Any] = {}
        for name, value in fields:
            self.add(name, value)

    @classmethod
    def of(cls, fields: dict[str, list[str]]) -> Headers:
        """Of lines by canonical name, as the parser reads them. The dictionary is kept."""
        headers = cls.__new__(cls)
        headers._fields, headers._typed = fields, {}
        return headers

    def get(self, name: str) -> str | None:
        """The first field of the name, as written."""
        lines = self._fields.get(canonical(name))
        return lines[0] if lines else None

    def all(self, name: str) -> list[str]:
        """All fields of the name, one text for each line."""
        return list(self._fields.get(canonical(name), ()))

    def values(self, name: str) -> list[str]:
        """The values of all fields of the name, which commas separate. Raises MessageError for an unclosed quote."""
        name = canonical(name)
        return [value for line in self._fields.get(name, ()) if line for value in split_values(line, name)]

    def set(self, name: str, value: str) -> None:
        """This one field instead of all of that name."""
        name = canonical(name)
        self._fields[name] = [_line(name, value)]
        self._typed.pop(name, None)

    def add(self, name: str, value: str) -> None:
        """One more, after those of that name."""
        name = canonical(name)
        self._fields.setdefault(name, []).append(_line(name, value))
        self._typed.pop(name, None)

    def prepend(self, name: str, value: str) -> None:
        """One more, before those of that name, or before all if there are none."""
        name = canonical(name)
        line = _line(name, value)
        if name in self._fields:
            self._fields[name].insert(0, line)
        else:
            self._fields = {name: [line], **self._fields}
        self._typed.pop(name, None)

    def remove(self, name: str) -> None:
        """All of that name, if there are any."""
        name = canonical(name)
        self._fields.pop(name, None)
        self._typed.pop(name, None)

    def copy(self) -> Headers:
        """Another one with the same fields."""
        return Headers.of({name: list(lines) for name, lines in self._fields.items()})

    def lines(self, name: str) -> Sequence[str]:
        """As :meth:`all`, the list itself: not to be changed. ``name``: in its usual capitals."""
        return self._fields.get(name, ())

    def line(self, name: str) -> str:
        """The text of a field that is there once. ``name``: in its usual capitals."""
        try:
            (line,) = self._fields[name]
        except KeyError:
            raise MessageError(name, "is missing") from None
        except ValueError:
            raise MessageError(name, "is there more than once") from None
        return line

    def one(self, name: str, parse: Callable[[str, str], T]) -> T:
        """The value of a field that is there once, parsed once: ``parse`` is to be the same each time."""
        typed = self._typed.get(name)
        if typed is None:
            typed = self._typed[name] = parse(self.line(name), name)
        return typed

    def many(self, name: str, parse: Callable[[str, str], T]) -> list[T]:
        """The values of a field that may be there often, parsed once, as by :meth:`one`."""
        typed = self._typed.get(name)
        if typed is None:
            lines = self._fields.get(name, ())
            typed = self._typed[name] = [parse(value, name) for line in lines for value in _values(line, name)]
        return typed

    def first(self, name: str, parse: Callable[[str, str], T]) -> T:
        """The first value of a field that may be there often, parsed once. Not for a name that ``many`` is for."""
        typed = self._typed.get(name)
        if typed is None:
            lines = self._fields.get(name)
            if not lines:
                raise MessageError(name, "is missing")
            text = split_values(lines[0], name)[0] if "," in lines[0] else lines[0]
            typed = self._typed[name] = parse(text, name)
        return typed

    def names(self) -> Iterable[str]:
        """Every name once, in its usual capitals."""
        return self._fields.keys()

    def __contains__(self, name: str) -> bool:
        return canonical(name) in self._fields

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for name, lines in self._fields.items():
            for line in lines:
                yield name, line

    def __eq__(self, other: object) -> bool:
        return self._fields == other._fields if isinstance(other, Headers) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({list(self)!r})"


class Message(ABC):
    """What requests and responses share. Properties raise MessageError for what is missing or malformed."""

    __slots__ = ("body", "headers")

    headers: Headers
    body: bytes

    @abstractmethod
    def start_line(self) -> str:
        """The first line as it is sent."""

    @property
    def via(self) -> Via:
        """The topmost: who sent the message to us, or for a response, we ourselves."""
        return self.headers._typed.get("Via") or self.headers.first("Via", Via.parse)

    @property
    def vias(self) -> list[Via]:
        """All, parsed each time that they are asked for."""
        values = [value for line in self.headers.lines("Via") for value in _values(line, "Via")]
        return [self.via, *[Via.parse(value, "Via") for value in values[1:]]]

    def replace_top_via(self, via: Via) -> None:
        """Another topmost value, as with ``received`` and ``rport`` (RFC 3581); the others stay as they are."""
        lines = self.headers._fields["Via"]
        others = split_values(lines[0], "Via")[1:] if "," in lines[0] else ()
        lines[0] = _line("Via", ", ".join([str(via), *others]) if others else str(via))
        self.headers._typed["Via"] = via

    @property
    def from_(self) -> NameAddr:
        return self.headers.one("From", NameAddr.parse)

    @property
    def to(self) -> NameAddr:
        return self.headers.one("To", NameAddr.parse)

    @property
    def from_tag(self) -> str:
        """The tag of From, empty if there is none, which RFC 2543 allowed."""
        tag = usual.tag(self.headers.line("From"))
        return self.from_.tag if tag is None else tag

    @property
    def to_tag(self) -> str:
        """As :attr:`from_tag`, of To."""
        tag = usual.tag(self.headers.line("To"))
        return self.to.tag if tag is None else tag

    @property
    def cseq(self) -> CSeq:
        return self.headers._typed.get("CSeq") or self.headers.one("CSeq", CSeq.parse)

    @property
    def call_id(self) -> str:
        return self.headers._typed.get("Call-ID") or self.headers.one("Call-ID", _call_id)

    @property
    def contacts(self) -> list[NameAddr]:
        """Empty for the ``*`` of a REGISTER, too."""
        if self.headers.get("Contact") == "*":
            return []
        return self.headers.many("Contact", NameAddr.parse)

    @property
    def contact(self) -> NameAddr | None:
        """The first."""
        contacts = self.contacts
        return contacts[0] if contacts else None

    @property
    def routes(self) -> list[NameAddr]:
        return self.headers.many("Route", NameAddr.parse)

    @property
    def record_routes(self) -> list[NameAddr]:
        return self.headers.many("Record-Route", NameAddr.parse)

    def encode(self) -> bytes:
        """As it is sent. Content-Length tells the length of the body, whatever it said before."""
        fields = self.headers._fields.items()
        lines = [f"{name}: {value}\r\n" for name, values in fields if name != "Content-Length" for value in values]
        head = f"{self.start_line()}\r\n{''.join(lines)}Content-Length: {len(self.body)}\r\n\r\n"
        return head.encode(errors="replace") + self.body

    def __eq__(self, other: object) -> bool:
        """Whether both are sent alike."""
        return self.encode() == other.encode() if isinstance(other, Message) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


class Request(Message):
    """A request. ``uri``: the Request-URI as text; ``target`` is its value."""

    __slots__ = ("_target", "method", "uri")

    def __init__(self, method: str, uri: str, headers: Headers, body: bytes = b"") -> None:
        self.method = method
        self.uri = uri
        self.headers = headers
        self.body = body
        self._target: tuple[str, Uri] | None = None

    def start_line(self) -> str:
        return f"{self.method} {_line('Request-URI', self.uri)} SIP/2.0"

    @property
    def target(self) -> Uri:
        """The value of the Request-URI."""
        if self._target is None or self._target[0] is not self.uri:
            self._target = (self.uri, Uri.parse(self.uri, "Request-URI"))
        return self._target[1]

    @property
    def max_forwards(self) -> int | None:
        """How many hops are left, 0 to 255; None if it is not told, which RFC 2543 allowed."""
        return self.headers.one("Max-Forwards", max_forwards) if "Max-Forwards" in self.headers else None

    @property
    def answerable(self) -> bool:
        """Whether a response can be made: not for an ACK, nor without the fields that a response takes from it."""
        return self.method != "ACK" and all(name in self.headers for name in ANSWERED_BY)

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {self.uri!r}, {self.headers!r}, {self.body!r})"


class Response(Message):
    """A response: ``status`` from 100 to 699 and the reason phrase, which may be empty."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str, headers: Headers, body: bytes = b"") -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body

    def start_line(self) -> str:
        return f"SIP/2.0 {self.status} {_line('Status-Line', self.reason)}"

    def __repr__(self) -> str:
        return f"Response({self.status!r}, {self.reason!r}, {self.headers!r}, {self.body!r})"


def response(
    request: Request,
    status: int,
    reason: str = "",
    *,
    tag: str = "",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """The answer to a request (RFC 3261 section 8.2.6), with its usual reason phrase unless one is given.

    Copies what must be copied, as it was written; ``tag`` goes to To if it has none. ``headers`` are added. The
    request may be one that is refused for a malformed field, if it is answerable.
    """
    of = request.headers._fields
    fields = {
        "Via": list(of["Via"]),
        "From": of["From"][:1],
        "To": [f"{of['To'][0]};tag={tag}"] if tag and not _tagged(request) else of["To"][:1],
        "Call-ID": of["Call-ID"][:1],
        "CSeq": of["CSeq"][:1],
    }
    if 100 < status < 300 and "Record-Route" in of and request.method in DIALOG_METHODS:
        fields["Record-Route"] = list(of["Record-Route"])
    if status == 100 and "Timestamp" in of:
        fields["Timestamp"] = list(of["Timestamp"])
    made = Headers.of(fields)
    for name, value in headers:
        made.add(name, value)
    return Response(status, reason or REASONS.get(status, ""), made, body)


def _tagged(request: Request) -> bool:
    """Whether To has a tag, be it an empty one."""
    if request.headers.lines("To")[0].endswith(">"):
        return False
    try:
        return "tag" in request.to.params
    except MessageError:
        return False


def _call_id(text: str, field: str) -> str:
    """Wider than the grammar: whatever is visible in ASCII and no comma, for nothing is made of it but comparisons."""
    if not text or not text.isascii() or not text.isprintable() or " " in text or "," in text:
        raise MessageError(field, "must be one word")
    return text


def max_forwards(text: str, field: str) -> int:
    """The value of Max-Forwards (section 20.22)."""
    return grammar.number(text, field, MAX_FORWARDS)


def _values(line: str, name: str) -> list[str]:
    return split_values(line, name) if "," in line else [line]


def _line(name: str, text: str) -> str:
    if "\n" in text or "\r" in text:
        raise MessageError(name, "has a line break")
    return text
