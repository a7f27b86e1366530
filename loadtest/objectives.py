"""``objectives.toml``: what a run must reach, and whether it did."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic import Field, RootModel, ValidationError, model_validator
from signalbox.errors import ConfigurationError
from signalbox.settings import Section, problems

from loadtest.figures import GROUPS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Bound(Section):
    """Of one figure."""

    least: float | None = Field(default=None, description="It must be at least this.")
    most: float | None = Field(default=None, description="It must be at most this.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.least is None and self.most is None:
            raise ValueError("needs least or most")
        return self

    @property
    def text(self) -> str:
        """For people."""
        wanted = [f"at least {self.least:g}"] if self.least is not None else []
        wanted += [f"at most {self.most:g}"] if self.most is not None else []
        return " and ".join(wanted)


class Objectives(RootModel[dict[str, Bound]]):
    """By name of the figure."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := sorted(set(self.root) - set(GROUPS)):
            raise ValueError(f"no figure is called {unknown[0]!r}: {', '.join(sorted(GROUPS))}")
        return self


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one objective."""

    name: str
    bound: Bound
    value: float | None
    """None: nothing was measured."""

    @property
    def breached(self) -> bool:
        """Not reached. What was to be measured and was not is not reached."""
        if self.value is None:
            return True
        least, most = self.bound.least, self.bound.most
        return (least is not None and self.value < least) or (most is not None and self.value > most)

    @property
    def seen(self) -> str:
        """For people."""
        return "not measured" if self.value is None else f"{self.value:.4g}"

    def __str__(self) -> str:
        return f"{self.name}: {self.seen}, to reach: {self.bound.text}"


def read(file: Path) -> Objectives:
    """Raises ConfigurationError that names the file, what is wrong in it, and why."""
    try:
        return Objectives(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{file}: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(f"{file}: {problems(error)}") from error


def judge(objectives: Objectives, figures: Mapping[str, float], took_part: set[str]) -> list[Verdict]:
    """A verdict for each objective about those who took part: ``calls``, ``routing``, ``provisioning``."""
    return [
        Verdict(name, bound, figures.get(name)) for name, bound in objectives.root.items() if GROUPS[name] in took_part
    ]
