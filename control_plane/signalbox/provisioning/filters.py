"""Filters of lists: a part of AIP-160. Pure.

::

    filter      = [ expression ]
    expression  = factor { "AND" factor }          OR binds closer than AND, as AIP-160 has it
    factor      = term { "OR" term }
    term        = [ "NOT" | "-" ] ( "(" expression ")" | comparison )
    comparison  = field operator value
    field       = name { "." name }
    operator    = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":"
    value       = text in "…" or '…' with \\ before a quote or a \\, or a bare word

Text may begin and end with ``*`` for anything (= and != only). Times are RFC 3339, enumerated values go by their names.
``:`` asks whether a repeated field has the value, and with ``*`` whether a field is set at all. A field that is not
set is as one with its empty value.
"""

from __future__ import annotations

import operator
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from google.protobuf.descriptor import FieldDescriptor

from signalbox.errors import FieldViolation, InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.descriptor import Descriptor

    Predicate = Callable[[Any], bool]

LENGTH_MAX = 2_000
DEPTH_MAX = 20

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<operator><=|>=|!=|=|<|>|:)|(?P<sign>[()])|(?P<minus>-(?=[(\w]))|(?P<word>[^\s"'()<>=!:]+))"""
)
_DIGITS = re.compile("[0-9]{1,20}")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TIMESTAMP = "google.protobuf.Timestamp"
_DURATION = "google.protobuf.Duration"
_INTEGERS = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)


def parse(text: str, of: Descriptor) -> Predicate:
    """What tells whether an object fits the filter; ``of`` describes the objects.

    Raises InvalidFieldError that says what is wrong and at which character, counted from 1.
    """
    if not text.strip():
        return lambda rule: True
    if len(text) > LENGTH_MAX:
        raise InvalidFieldError(FieldViolation("filter", f"must have at most {LENGTH_MAX} characters"))
    return _Parser(text, of).filter()


class _Parser:
    """Reads one filter from its beginning to its end."""

    def __init__(self, text: str, of: Descriptor) -> None:
        self._of = of
        self._tokens = list(_tokens(text))
        self._position = 0

    def filter(self) -> Predicate:
        """All of it."""
        found = self._expression(0)
        if self._kind() != "end":
            self._fail("AND, OR or the end")
        return found

    def _expression(self, depth: int) -> Predicate:
        parts = [self._factor(depth)]
        while self._takes("word", "AND"):
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else lambda rule: all(part(rule) for part in parts)

    def _factor(self, depth: int) -> Predicate:
        parts = [self._term(depth)]
        while self._takes("word", "OR"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else lambda rule: any(part(rule) for part in parts)

    def _term(self, depth: int) -> Predicate:
        if self._takes("word", "NOT") or self._takes("minus", "-"):
            denied = self._term_without_not(depth)
            return lambda rule: not denied(rule)
        return self._term_without_not(depth)

    def _term_without_not(self, depth: int) -> Predicate:
        if not self._takes("sign", "("):
            return self._comparison()
        if depth == DEPTH_MAX:
            self._fail(f"at most {DEPTH_MAX} parentheses in each other")
        found = self._expression(depth + 1)
        if not self._takes("sign", ")"):
            self._fail('")"')
        return found

    def _comparison(self) -> Predicate:
        if self._kind() != "word":
            self._fail("a field")
        path = self._field()
        self._position += 1
        if self._kind() != "operator":
            self._fail("an operator: = != < <= > >= :")
        sign = self._tokens[self._position][1]
        self._position += 1
        if self._kind() not in ("word", "text"):
            self._fail("a value")
        found = self._compare(path, sign, self._kind() == "text")
        self._position += 1
        return found

    def _field(self) -> list[FieldDescriptor]:
        path: list[FieldDescriptor] = []
        within: Descriptor | None = self._of
        for name in self._tokens[self._position][1].split("."):
            field = within.fields_by_name.get(name) if within else None
            if field is None or (path and path[-1].is_repeated):
                self._fail(f"a field of {self._of.name}")
            path.append(field)
            within = field.message_type
        return path

    def _compare(self, path: list[FieldDescriptor], sign: str, quoted: bool) -> Predicate:
        field, text = path[-1], self._tokens[self._position][1]
        if sign == ":" and text == "*" and not quoted:
            return lambda rule: _is_set(rule, path)
        if field.is_repeated is not (sign == ":"):
            self._fail(
                f'"{field.name}" with ":" and a value that it has' if field.is_repeated else f'"{field.name}" with ='
            )
        if sign in ("=", "!=") and field.cpp_type == FieldDescriptor.CPPTYPE_STRING and text.strip("*") != text:
            fits = _like(text)
            return lambda rule: fits(_value(rule, path)) is (sign == "=")
        wanted = self._constant(field, text)
        if sign == ":":
            return lambda rule: wanted in _value(rule, path)
        if sign not in ("=", "!=") and (field.enum_type or field.cpp_type == FieldDescriptor.CPPTYPE_BOOL):
            self._fail(f'"{field.name}" with = or !=')
        compare = _COMPARE[sign]
        return lambda rule: compare(_comparable(_value(rule, path)), wanted)

    def _constant(self, field: FieldDescriptor, text: str) -> Any:
        """The value of a field's type that is written so."""
        try:
            if field.enum_type:
                return field.enum_type.values_by_name[text].number
            if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
                return {"true": True, "false": False}[text]
            if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.type != FieldDescriptor.TYPE_BYTES:
                return text
            if field.cpp_type in _INTEGERS:
                return int(text) if _DIGITS.fullmatch(text) else self._fail(f'a value of "{field.name}"')
            if field.message_type and field.message_type.full_name == _TIMESTAMP:
                moment = datetime.fromisoformat(text)
                return round(moment.timestamp() * 1_000_000) * 1_000 if moment.tzinfo else self._fail("a time zone")
            if field.message_type and field.message_type.full_name == _DURATION and text.endswith("s"):
                return round(float(text[:-1]) * 1_000_000_000)
        except (KeyError, ValueError, OverflowError):
            names = f": one of {', '.join(field.enum_type.values_by_name)}" if field.enum_type else ""
            return self._fail(f'a value of "{field.name}"{names}')
        return self._fail(f'a value that "{field.name}" can be compared with')

    def _kind(self) -> str:
        return self._tokens[self._position][0]

    def _takes(self, kind: str, text: str) -> bool:
        if self._tokens[self._position][:2] != (kind, text):
            return False
        self._position += 1
        return True

    def _fail(self, wanted: str) -> NoReturn:
        _, found, at = self._tokens[self._position]
        raise _wrong(at, f"there must be {wanted}, not {found!r}" if found else f"there must be {wanted}")


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Kind, text and place of each token; at last one of kind "end"."""
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            rest = text[position:].lstrip()
            raise _wrong(len(text) - len(rest) + 1, f"{rest[0]!r} cannot be here")
        found = match[match.lastgroup]
        if match.lastgroup == "text":
            found = re.sub(r"\\(.)", r"\1", found[1:-1], flags=re.DOTALL)
        yield match.lastgroup, found, match.start(match.lastgroup) + 1
        position = match.end()
    yield "end", "", end + 1


def _wrong(at: int, reason: str) -> InvalidFieldError:
    return InvalidFieldError(FieldViolation("filter", f"at character {at}: {reason}"))


def _value(rule: Any, path: list[FieldDescriptor]) -> Any:
    for field in path:
        rule = getattr(rule, field.name)
    return rule


def _is_set(rule: Any, path: list[FieldDescriptor]) -> bool:
    return any(field.name == path[-1].name for field, _ in _value(rule, path[:-1]).ListFields())


def _comparable(value: Any) -> Any:
    """Times and durations as nanoseconds."""
    return value.ToNanoseconds() if hasattr(value, "ToNanoseconds") else value


def _like(pattern: str) -> Callable[[str], bool]:
    """Whether a text fits a pattern with ``*`` at its beginning, its end or both."""
    middle = pattern.strip("*")
    begins, ends = not pattern.startswith("*"), not pattern.endswith("*")
    if begins:
        return lambda text: text.startswith(middle)
    if ends:
        return lambda text: text.endswith(middle)
    return lambda text: middle in text
