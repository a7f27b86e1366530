"""What all servers that tests run have in common: one process, ended by its own pid."""

from __future__ import annotations

import signal
import subprocess

STOP_TIMEOUT_S = 10.0


class ServerProcess:
    """Ends, freezes and thaws ``_process``, which a subclass starts."""

    _process: subprocess.Popen[bytes] | None

    @property
    def running(self) -> bool:
        """True while the process lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End at once, as a crash does (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End in order (SIGTERM). One that does not run is left alone."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Freeze (SIGSTOP): its sockets take what comes and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
