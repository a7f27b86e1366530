"""Rules, and a call at its first step."""

from __future__ import annotations

import pytest
from signalbox.routing.book import Book
from support import routing
from support.guides import rules


@pytest.fixture
def book() -> Book:
    book = Book(lambda: None)
    routing.at_once(book.reset_rules(routing.listing(*rules())))
    book.reset_live(routing.listing())
    assert book.damaged == {}
    return book
