"""Whose call it is that rtpengine knows."""

from __future__ import annotations

import pytest
from signalbox.media.workercalls import call_of, ended, is_beside, is_workers


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("edge-1-1769851800-17267-11", "edge-1-1769851800-17267-11"),
        ("ivr-1.edge-1-1769851800-17267-11", "edge-1-1769851800-17267-11"),
        ("ivr-1.edge-1-7.2", "edge-1-7"),
        (ended("ivr-1.edge-1-7", "00aa"), "edge-1-7"),
        # Nobody's that we know.
        ("some@where.example", "some@where.example"),
        ("", ""),
        ("w.", "w."),
    ],
)
def test_the_call_is_what_follows_the_worker(name: str, call: str) -> None:
    assert call_of(name) == call


@pytest.mark.parametrize(
    ("name", "workers", "beside"),
    [
        ("edge-1-1769851800-17267-11", False, False),
        ("ivr-1.edge-1-7", True, False),
        ("ivr-1.edge-1-7.2", True, True),
        (ended("ivr-1.edge-1-7", "00aa"), True, False),
        ("some@where.example.com", False, False),
    ],
)
def test_media_of_workers_are_told_apart(name: str, workers: bool, beside: bool) -> None:
    assert (is_workers(name), is_beside(name)) == (workers, beside)
