"""Numbers of the inventory, their prices and times, as people write and read them."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import click
from google.protobuf.duration_pb2 import Duration

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from signalbox.api.types.v1.inventory_pb2 import NumberTerms

_GROUPS = (
    (re.compile(r"([48]00)(\d{3})(\d{4})"), "{}-{}-{}"),
    (re.compile(r"(95105)(\d{3})"), "{}-{}"),
)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
_MINOR_DIGITS = {"BHD": 3, "JOD": 3, "JPY": 0, "KRW": 0, "KWD": 3, "OMR": 3, "TND": 3, "VND": 0}
"""Decimal places of currencies (ISO 4217) that have other than two."""


def grouped(number: str) -> str:
    """A number as people write it: 400-123-4567."""
    for pattern, written in _GROUPS:
        if match := pattern.fullmatch(number):
            return written.format(*match.groups())
    return number


def amount(minor: int, currency: str) -> str:
    """An amount given in the smallest unit of its currency, e.g. "2000.00 CNY"; "" for none."""
    return f"{Decimal(minor).scaleb(-_digits(currency)):f} {currency}" if minor else ""


def minor(text: str, currency: str, hint: str) -> int:
    """An amount in the smallest unit of its currency. Raises BadParameter."""
    try:
        units = Decimal(text).scaleb(_digits(currency))
        if units < 0 or units != units.to_integral_value():
            raise ValueError(text)
        return int(units)
    except (InvalidOperation, ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is no amount of {currency or 'money'}", param_hint=hint) from None


def _digits(currency: str) -> int:
    return _MINOR_DIGITS.get(currency, 2)


def contract(terms: NumberTerms) -> str:
    """How long a contract runs at least; "" for no time."""
    return f"{terms.contract_months} months" if terms.contract_months else ""


def moment(value: Timestamp) -> str:
    """A point of time, UTC."""
    return f"{value.ToDatetime():%Y-%m-%d %H:%M:%S}"


class NumberType(click.ParamType[str]):
    """A number with or without the strokes and spaces between its groups."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Its digits, or whatever is there in their place: that is for the service to refuse."""
        return str(value).replace("-", "").replace(" ", "")


class DurationType(click.ParamType[Duration]):
    """A time as 90m, 72h or 30d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Duration:
        """As the API has it. Fails if it is none."""
        match = re.fullmatch(r"([0-9]{1,9})([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r}: a time is expected, e.g. 90m, 72h or 30d", param, ctx)
        return Duration(seconds=int(match[1]) * _UNITS_S[match[2]])


NUMBER = NumberType()
DURATION = DurationType()
