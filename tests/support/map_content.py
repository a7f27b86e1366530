"""What the memory maps of tests hold."""

from __future__ import annotations

from signalbox.store.directory import Batch
from signalbox.store.page import LAST

from support.directories import digits, line, number, page

FLOW = "rules/flows/acme/main"
SPAM = "rules/listpages/acme/spam/007"
FRONT = Batch(
    {digits(1): number(1)}, {("acme", "front"): line("front")}, {"rules/lines/acme/" + LAST: 5},
    {FLOW: b"stored", "rules/lists/acme/spam": b""}, {SPAM: page(100, 1_000)},
)  # fmt: skip
