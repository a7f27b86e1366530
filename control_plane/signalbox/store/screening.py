"""Pages of screening lists as messages and as objects of the domain.

Who writes lists looks into their pages, and who decides calls searches them: both get them here.
"""

from __future__ import annotations

import sys
from array import array
from itertools import islice
from operator import lt
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import screening_pb2
from signalbox.domain.screening import REMOVED, Page
from signalbox.store import codec

if TYPE_CHECKING:
    from signalbox.store.base import Entry

_CODE_BYTES = 8


def page(message: screening_pb2.ScreeningPage) -> Page:
    """A page as it is stored. Raises DamagedValueError."""
    if message.page > REMOVED:
        raise _damaged(message, f"page {message.page}, at most {REMOVED}")
    if len(message.codes) % _CODE_BYTES:
        raise _damaged(message, f"{len(message.codes)} bytes of codes are not of 8 each")
    codes = array("Q", message.codes)
    if sys.byteorder == "big":
        codes.byteswap()
    if not all(map(lt, codes, islice(codes, 1, None))):
        raise _damaged(message, "codes are not in order")
    if "" in message.texts:
        raise _damaged(message, "an entry is empty")
    return Page(codes, frozenset(message.texts))


def read_page(entry: Entry) -> Page:
    """The page of an entry of the store. Raises DamagedValueError."""
    return page(codec.decode(screening_pb2.ScreeningPage, entry))


def page_message(tenant: str, list: str, number: int, page: Page) -> screening_pb2.ScreeningPage:
    """A page as it is stored."""
    codes = array("Q", page.codes)
    if sys.byteorder == "big":
        codes.byteswap()
    return screening_pb2.ScreeningPage(
        tenant=tenant, list=list, page=number, codes=codes.tobytes(), texts=sorted(page.texts)
    )


def _damaged(message: screening_pb2.ScreeningPage, why: str) -> codec.DamagedValueError:
    return codec.DamagedValueError(codec.key_of(message), why)
