"""A server that speaks S3, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from signalbox.settings import ObjectsSettings, S3Settings

from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STARTED_S = 60.0


@dataclass
class S3Server:
    """A server with one bucket."""

    url: str
    process: subprocess.Popen[bytes]
    directory: Path
    bucket: str = "papers"

    def settings(self, prefix: str = "") -> ObjectsSettings:
        """How the bucket is reached, or a part of it."""
        secret = self.directory / "secret"
        secret.write_text("wJalrXUtnFEMI\n")
        s3 = S3Settings(endpoint=self.url, access_key_id="AKIAEXAMPLE", secret_key_file=secret, timeout_s=5)
        return ObjectsSettings(location=f"s3://{self.bucket}{prefix}", s3=s3)

    def names(self) -> list[str]:
        """What is in the bucket."""
        return self._listed("", "Contents")

    def begun(self) -> list[str]:
        """Uploads that have begun and not ended."""
        return self._listed("?uploads", "Upload")

    def _listed(self, query: str, element: str) -> list[str]:
        with urllib.request.urlopen(f"{self.url}/{self.bucket}{query}", timeout=10) as answer:
            root = ElementTree.fromstring(answer.read())
        return [
            one.findtext("{*}Key", "") for one in root.iter() if one.tag.endswith(f"}}{element}") or one.tag == element
        ]

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


@contextmanager
def s3_server(directory: Path) -> Iterator[S3Server]:
    """A server on a free port, with its bucket."""
    port = free_port()
    with (directory / "s3.log").open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = S3Server(f"http://127.0.0.1:{port}", process, directory)
    try:
        deadline = time.monotonic() + STARTED_S
        while True:
            try:
                request = urllib.request.Request(f"{server.url}/{server.bucket}", method="PUT")
                urllib.request.urlopen(request, timeout=10).close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, (directory / "s3.log").read_text()
                assert time.monotonic() < deadline, "the S3 server does not start"
                time.sleep(0.1)
        yield server
    finally:
        server.end()
