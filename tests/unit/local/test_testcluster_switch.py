"""The configuration of the carrier's switch."""

from __future__ import annotations

import subprocess

import pytest
from signalbox_local.runner import find_executable
from signalbox_local.testcluster.switch import Switch, SwitchError, render


def test_it_listens_where_it_shall_and_calls_lines_where_they_are(tmp_path):
    text = render(("127.0.0.9", 5099), ("127.0.0.8", 6000), tmp_path / "proxies.list")
    assert "listen=udp:127.0.0.9:5099\n" in text
    assert '$du = "sip:127.0.0.8:6000";' in text
    assert f'"list_file", "{tmp_path}/proxies.list"' in text


def test_kamailio_takes_it(tmp_path):
    (tmp_path / "proxies.list").write_text("1 sip:127.0.0.1:5060\n")
    file = tmp_path / "switch.cfg"
    file.write_text(render(("127.0.0.1", 5099), ("127.0.0.1", 6000), tmp_path / "proxies.list"))
    command = [find_executable("kamailio"), "-c", "-f", str(file), "-Y", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_one_that_does_not_start_says_why(tmp_path):
    switch = Switch(tmp_path, ("192.0.2.1", 5099), ("127.0.0.1", 6000), ["127.0.0.1:5060"])
    with pytest.raises(SwitchError, match="has ended"):
        switch.__enter__()
