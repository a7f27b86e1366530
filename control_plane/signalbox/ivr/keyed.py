"""What a caller keys at a question: when it is enough, and what it means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from signalbox.ivr.media.keys import Collected, Ended

if TYPE_CHECKING:
    from signalbox.api.types.v1 import flows_pb2


class Meaning(Enum):
    """Of what was keyed."""

    CHOSEN = "chosen"
    """It leads on."""
    WRONG = "wrong"
    """It leads nowhere."""
    NOTHING = "nothing"
    """Nothing was keyed in time."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What may be keyed: one of ``branches``, or with ``least`` any that many digits or more; ``most`` at most.

    ``terminator``: the key that ends the digits and is none of them, empty: there is none.
    """

    branches: frozenset[str]
    most: int
    terminator: str = ""
    least: int | None = None

    @classmethod
    def at(cls, menu: flows_pb2.MenuNode) -> Choice:
        """Of a menu whose defaults are filled in."""
        branches = frozenset(branch.digits for branch in menu.branches)
        return cls(branches, menu.max_digits, menu.terminator, menu.min_digits if menu.entered else None)

    def is_whole(self, digits: str) -> bool:
        """These are a branch, and with no further key could they become anything else that leads on."""
        if digits not in self.branches:
            return False
        if len(digits) >= self.most:
            return True
        return self.least is None and not any(
            branch != digits and branch.startswith(digits) for branch in self.branches
        )

    def meaning(self, keyed: Collected) -> Meaning:
        """What the digits mean that were keyed, however they ended."""
        digits = keyed.digits
        if digits in self.branches or (digits and self.least is not None and len(digits) >= self.least):
            return Meaning.CHOSEN
        # The terminator alone is a key, too.
        return Meaning.WRONG if digits or keyed.ended is Ended.TERMINATED else Meaning.NOTHING
