"""Numbers, lines and pages of screening lists as short records: what decisions need of them, and not what their keys
say already.

A tenant, a flow and a list are named by a *word*: a number that stands for the id, a byte or a few. Line ids and
telephone numbers are packed, 6 bits a character and 4 bits a digit, so that keys stay in the order of the text:
LMDB keeps neighbours of a page together then. The first byte of a record says which parts follow.

A page of a screening list has its codes as integers of the machine, so that it is searched where it lies.
"""

from __future__ import annotations

import binascii
import string
import struct
from functools import lru_cache
from socket import AF_INET, inet_ntop, inet_pton
from typing import TYPE_CHECKING

from signalbox.domain.objects import (
    DEFAULT_DURATION_S,
    DEFAULT_RING_MS,
    DEFAULT_SIP_PORT,
    NO_SCREENING,
    NUMBER_LIMITS,
    DialStage,
    Limits,
    Line,
    MediaMode,
    Number,
    Transport,
)
from signalbox.domain.screening import Page, ScreeningRules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    ToWord = Callable[[str], bytes]
    """The word that stands for a text, as :func:`integer` writes it."""
    FromWord = Callable[[bytes], str]

VERSION = 3
"""Of the records' form: to be raised with every change to it."""

_SUSPENDED, _BYPASS, _FLOW, _RULES, _STAGES, _ONE_LINE, _RECORD = (1 << bit for bit in range(7))
_MEDIA = {MediaMode.ANCHOR: 0, MediaMode.BYPASS: _BYPASS, MediaMode.RECORD: _RECORD}
_WHITELIST_ONLY, _REFUSE_ANONYMOUS, _LISTS, _LIMITS, _OVER_LIMIT, _DURATION = (1 << bit for bit in range(6))
_WORD = struct.Struct("=Q")
_TCP, _REMOVE_IDENTITY, _PORT, _CALLS, _IPV4, _HOST, _TELEPHONE, _AGENT = (1 << bit for bit in range(8))

# Ids have a-z, 0-9 and "-". In base64's alphabet these become the characters of 1 to 37, so that their order stays and
# 0 is the end.
_ID_CHARACTERS = "-" + string.digits + string.ascii_lowercase
_BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
_TO_BASE64 = str.maketrans(_ID_CHARACTERS, _BASE64[1 : 1 + len(_ID_CHARACTERS)])
_FROM_BASE64 = bytes.maketrans(_BASE64[1 : 1 + len(_ID_CHARACTERS)].encode(), _ID_CHARACTERS.encode())
_PADDING = ("", "AAA", "AA", "A")
_ID_LETTERS = frozenset(_ID_CHARACTERS)

_PLUS_AND_DIGITS = string.digits + "+"
_TO_HEX = str.maketrans(_PLUS_AND_DIGITS, "123456789ab")
_FROM_HEX = str.maketrans("123456789ab", _PLUS_AND_DIGITS)
_TELEPHONE_LETTERS = frozenset(_PLUS_AND_DIGITS)


def integer(value: int) -> bytes:
    """A number from 0 to 2**35 - 1 in 1 to 5 bytes, in the order of the numbers; none is the beginning of another."""
    if value < 1 << 7:
        return bytes((value,))
    if value < 1 << 14:
        return (value | 0x8000).to_bytes(2)
    if value < 1 << 21:
        return (value | 0xC0_0000).to_bytes(3)
    if value < 1 << 28:
        return (value | 0xE000_0000).to_bytes(4)
    if value < 1 << 35:
        return (value | 0xF0_0000_0000).to_bytes(5)
    raise ValueError(f"{value} is too large for a record")


def number_key(digits: str) -> bytes:
    """The key of a number in national form: the last two digits and all of them, as its key in the store has it.

    Raises ValueError for what is no number of digits.
    """
    return digits_key(digits[-2:] + digits)


def digits_key(text: str) -> bytes:
    """Digits in 4 bits each, in their order. Raises ValueError for anything else."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no number of digits")
    return _pack_telephone(text)


def number_of(key: bytes) -> str:
    """The number of a key."""
    return _unpack_telephone(key)[2:]


def line_key(tenant: bytes, id: str) -> bytes:
    """The key of a line; ``tenant`` is its tenant's word. Raises ValueError for what is no id."""
    return tenant + pack_id(id)


def line_of(tenant: bytes, key: bytes) -> str:
    """The id of the line of a key."""
    return unpack_id(key[len(tenant) :])


def encode_number(number: Number, word: ToWord) -> bytes:
    """A number's record. Raises ValueError for what does not fit: an integer of 2**35 or more."""
    flags = _SUSPENDED * number.suspended | _MEDIA[number.media]
    parts = [b"", word(number.tenant)]
    if number.flow:
        flags |= _FLOW
        parts.append(word(number.flow))
    rules = _encode_rules(number, word)
    if rules:
        flags |= _RULES
        parts.append(rules)
    one = _only_line(number.stages)
    if one is not None:
        flags |= _ONE_LINE
        parts.append(pack_id(one))
    elif number.stages:
        flags |= _STAGES
        parts += map(_encode_stage, number.stages)
    parts[0] = bytes((flags,))
    return b"".join(parts)


def decode_number(digits: str, record: bytes, text: FromWord) -> Number:
    """The number of a record. Raises ValueError or IndexError for what is no record."""
    flags = record[0]
    tenant, at = _word(record, 1, text)
    flow = ""
    if flags & _FLOW:
        flow, at = _word(record, at, text)
    screening, limits, over_limit_flow, duration_s = NO_SCREENING, NUMBER_LIMITS, "", DEFAULT_DURATION_S
    if flags & _RULES:
        screening, limits, over_limit_flow, duration_s, at = _decode_rules(record, at, text)
    stages: tuple[DialStage, ...] = ()
    if flags & _ONE_LINE:
        stages = (DialStage((unpack_id(record[at:]),)),)
    elif flags & _STAGES:
        stages = _decode_stages(record, at)
    return Number(
        digits,
        tenant,
        stages,
        bool(flags & _SUSPENDED),
        MediaMode.BYPASS if flags & _BYPASS else MediaMode.RECORD if flags & _RECORD else MediaMode.ANCHOR,
        flow,
        screening,
        limits,
        over_limit_flow,
        duration_s,
    )


def encode_line(line: Line) -> bytes:
    """A line's record."""
    flags = _TCP * (line.transport is Transport.TCP) | _REMOVE_IDENTITY * line.remove_identity
    parts = [b""]
    if line.port != DEFAULT_SIP_PORT:
        flags |= _PORT
        parts.append(integer(line.port))
    if line.concurrent_calls:
        flags |= _CALLS
        parts.append(integer(line.concurrent_calls))
    if line.agent_number:
        flags |= _AGENT
        parts.append(_sized(line.agent_number.encode()))
    if line.host:
        packed = _pack_ipv4(line.host)
        flags |= _IPV4 if packed else _HOST
        parts.append(packed or _sized(line.host.encode()))
    if line.user and _TELEPHONE_LETTERS.issuperset(line.user):
        flags |= _TELEPHONE
        parts.append(_pack_telephone(line.user))
    else:
        parts.append(line.user.encode())
    parts[0] = bytes((flags,))
    return b"".join(parts)


def decode_line(tenant: str, id: str, record: bytes) -> Line:
    """The line of a record. Raises ValueError or IndexError for what is no record."""
    flags, at = record[0], 1
    port, calls, agent, host = DEFAULT_SIP_PORT, 0, b"", ""
    if flags & _PORT:
        port, at = _integer(record, at)
    if flags & _CALLS:
        calls, at = _integer(record, at)
    if flags & _AGENT:
        agent, at = _bytes(record, at)
    if flags & _IPV4:
        host, at = inet_ntop(AF_INET, record[at : at + 4]), at + 4
    elif flags & _HOST:
        raw, at = _bytes(record, at)
        host = raw.decode()
    user = _unpack_telephone(record[at:]) if flags & _TELEPHONE else record[at:].decode()
    transport = Transport.TCP if flags & _TCP else Transport.UDP
    return Line(tenant, id, user, host, port, transport, bool(flags & _REMOVE_IDENTITY), calls, agent.decode())


def encode_screening_page(page: Page) -> bytes:
    """A page's record: in words of 8 bytes where the codes begin, the texts, and the codes."""
    texts = b"".join(_sized(text.encode()) for text in sorted(page.texts))
    # No text is empty, so that a zero is the end.
    texts += bytes(-len(texts) % _WORD.size)
    return b"".join([_WORD.pack(1 + len(texts) // _WORD.size), texts, page.codes.tobytes()])


def decode_screening_page(record: memoryview) -> Page:
    """The page of a record, its codes where they lie. Raises ValueError, IndexError or TypeError for what is no
    record."""
    words = record.cast("Q")
    begin = words[0]
    if not 1 <= begin <= len(words):
        raise ValueError(f"codes from {begin} on in {len(words)}")
    if begin == 1:
        return Page(words[1:])
    return Page(words[begin:], frozenset(_texts(bytes(record[_WORD.size : begin * _WORD.size]))))


def _texts(record: bytes) -> Iterator[str]:
    at = 0
    while at < len(record) and record[at]:
        text, at = _bytes(record, at)
        yield text.decode()


def pack_id(id: str) -> bytes:
    """An id in 6 bits a character, in the order of the ids. Raises ValueError for other characters."""
    if not is_id(id):
        raise ValueError(f"{id!r} is no id")
    return binascii.a2b_base64(id.translate(_TO_BASE64) + _PADDING[len(id) % 4]).rstrip(b"\0")


def unpack_id(packed: bytes) -> str:
    """The id that was packed."""
    text = binascii.b2a_base64(packed, newline=False).rstrip(b"A=")
    return text.translate(_FROM_BASE64).decode()


def is_id(id: str) -> bool:
    """True if it has no other characters than ids have."""
    return _ID_LETTERS.issuperset(id)


def _pack_telephone(text: str) -> bytes:
    """Digits and pluses in 4 bits each, in the order of the digits."""
    return bytes.fromhex(text.translate(_TO_HEX) + "0" * (len(text) % 2))


def _unpack_telephone(packed: bytes) -> str:
    return packed.hex().rstrip("0").translate(_FROM_HEX)


def _pack_ipv4(host: str) -> bytes:
    """Four bytes; none if it is no IPv4 address."""
    try:
        return inet_pton(AF_INET, host)
    except (OSError, ValueError):
        return b""


def _encode_rules(number: Number, word: ToWord) -> bytes:
    """What most numbers have nothing of: who may call, limits and the longest call. Empty: nothing."""
    screening = number.screening
    bits = _WHITELIST_ONLY * screening.whitelist_only | _REFUSE_ANONYMOUS * screening.refuse_anonymous
    parts = [b""]
    if screening.blacklists or screening.whitelists:
        bits |= _LISTS
        for lists in (screening.blacklists, screening.whitelists):
            parts.append(integer(len(lists)))
            parts += map(word, lists)
    if number.limits != NUMBER_LIMITS:
        bits |= _LIMITS
        limits = number.limits
        for limit in (limits.concurrent_calls, limits.calls_per_second, limits.calls_per_month):
            parts.append(integer(0 if limit is None else limit + 1))
    if number.over_limit_flow:
        bits |= _OVER_LIMIT
        parts.append(word(number.over_limit_flow))
    if number.max_duration_s != DEFAULT_DURATION_S:
        bits |= _DURATION
        parts.append(integer(number.max_duration_s))
    parts[0] = bytes((bits,))
    return b"".join(parts) if bits else b""


def _decode_rules(record: bytes, at: int, text: FromWord) -> tuple[ScreeningRules, Limits, str, int, int]:
    bits, at = record[at], at + 1
    lists: list[tuple[str, ...]] = [(), ()]
    if bits & _LISTS:
        for kind in range(2):
            count, at = _integer(record, at)
            ids = []
            for _ in range(count):
                id, at = _word(record, at, text)
                ids.append(id)
            lists[kind] = tuple(ids)
    limits, over_limit_flow, duration_s = NUMBER_LIMITS, "", DEFAULT_DURATION_S
    if bits & _LIMITS:
        values = []
        for _ in range(3):
            value, at = _integer(record, at)
            values.append(value - 1 if value else None)
        limits = _shared_limits(*values)
    if bits & _OVER_LIMIT:
        over_limit_flow, at = _word(record, at, text)
    if bits & _DURATION:
        duration_s, at = _integer(record, at)
    screening = ScreeningRules(lists[0], lists[1], bool(bits & _WHITELIST_ONLY), bool(bits & _REFUSE_ANONYMOUS))
    return screening, limits, over_limit_flow, duration_s, at


@lru_cache(maxsize=4_096)
def _shared_limits(calls: int | None, second: int | None, month: int | None) -> Limits:
    """Many numbers have equal limits: one object serves them all."""
    return Limits(calls, second, month)


def _only_line(stages: tuple[DialStage, ...]) -> str | None:
    """The line, if there is but one and it rings as long as lines do if nothing is said of it."""
    if len(stages) != 1 or len(stages[0].lines) != 1 or stages[0].ring_time_ms != DEFAULT_RING_MS:
        return None
    return stages[0].lines[0] if is_id(stages[0].lines[0]) else None


def _encode_stage(stage: DialStage) -> bytes:
    ring = 0 if stage.ring_time_ms == DEFAULT_RING_MS else stage.ring_time_ms + 1
    return b"".join([integer(ring), integer(len(stage.lines)), *(_sized(id.encode()) for id in stage.lines)])


def _decode_stages(record: bytes, at: int) -> tuple[DialStage, ...]:
    stages = []
    while at < len(record):
        ring, at = _integer(record, at)
        count, at = _integer(record, at)
        lines = []
        for _ in range(count):
            id, at = _bytes(record, at)
            lines.append(id.decode())
        stages.append(DialStage(tuple(lines), ring - 1 if ring else DEFAULT_RING_MS))
    return tuple(stages)


def _sized(content: bytes) -> bytes:
    return integer(len(content)) + content


def _bytes(record: bytes, at: int) -> tuple[bytes, int]:
    size, at = _integer(record, at)
    return record[at : at + size], at + size


def _word(record: bytes, at: int, text: FromWord) -> tuple[str, int]:
    end = at + _width(record[at])
    return text(record[at:end]), end


def _integer(record: bytes, at: int) -> tuple[int, int]:
    width = _width(record[at])
    if width == 1:
        return record[at], at + 1
    marked = int.from_bytes(record[at : at + width])
    return marked & (1 << 7 * width) - 1, at + width


def _width(first: int) -> int:
    return 1 if first < 0x80 else 2 if first < 0xC0 else 3 if first < 0xE0 else 4 if first < 0xF0 else 5
