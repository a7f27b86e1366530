"""The SIP torture corpus: messages of RFC 4475 and RFC 5118, one a file. It is no part of this repository.

``SIP_CORPUS`` in the environment names its directory, with ``rfc4475/`` and ``rfc5118/`` in it; by default it is
``shared/sip-corpus`` beside the checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CORPUS = Path(os.environ.get("SIP_CORPUS") or Path(__file__).resolve().parents[3] / "shared" / "sip-corpus")

MESSAGES = sorted(file for folder in ("rfc4475", "rfc5118") for file in (CORPUS / folder).glob("*") if file.is_file())

needs_corpus = pytest.mark.skipif(not MESSAGES, reason=f"no SIP torture corpus at {CORPUS} (set SIP_CORPUS)")
