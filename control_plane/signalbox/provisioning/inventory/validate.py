"""What valid requests to the inventory are, apart from what is stored. Pure: no store, no clock.

Each function yields every offending field with its path in the request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from signalbox.domain.numberpattern import Pattern, PatternError, parse
from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.provisioning import taking, validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.duration_pb2 import Duration

    from signalbox.api.types.v1 import inventory_pb2

RANGE_NUMBERS_MAX = 10_000_000
ALL_NUMBERS_MAX = 20_000_000
RANGES_MAX = 1_000
CLASSES_MAX = 100
CLASS_PATTERNS_MAX = 16
CONTRACT_MONTHS_MAX = 120
SPEND_MAX = 10**15
DOCUMENTS_MAX = 10
DOCUMENT_BYTES_MAX = 20 * 1024 * 1024
MEDIA_TYPES = ("application/pdf", "image/jpeg", "image/png")
TEXT_MAX = 500
FILE_NAME_MAX = 200

MINUTE_S = 60
RESERVATION_DEFAULT_S = 72 * 3600
RESERVATION_MAX_S = 90 * 24 * 3600
QUARANTINE_DEFAULT_S = 180 * 24 * 3600
QUARANTINE_MAX_S = 3650 * 24 * 3600

_NUMBER = re.compile(r"[0-9]{5,15}")
_DOCUMENT = re.compile(r"[0-9a-f]{32}")
_CURRENCY = re.compile(r"[A-Z]{3}")


def number(value: str) -> Iterator[FieldViolation]:
    """A number as a request names it."""
    if not _NUMBER.fullmatch(value):
        yield FieldViolation("number", "must be 5 to 15 digits")


def number_range(message: inventory_pb2.NumberRange) -> Iterator[FieldViolation]:
    """A range as a request's field ``number_range``. Other ranges are not looked at."""
    yield from validate.identifier(message.id, "number_range.id")
    yield from validate.display_name(message.display_name, "number_range.display_name")
    ends = {"first": message.first, "last": message.last}
    bad = [name for name, digits in ends.items() if not _NUMBER.fullmatch(digits)]
    yield from (FieldViolation(f"number_range.{name}", "must be 5 to 15 digits") for name in bad)
    if not bad:
        if len(message.first) != len(message.last) or message.first > message.last:
            yield FieldViolation("number_range.last", "must have as many digits as first, and not be below it")
        elif size(message) > RANGE_NUMBERS_MAX:
            yield FieldViolation("number_range.last", f"makes a range of more than {RANGE_NUMBERS_MAX} numbers")
    if message.number_class:
        yield from validate.identifier(message.number_class, "number_range.number_class")
    if message.HasField("reservation"):
        yield from duration(message.reservation, RESERVATION_MAX_S, "number_range.reservation")
    if message.HasField("quarantine"):
        yield from duration(message.quarantine, QUARANTINE_MAX_S, "number_range.quarantine")


def number_class(message: inventory_pb2.NumberClass) -> Iterator[FieldViolation]:
    """A class as a request's field ``number_class``. Other classes are not looked at."""
    yield from validate.identifier(message.id, "number_class.id")
    yield from validate.display_name(message.display_name, "number_class.display_name")
    if len(message.patterns) > CLASS_PATTERNS_MAX:
        yield FieldViolation("number_class.patterns", f"must have at most {CLASS_PATTERNS_MAX} entries")
    for position, text in enumerate(message.patterns):
        path = f"number_class.patterns[{position}]"
        try:
            if parse(text) == Pattern():
                yield FieldViolation(path, "is required")
        except PatternError as error:
            yield FieldViolation(path, str(error))
    if message.minimum_spend > SPEND_MAX:
        yield FieldViolation("number_class.minimum_spend", f"must be at most {SPEND_MAX}")
    if (message.currency or message.minimum_spend) and not _CURRENCY.fullmatch(message.currency):
        yield FieldViolation("number_class.currency", 'must be an ISO 4217 code, e.g. "CNY"')
    if message.contract_months > CONTRACT_MONTHS_MAX:
        yield FieldViolation("number_class.contract_months", f"must be at most {CONTRACT_MONTHS_MAX}")


def documents(given: Sequence[inventory_pb2.NumberDocument]) -> Iterator[FieldViolation]:
    """The documents of an application. Whether they are those that are needed is the transition's to say."""
    if len(given) > DOCUMENTS_MAX:
        yield FieldViolation("documents", f"must have at most {DOCUMENTS_MAX} entries")
    named = [document.id for document in given if document.id]
    for position, document in enumerate(given):
        path = f"documents[{position}]"
        yield from validate.enums(document, path)
        if document.id:
            if named.count(document.id) > 1:
                yield FieldViolation(f"{path}.id", "is named twice")
            elif not _DOCUMENT.fullmatch(document.id):
                yield FieldViolation(f"{path}.id", "must be 32 hexadecimal digits")
            if document.content:
                yield FieldViolation(f"{path}.content", "must be empty: the document was uploaded")
            continue
        yield from _file_name(document.file_name, f"{path}.file_name")
        if len(document.sha256) != 32:
            yield FieldViolation(f"{path}.sha256", "must be 32 bytes")
        if not 1 <= document.size_bytes <= DOCUMENT_BYTES_MAX:
            yield FieldViolation(f"{path}.size_bytes", f"must be 1 to {DOCUMENT_BYTES_MAX}")
        yield from _media_type(document.media_type, f"{path}.media_type")
        yield from _text(document.content, TEXT_MAX, f"{path}.content")


def upload(document: inventory_pb2.Document) -> Iterator[FieldViolation]:
    """What an upload says of its document, as its field ``document``. The content is not looked at."""
    yield from validate.identifier(document.tenant, "document.tenant")
    yield from validate.enums(document, "document")
    yield from _file_name(document.file_name, "document.file_name")
    yield from _media_type(document.media_type, "document.media_type")
    yield from taking.described(document, DOCUMENT_BYTES_MAX, "document")


def document(tenant: str, id: str) -> Iterator[FieldViolation]:
    """A document as a request names it."""
    yield from validate.identifier(tenant, "tenant")
    if not _DOCUMENT.fullmatch(id):
        yield FieldViolation("id", "must be 32 hexadecimal digits")


def _file_name(value: str, path: str) -> Iterator[FieldViolation]:
    yield from _text(value, FILE_NAME_MAX, path)
    if "/" in value or "\\" in value:
        yield FieldViolation(path, "must not have a path")


def _media_type(value: str, path: str) -> Iterator[FieldViolation]:
    if value not in MEDIA_TYPES:
        yield FieldViolation(path, f"must be {', '.join(MEDIA_TYPES[:-1])} or {MEDIA_TYPES[-1]}")


def text(value: str, path: str) -> Iterator[FieldViolation]:
    """A remark, that may be empty."""
    if value:
        yield from _text(value, TEXT_MAX, path)


def _text(value: str, most: int, path: str) -> Iterator[FieldViolation]:
    if not 1 <= len(value) <= most:
        yield FieldViolation(path, f"must have 1 to {most} characters")
    elif not value.isprintable():
        yield FieldViolation(path, "must not have control characters")


def duration(value: Duration, most_s: int, path: str) -> Iterator[FieldViolation]:
    """A time in whole seconds from a minute on."""
    if value.nanos or not MINUTE_S <= value.seconds <= most_s:
        yield FieldViolation(path, f"must be 1 min to {most_s} s in whole seconds")


def pattern(value: str, path: str = "pattern") -> Pattern:
    """The pattern of a text. Raises InvalidFieldError."""
    try:
        return parse(value)
    except PatternError as error:
        raise InvalidFieldError(FieldViolation(path, str(error))) from error


def size(message: inventory_pb2.NumberRange) -> int:
    """How many numbers a valid range has."""
    return int(message.last) - int(message.first) + 1
