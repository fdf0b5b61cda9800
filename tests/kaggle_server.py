"""A server on the loopback interface in place of Kaggle, for the real kagglehub client, and of Google Drive.

:func:`lead_client_to` leads kagglehub there; with the environment variable ``KAGGLE_API_ENVIRONMENT=TEST`` it asks port
7777 and reads every answer whole before it stores it.
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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest

API = "datasets.DatasetApiService/"


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
    md5: bool = True  # announce the MD5 of the archive, as Google's storage does for most objects
    cut_after: int | None = None  # close the connection after that many bytes of an answer that promised more
    corrupt: bool = False  # send other bytes than those of the MD5
    status: int | None = None  # answer every API call with this HTTP error
    requests: list[Request] = field(default_factory=list)

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
    with ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"stand_in": kaggle})) as server:
        kaggle.url = f"http://localhost:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield kaggle
        finally:
            server.shutdown()


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
        sent = bytes(reversed(content)) if kaggle.corrupt else content
        with contextlib.suppress(ConnectionError):  # a client may leave early: it is killed, or minds the size
            self.wfile.write(sent[: kaggle.cut_after])

    def _json(self, answer: Mapping[str, Any], status: int = 200) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
