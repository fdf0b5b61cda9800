"""A server on the loopback interface in place of Kaggle, for the real kagglehub client, and of Google Drive.

``serving(archive)`` listens on a free port; :func:`lead_client_to` leads kagglehub there. With the environment variable
``KAGGLE_API_ENVIRONMENT=TEST`` an unchanged client asks port 7777; in that mode it reads every answer whole before it
stores it, so a transfer that breaks leaves no part of an archive.
"""

import base64
import contextlib
import hashlib
import json
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from loopback import listening

API = "datasets.DatasetApiService/"
CHUNK = 1 << 16


class Request(NamedTuple):
    """One request: the API method, or ``archive`` for the transfer; its JSON body; its Range header."""

    what: str
    body: Mapping[str, Any]
    range: str | None


@dataclass
class Kaggle:
    """What is served, which faults are on, and what was asked so far. Every field may be changed while it serves."""

    archive: bytes
    url: str = ""
    version: int = 1
    md5: bool = True
    """Announce the MD5 of ``archive``, as Google's storage does for most objects."""
    cut_after: int | None = None
    """Close the connection after that many bytes of an answer that promised more."""
    corrupt: bool = False
    """Send other bytes than those of the MD5."""
    status: int | None = None
    """Answer every API call with this HTTP error."""
    requests: list[Request] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def asked(self, what: str) -> list[Request]:
        return [request for request in self.requests if request.what == what]


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of ``files`` (name → content), stored as they are."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def lead_client_to(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Send kagglehub's requests for api.kaggle.com to ``url``."""
    from kagglesdk import kaggle_env

    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, url)


def isolate(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Leave the test no home, no credentials, no proxy and no notebook but its own, and no Kaggle at all."""
    for name in [*os.environ]:
        if "KAGGLE" in name or "proxy" in name.lower() or name == "TBE_RUNTIME_ADDR":
            monkeypatch.delenv(name)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / ".kaggle"))
    monkeypatch.setattr("kagglehub.config.DEFAULT_CACHE_FOLDER", str(home / ".cache"))  # fixed when it is imported
    monkeypatch.setenv("KAGGLE_USERNAME", "nobody")
    monkeypatch.setenv("KAGGLE_KEY", "0")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    lead_client_to(monkeypatch, "http://localhost:9")


@contextlib.contextmanager
def serving(archive: bytes, port: int = 0) -> Iterator[Kaggle]:
    """Serve ``archive`` as the dataset, whatever its name; raises OSError if ``port`` (0: any) is taken."""
    kaggle = Kaggle(archive)
    with listening(kaggle, _Handler, "localhost", port):
        yield kaggle


class _Handler(BaseHTTPRequestHandler):
    stand_in: Kaggle

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = self.path.partition(API)[2]
        self.stand_in.requests.append(Request(method, body, None))
        if self.stand_in.status:
            self._json({"code": self.stand_in.status, "message": "no"}, self.stand_in.status)
        elif method == "GetDataset":
            self._json({"currentVersionNumber": self.stand_in.version})
        elif method == "DownloadDataset":
            self.send_response(302)
            self.send_header("Location", f"{self.stand_in.url}/storage/archive.zip")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._json({"code": 404, "message": self.path}, 404)

    def do_GET(self) -> None:
        kaggle, wanted = self.stand_in, self.headers["Range"]
        kaggle.requests.append(Request("archive", {}, wanted))
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        content = kaggle.archive[start:]
        self.send_response(206 if wanted else 200)
        # The charset keeps a client in TEST mode, which prints what it gets, from guessing one for minutes.
        self.send_header("Content-Type", "application/zip; charset=latin-1")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(kaggle.archive) - 1}/{len(kaggle.archive)}")
        if kaggle.md5:
            digest = base64.b64encode(hashlib.md5(kaggle.archive).digest()).decode()
            self.send_header("X-Goog-Hash", f"crc32c=AAAAAA==,md5={digest}")
        self.end_headers()
        # A client may leave early: it looks at the announced size, or it is killed.
        with contextlib.suppress(ConnectionError):
            self._send(bytes(reversed(content)) if kaggle.corrupt else content)

    def _send(self, content: bytes) -> None:
        stop = self.stand_in.cut_after
        end = len(content) if stop is None else stop
        for at in range(0, end, CHUNK):
            self.wfile.write(content[at : min(at + CHUNK, end)])

    def _json(self, answer: Mapping[str, Any], status: int = 200) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
