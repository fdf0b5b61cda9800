"""A stand-in for Google Drive on the loopback interface: the page about viruses, its form, the file, and faults."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from loopback import listening

CHUNK = 1 << 14
FORM = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head>
<body><a href="https://accounts.google.com/ServiceLogin">Sign in</a>
<p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p>
<form id="search" action="/search"><input type="hidden" name="q" value="no"></form>
<form id="download-form" action="{action}" method="get">
<input type="submit" id="uc-download-link" value="Download anyway"/>
<input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="a&amp;b"></form></body></html>"""
LINK = """<html><head><title>Google Drive - Virus scan warning</title></head><body>
<a id="uc-download-link" href="{action}?export=download&amp;confirm=t&amp;uuid=a%26b&amp;id={id}">Download anyway</a>"""
QUOTA = """<html><head><title>Google Drive - Quota exceeded</title></head><body><a href="#">Sign in</a>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p><p class="uc-error-subcaption">
Too many users have viewed or downloaded this file recently. Please try accessing the file again later.</p></body>"""
MISSING = "<html><head><title>Error 404 (Not Found)!!1</title></head><body>That’s an error.</body></html>"
SIGN_IN = "<html><head><title>Sign in - Google Accounts</title></head><body>to continue to Google Drive</body></html>"


class Request(NamedTuple):
    """One request: what stands after the host, its Range and its If-Range header."""

    path: str
    range: str | None
    condition: str | None


@dataclass
class Drive:
    """What is served, which faults are on, and what was asked so far. Every field may be changed while it serves."""

    content: bytes
    url: str = ""
    page: str | None = FORM
    """The page in place of the file: with a form or a link that leads to ``action``, a refusal, or None."""
    action: str = "/download"
    status: int = 200
    """Status of the page."""
    redirect: str | None = None
    """Redirect the first request there."""
    etag: str | None = '"one"'
    modified: str | None = None
    size: bool = True
    """Announce the length of the file."""
    ranges: bool = True
    """Honour Range, and If-Range."""
    conditions: bool = True
    """Honour If-Range."""
    cuts: list[int] = field(default_factory=list)
    """Close the connection after that many bytes: the first for the next answer, and so on."""
    stall_after: int | None = None
    """Send that many bytes, then nothing until ``released`` is set."""
    sent: list[int] = field(default_factory=list)
    """Bytes of the file sent per answer."""
    requests: list[Request] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def serving(content: bytes) -> Iterator[Drive]:
    """Serve ``content`` as every file, on a free port."""
    drive = Drive(content)
    with listening(drive, _Handler):
        yield drive


class _Handler(BaseHTTPRequestHandler):
    stand_in: Drive

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        drive, url = self.stand_in, urlsplit(self.path)
        drive.requests.append(Request(self.path, self.headers["Range"], self.headers["If-Range"]))
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/uc" and asked.get("export") == "download" and drive.redirect:
            self._answer(303, b"", Location=drive.redirect)
        elif drive.page is not None and url.path in ("/uc", "/moved"):
            page = drive.page.format(action=drive.action, id=asked["id"]) if "{action}" in drive.page else drive.page
            fields = {"Content-Type": "text/html; charset=utf-8", "Set-Cookie": "download_warning=t"}
            self._answer(drive.status, page.encode(), **fields)
        elif url.path in ("/uc", "/moved") or (
            asked.get("confirm") == "t"
            and asked.get("uuid") == "a&b"
            and self.headers["Cookie"] == "download_warning=t"
        ):
            self._file()
        else:
            self._answer(400, b"the page's fields or its cookie are missing")

    def _file(self) -> None:
        drive, wanted, condition = self.stand_in, self.headers["Range"], self.headers["If-Range"]
        changed = drive.conditions and condition is not None and condition not in (drive.etag, drive.modified)
        part = bool(wanted and drive.ranges and not changed)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if part else 0
        if start >= len(drive.content):
            self._answer(416, b"")
            return
        self.send_response(206 if part else 200)
        fields = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": 'attachment; filename="models.zip"',
            "Content-Length": str(len(drive.content) - start) if drive.size else None,
            "Content-Range": f"bytes {start}-{len(drive.content) - 1}/{len(drive.content)}" if part else None,
            "ETag": drive.etag,
            "Last-Modified": drive.modified,
        }
        for name, value in fields.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        drive.sent.append(0)
        with contextlib.suppress(ConnectionError):  # a client may be killed
            self._send(drive.content[start:])

    def _send(self, content: bytes) -> None:
        drive = self.stand_in
        end = drive.cuts.pop(0) if drive.cuts else len(content) if drive.stall_after is None else drive.stall_after
        for at in range(0, min(end, len(content)), CHUNK):
            drive.sent[-1] += self.wfile.write(content[at : min(at + CHUNK, end)])
        if drive.stall_after is not None:
            drive.released.wait(30)

    def _answer(self, status: int, content: bytes, **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
