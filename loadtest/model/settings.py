"""``traffic.toml`` and what it means. Times in seconds, shares from 0 to 1."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from signalbox.errors import ConfigurationError
from signalbox.settings import Section, problems

if TYPE_CHECKING:
    from pathlib import Path

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
KINDS = ("direct", "second_line", "menu", "recorded")
ROUNDING = 1e-6


def _whole(shares: dict[str, float]) -> dict[str, float]:
    if any(share < 0 for share in shares.values()):
        raise ValueError("no share may be below 0")
    if abs(sum(shares.values()) - 1) > ROUNDING:
        raise ValueError(f"shares must be 1 in all, not {sum(shares.values()):g}")
    return shares


class Lognormal(Section):
    """A time whose logarithm is normal: most are short, some very long."""

    mean_s: float = Field(gt=0, le=86_400, description="Mean, seconds.")
    sigma: float = Field(
        default=0.0, ge=0, le=4, description="Standard deviation of the logarithm; 0: always the mean."
    )


class Calls(Section):
    """What a call is like."""

    arrivals: Literal["poisson", "regular"] = Field(
        default="poisson", description="How calls follow one another: independently, or at equal distances."
    )
    hold: Lognormal = Field(description="Both sides talk so long.")
    tcp_share: Share = Field(default=0.0, description="Calls whose caller speaks SIP over TCP.")
    keys_share: Share = Field(default=0.0, description="Calls to a line in which the caller presses keys.")
    kinds: Annotated[dict[str, float], AfterValidator(_whole)] = Field(description="Shares of kinds of numbers.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := sorted(set(self.kinds) - set(KINDS)):
            raise ValueError(f"no kind of number is called {unknown[0]!r}: {', '.join(KINDS)}")
        return self


class Lines(Section):
    """What lines do."""

    alerting_s: Seconds = Field(default=0.1, description="From the INVITE at a line to its 180.")
    ring: Lognormal = Field(description="From 180 to the answer.")
    busy_share: Share = Field(default=0.0, description="Calls that find their line busy (486).")
    silent_share: Share = Field(default=0.0, description="Calls that nobody answers.")

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.busy_share + self.silent_share > 1:
            raise ValueError("busy_share and silent_share must be at most 1 in all")
        return self


class Callers(Section):
    """What callers do."""

    patience: Lognormal = Field(description="A caller hears it ring so long, then hangs up.")
    retry_share: Share = Field(default=0.0, description="Callers who call again when they did not get through.")
    retry_after: Lognormal = Field(default=Lognormal(mean_s=10.0), description="After so long.")
    attempts: int = Field(default=3, ge=1, le=20, description="Calls of one caller at most.")


class Region(Section):
    """Where callers are."""

    name: str = Field(min_length=1)
    weight: float = Field(gt=0, description="Callers from here in proportion to this.")
    prefixes: tuple[str, ...] = Field(min_length=1, description="Beginnings of their numbers, in national form.")

    @model_validator(mode="after")
    def _digits(self) -> Self:
        for prefix in self.prefixes:
            if not (prefix.isascii() and prefix.isdigit() and 3 <= len(prefix) <= 9):
                raise ValueError(f"a prefix is 3 to 9 digits, not {prefix!r}")
        return self


class Numbers(Section):
    """The numbers that are called."""

    count: int = Field(default=100, ge=1, le=10_000, description="So many for each process that makes calls.")
    zipf: float = Field(
        default=1.0, ge=0, le=3, description="The number of rank r is called in proportion to r to the minus this."
    )


class Traffic(Section):
    """All of ``traffic.toml``."""

    seed: int = Field(default=1, description="The same seed gives the same callers, numbers and times.")
    calls: Calls
    lines: Lines
    callers: Callers
    numbers: Numbers = Numbers()
    regions: tuple[Region, ...] = Field(min_length=1)


def read(file: Path) -> Traffic:
    """Raises ConfigurationError that names the file, each wrong key, and why."""
    try:
        return Traffic(**tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{file}: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(f"{file}: {problems(error)}") from error
