"""Numbers as callers write them, brought to the national form under which service numbers are kept.

Written forms follow RFC 3966 (visual separators, parameters after ``;``) and ITU-T E.164 (``+`` and the international
prefix before the country code). What counts as a service number is data: :data:`SERVICE_FORMS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

COUNTRY_CODE = "86"
INTERNATIONAL_PREFIXES = ("+", "00")
MIN_DIGITS = 3
MAX_DIGITS = 15
"""Longest number of ITU-T E.164."""


@dataclass(frozen=True, slots=True)
class ServiceForm:
    """Service numbers that begin with ``prefix`` and have ``length`` digits in all."""

    prefix: str
    length: int


SERVICE_FORMS = (
    ServiceForm("400", 10),
    ServiceForm("800", 10),
    ServiceForm("95105", 8),
    ServiceForm("95", 5),
    ServiceForm("96", 5),
    ServiceForm("10", 5),
    ServiceForm("12", 5),
)
"""Shared-cost and free-phone numbers, then nationwide and provincial hotlines (telephone network numbering plan)."""

_SEPARATORS = str.maketrans("", "", "-.()")


def is_service_form(digits: str) -> bool:
    """True if the digits have the form of a service number in national form."""
    return any(len(digits) == form.length and digits.startswith(form.prefix) for form in SERVICE_FORMS)


@lru_cache(maxsize=65_536)
def national(written: str) -> str:
    """The national form of a number as it stands in a request URI: digits; "" if it can be no number of this country.

    ``+864001234567``, ``00864001234567``, ``864001234567`` and ``400-123-4567`` all give ``4001234567``. The country
    code without a prefix is taken off only from what then has the form of a service number.
    """
    digits = written.partition(";")[0].translate(_SEPARATORS)
    for prefix in INTERNATIONAL_PREFIXES:
        if digits.startswith(prefix):
            digits = digits.removeprefix(prefix)
            if not digits.startswith(COUNTRY_CODE):
                return ""
            digits = digits.removeprefix(COUNTRY_CODE)
            break
    if digits.startswith(COUNTRY_CODE) and is_service_form(digits.removeprefix(COUNTRY_CODE)):
        digits = digits.removeprefix(COUNTRY_CODE)
    if not (digits.isascii() and digits.isdigit() and MIN_DIGITS <= len(digits) <= MAX_DIGITS):
        return ""
    return digits
