"""Numbers as rows of a CSV file and back: what the columns mean. docs/bulk.md tells users the same.

A cell of ``lines`` has stages that are tried one after the other, apart by ``;``, and in a stage lines that ring
together, apart by ``|``. A line is the id of one that exists (``front-desk``), an address (``01088886666``,
``1001@192.0.2.7:5070/tcp``), or both (``front-desk:01088886666``). A line that has an address comes with the number;
one without an id gets an id that is made of the address, so that the same address is the same line.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalbox import address
from signalbox.api.provisioning.v1 import bulk_pb2
from signalbox.api.types.v1 import types_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LINES, RING_TIME, NUMBER, TENANT = "lines", "ring_time_s", "number", "tenant"
LINE, REASON = "line", "reason"
"""Columns of the file of refused rows: where a row stood, and what was wrong with it. Ignored in files to import."""

LINE_FIELDS = ("user", "host", "port", "transport")
"""What an address says of a line; the rest of a line that exists stays as it is."""

_TELEPHONE = re.compile(r"\+?[0-9]{3,20}")
_NAMED = re.compile(r"([a-z][a-z0-9-]{0,62}):(.+)")
_FORMULA = re.compile(r'="(.*)"|\'(\+?[0-9]+)')
"""How spreadsheets are made to keep digits as they are."""
_TRUE, _FALSE = {"true", "yes", "1", "是"}, {"false", "no", "0", "否"}
_TRANSPORTS = {"udp": types_pb2.SIP_TRANSPORT_UDP, "tcp": types_pb2.SIP_TRANSPORT_TCP}
_STATES = {"active": types_pb2.NUMBER_STATE_ACTIVE, "suspended": types_pb2.NUMBER_STATE_SUSPENDED}
_MEDIA = {
    "anchor": types_pb2.MEDIA_MODE_ANCHOR,
    "bypass": types_pb2.MEDIA_MODE_BYPASS,
    "record": types_pb2.MEDIA_MODE_RECORD,
}


class CellError(ValueError):
    """A cell cannot be what its column is."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"{column}: {reason}")
        self.column = column


@dataclass(frozen=True)
class _Column:
    """How one column is read and written, and the fields of a number that it gives."""

    fields: Sequence[str]
    read: Callable[[Any, str], None]
    write: Callable[[Any], str]


def _text(field: str) -> _Column:
    return _Column(
        [field], lambda number, cell: setattr(number, field, cell), lambda number: str(getattr(number, field))
    )


def _choice(field: str, values: Mapping[str, int]) -> _Column:
    names = {value: name for name, value in values.items()}

    def read(number: Any, cell: str) -> None:
        if cell.lower() not in values:
            *others, last = values
            raise ValueError(f"must be {', '.join(others)} or {last}")
        setattr(number, field, values[cell.lower()])

    return _Column([field], read, lambda number: names.get(getattr(number, field), ""))


def _limit(field: str) -> _Column:
    def read(number: Any, cell: str) -> None:
        setattr(number.limits, field, _whole(cell, 2**32 - 1))

    def write(number: Any) -> str:
        return str(getattr(number.limits, field)) if number.limits.HasField(field) else ""

    return _Column([f"limits.{field}"], read, write)


def _ids(field: str) -> _Column:
    def read(number: Any, cell: str) -> None:
        getattr(number.screening, field).extend(part.strip() for part in cell.split(";"))

    return _Column([f"screening.{field}"], read, lambda number: ";".join(getattr(number.screening, field)))


def _flag(field: str) -> _Column:
    def read(number: Any, cell: str) -> None:
        if cell.lower() not in _TRUE | _FALSE:
            raise ValueError("must be true or false")
        if cell.lower() in _TRUE:
            setattr(number.screening, field, True)

    return _Column([f"screening.{field}"], read, lambda number: "true" if getattr(number.screening, field) else "")


def _seconds(field: str) -> _Column:
    def read(number: Any, cell: str) -> None:
        getattr(number, field).seconds = _whole(cell, 2**31)

    def write(number: Any) -> str:
        return str(getattr(number, field).seconds) if number.HasField(field) else ""

    return _Column([field], read, write)


def _nothing(number: Any, cell: str) -> None:
    """Read with the whole row."""


COLUMNS: dict[str, _Column] = {
    NUMBER: _text("number"),
    TENANT: _text("tenant"),
    "state": _choice("state", _STATES),
    # What is dialled is one thing, whichever of the columns says it.
    LINES: _Column(["stages", "flow"], _nothing, lambda number: ""),
    RING_TIME: _Column([], _nothing, lambda number: ""),
    "flow": _Column(["stages", "flow"], *(_text("flow").read, _text("flow").write)),
    "over_limit_flow": _text("over_limit_flow"),
    "media": _choice("media", _MEDIA),
    "concurrent_calls": _limit("concurrent_calls"),
    "calls_per_second": _limit("calls_per_second"),
    "calls_per_month": _limit("calls_per_month"),
    "blacklists": _ids("blacklists"),
    "whitelists": _ids("whitelists"),
    "whitelist_only": _flag("whitelist_only"),
    "refuse_anonymous": _flag("refuse_anonymous"),
    "max_call_duration_s": _seconds("max_call_duration"),
}


class Header:
    """The columns that a file has."""

    def __init__(self, names: Sequence[str], tenant: str = "") -> None:
        """``tenant``: of all rows, for a file without that column. Raises ValueError with what is wrong, for people."""
        self.names = [name.strip().lower() for name in names]
        ignored = {LINE, REASON}
        unknown = [name for name in self.names if name not in COLUMNS and name not in ignored]
        if unknown:
            raise ValueError(f"unknown column {unknown[0]!r}; columns are {', '.join(COLUMNS)}")
        twice = [name for position, name in enumerate(self.names) if name in self.names[:position]]
        if twice:
            raise ValueError(f"column {twice[0]!r} is there twice")
        if NUMBER not in self.names:
            raise ValueError(f"no column {NUMBER!r}")
        if (TENANT in self.names) == bool(tenant):
            raise ValueError(
                "the tenant must be given: in a column, or for all rows"
                if not tenant
                else "the file has tenants itself"
            )
        if RING_TIME in self.names and LINES not in self.names:
            raise ValueError(f"column {RING_TIME!r} needs column {LINES!r}")
        self._tenant = tenant
        self._read = [(name, COLUMNS[name].read) for name in self.names if name in COLUMNS and name != RING_TIME]
        self._places = [position for position, name in enumerate(self.names) if name in COLUMNS and name != RING_TIME]
        self._lines = self.names.index(LINES) if LINES in self.names else None
        self._ring_time = self.names.index(RING_TIME) if RING_TIME in self.names else None

    @property
    def mask(self) -> list[str]:
        """The fields of numbers that rows give."""
        own = [field for name in self.names if name in COLUMNS for field in COLUMNS[name].fields]
        return [field for field in dict.fromkeys(own) if field not in (NUMBER, TENANT)]

    def row(self, cells: Sequence[str]) -> bulk_pb2.NumberRow:
        """The row of some cells. Raises CellError."""
        if len(cells) != len(self.names):
            raise CellError("", f"has {len(cells)} cells, the header {len(self.names)}")
        row = bulk_pb2.NumberRow()
        number = row.number
        number.tenant = self._tenant
        for place, (name, read) in zip(self._places, self._read, strict=True):
            cell = _plain(cells[place])
            if cell:
                try:
                    read(number, cell)
                except ValueError as error:
                    raise CellError(name, str(error)) from error
        if self._lines is not None:
            ring_time = _plain(cells[self._ring_time]) if self._ring_time is not None else ""
            _dial(row, _plain(cells[self._lines]), ring_time)
        return row


def cells(row: bulk_pb2.NumberRow) -> list[str]:
    """A row as the cells of all columns, in their order: read again they come to the same row."""
    made = {name: column.write(row.number) for name, column in COLUMNS.items()}
    lines = {line.id: line for line in row.lines}
    stages = row.number.stages
    made[LINES] = ";".join("|".join(_written(lines.get(id), id) for id in stage.lines) for stage in stages)
    times = [_time(stage.ring_time) if stage.HasField("ring_time") else "" for stage in stages]
    made[RING_TIME] = times[0] if len(set(times)) == 1 else ";".join(times)
    return list(made.values())


def column_of(field: str) -> str:
    """The column that a field of a row, as the service names it, came from."""
    if field.startswith(("lines", "number.stages")):
        return RING_TIME if field.endswith("ring_time") else LINES
    name = field.removeprefix("number.").removeprefix("limits.").removeprefix("screening.").partition("[")[0]
    return "max_call_duration_s" if name == "max_call_duration" else name


def line_id(line: types_pb2.Line) -> str:
    """The id of a line that is known by its address alone."""
    if not line.host:
        return f"p{line.user[1:]}" if line.user.startswith("+") else f"t{line.user}"
    text = _address(line)
    readable = re.sub(r"[^a-z0-9-]+", "-", line.user.lower())[:40]
    return f"s-{readable}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _dial(row: bulk_pb2.NumberRow, cell: str, ring_time: str) -> None:
    """What the cells ``lines`` and ``ring_time_s`` say."""
    if not cell:
        if ring_time:
            raise CellError(RING_TIME, "there are no lines to ring")
        return
    stages = cell.split(";")
    times = ring_time.split(";") if ring_time else [""]
    if len(times) not in (1, len(stages)):
        raise CellError(RING_TIME, f"has {len(times)} times for {len(stages)} stages")
    for position, text in enumerate(stages):
        stage = row.number.stages.add()
        time = times[position if len(times) > 1 else 0].strip()
        if time:
            try:
                stage.ring_time.FromMilliseconds(_milliseconds(time))
            except ValueError as error:
                raise CellError(RING_TIME, str(error)) from error
        for part in text.split("|"):
            try:
                stage.lines.append(_line(row, part.strip()))
            except ValueError as error:
                raise CellError(LINES, f"{part.strip()!r} {error}") from error


def _line(row: bulk_pb2.NumberRow, text: str) -> str:
    """The id of a line; one with an address is added to the row. Raises ValueError."""
    if not text:
        raise ValueError("is no line")
    named = _NAMED.fullmatch(text)
    given = named[2] if named else text
    if not named and "@" not in given and not _TELEPHONE.fullmatch(given):
        return given
    line = _addressed(given)
    line.id = named[1] if named else line_id(line)
    known = next((one for one in row.lines if one.id == line.id), None)
    if known is None:
        row.lines.append(line)
    elif known != line:
        raise ValueError(f"is another address of line {line.id}")
    return line.id


def _addressed(text: str) -> types_pb2.Line:
    """A line of an address: digits, or user@host:port/transport. Raises ValueError."""
    if "@" not in text:
        return types_pb2.Line(user=text)
    user, _, rest = text.partition("@")
    place, _, transport = rest.partition("/")
    line = types_pb2.Line(user=user)
    if transport:
        if transport.lower() not in _TRANSPORTS:
            raise ValueError("must end in /udp or /tcp")
        line.transport = _TRANSPORTS[transport.lower()]
    bare = place.removeprefix("[").removesuffix("]")
    if ":" not in place or (place != bare and place.endswith("]")):
        line.host = bare
    else:
        line.host, line.port = address.split(place)
    return line


def _written(line: types_pb2.Line | None, id: str) -> str:
    """A line as a cell has it; None: nothing is known but its id."""
    if line is None:
        return id
    return _address(line) if line_id(line) == id else f"{id}:{_address(line)}"


def _address(line: types_pb2.Line) -> str:
    if not line.host:
        return line.user
    host = address.bracketed(line.host)
    port = f":{line.port}" if line.port else ""
    names = {value: name for name, value in _TRANSPORTS.items()}
    transport = f"/{names[line.transport]}" if line.transport in names else ""
    return f"{line.user}@{host}{port}{transport}"


def _plain(cell: str) -> str:
    """A cell without what only a spreadsheet needs."""
    cell = cell.strip()
    match = _FORMULA.fullmatch(cell) if cell[:1] in ("=", "'") else None
    return (match[1] or match[2] or "").strip() if match else cell


def _whole(cell: str, most: int) -> int:
    if not (cell.isascii() and cell.isdigit()) or int(cell) > most:
        raise ValueError(f"must be a whole number, 0 to {most}")
    return int(cell)


def _milliseconds(cell: str) -> int:
    """Seconds with up to three decimals."""
    match = re.fullmatch(r"([0-9]{1,6})(?:\.([0-9]{1,3}))?", cell)
    if match is None:
        raise ValueError("must be seconds, with at most three decimals")
    return int(match[1]) * 1000 + int((match[2] or "0").ljust(3, "0"))


def _time(duration: Any) -> str:
    seconds, milliseconds = divmod(duration.ToMilliseconds(), 1000)
    return f"{seconds}.{milliseconds:03d}".rstrip("0") if milliseconds else str(seconds)
