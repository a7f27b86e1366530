"""A machine that stands still is noticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from signalbox_local.testcluster.stalls import Stalls

STILL_S = 0.4


def test_a_process_that_gets_no_time_tells_how_long():
    script = "from signalbox_local.testcluster.stalls import Stalls; import sys, time\n"
    script += "with Stalls() as s: print('up', flush=True); sys.stdin.readline(); time.sleep(0.1); print(s.longest_s())"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, **pipes) as process:
        assert process.stdout.readline() == "up\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGSTOP)
        time.sleep(STILL_S)
        process.send_signal(signal.SIGCONT)
        told, _ = process.communicate("go\n", timeout=10)
    assert float(told) >= STILL_S - 0.1


def test_each_asking_begins_anew():
    with Stalls() as stalls:
        stalls._longest = 7.0
        assert stalls.longest_s() == 7.0
        assert stalls.longest_s() < 7.0
