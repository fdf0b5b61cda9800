"""Get a zip that is shared on Google Drive by its file id: resumed, held to its announced size, unpacked whole.

Google answers a request for a large file with a page that says it was not scanned for viruses; the form on that page
leads to the file. Nothing on a page may lead anywhere but to Google, or to the server asked.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import requests
from tqdm import tqdm

from cerraseg.data.archive import MOST_BYTES, check_space, unpack
from cerraseg.core.errors import DownloadError
from cerraseg.core.files import atomic_write
from cerraseg.core.logs import log

SERVER = "https://drive.google.com"
WAITS = (2, 10, 30)
"""Seconds before each further try after the connection failed."""

_CHUNK = 1 << 16
_TIMEOUT = (15, 60)
_GOOGLE = re.compile(r"https://([a-z0-9-]+\.)+(google|googleusercontent)\.com([/?]|$)")
_SERVERS = re.compile(r"https://[a-z0-9.-]+(:\d+)?|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
_REFUSALS = {
    r"quota exceeded|too many users": "too many people have downloaded this file lately, which Google bars for about a "
    "day. Run it again tomorrow.",
    r"^404|^.*not found|does not exist": "there is no such file. Check the file id: it is the part between /d/ and "
    "/view of the link that the file is shared by.",
    r"^40[13]|^.*(servicelogin|sign.in|access denied|need access)": "the file is not shared with everyone. Check the "
    "file id, or ask its owner to share it with anyone who has the link.",
    r"^429": "Google has had too many requests from here. Wait some minutes and run it again.",
}
"""Status, address and title (the first line) and content of a page of Google's, in lower case → what that means to the
user. The first that fits counts."""


def fetch(file_id: str, folder: Path, *, server: str = SERVER, most: int = MOST_BYTES) -> Path:
    """Download the shared zip ``file_id`` and unpack it; return the folder of its contents, ``folder/file_id``.

    A finished download is found again without the network. What an interrupted one brought is kept as
    ``<file_id>.zip.unfinished`` and built upon, if the file on Drive is still the same. ``most`` caps the archive and
    what comes out of it, in bytes. One process at a time may work on a file.

    Raises :class:`DownloadError` without a network, access or disk space, when Google refuses the file, when the
    transfer stops (what arrived is kept), or when the archive is damaged or unsafe (it is removed).
    """
    server = server.rstrip("/")
    if not re.fullmatch(r"[A-Za-z0-9_-]{10,100}", file_id) or not _SERVERS.fullmatch(server):
        raise DownloadError(
            f"Cannot download {file_id!r} from {server!r}: expected the id of a file on Google Drive, the part between "
            "/d/ and /view of the link that it is shared by, and an https server. Check the configuration."
        )
    target, archive = folder / file_id, folder / f"{file_id}.zip"
    partial = _Partial(archive.with_name(f"{archive.name}.unfinished"))
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        if not archive.exists():
            with requests.Session() as session:
                session.headers["Accept-Encoding"] = "identity"  # byte counts are those of the file
                _download(_Link(session, server, file_id), partial, most)
            partial.file.replace(archive)
        partial.note.unlink(missing_ok=True)
        unpack(archive, target, most=most)
    archive.unlink(missing_ok=True)
    return target


class _Version(NamedTuple):
    """What the server announces of a whole file, to tell whether a part that it sends later is of the same."""

    size: int | None
    etag: str | None
    modified: str | None

    def rest(self, start: int) -> dict[str, str]:
        """Return the headers that ask for the bytes from ``start`` on, if the file is still the same."""
        strong = self.etag if self.etag and not self.etag.startswith("W/") else self.modified
        return {"Range": f"bytes={start}-"} | ({"If-Range": strong} if strong else {})

    def goes_on_in(self, response: requests.Response, start: int) -> bool:
        headers = response.headers
        part = headers.get("Content-Range") == f"bytes {start}-{(self.size or 0) - 1}/{self.size}"
        same = headers.get("ETag", self.etag), headers.get("Last-Modified", self.modified)
        return part and same == (self.etag, self.modified)


@dataclass(frozen=True)
class _Partial:
    """The bytes that arrived so far, with a note beside them on the file that they are from."""

    file: Path

    @property
    def note(self) -> Path:
        return self.file.with_name(f"{self.file.name}.json")

    @property
    def bytes(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def read(self) -> _Version | None:
        """Return the version noted, or None if there is none or the bytes cannot be a part of it."""
        try:
            version = _Version(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return version if version.size is not None and 0 < self.bytes <= version.size else None

    def begin(self, version: _Version) -> None:
        """Drop the bytes first and note the version after: a kill in between leaves nothing that looks like a part."""
        self.file.write_bytes(b"")
        with atomic_write(self.note) as temporary:
            temporary.write_text(json.dumps(version._asdict()), encoding="utf-8")


@dataclass(frozen=True)
class _Link:
    """The way to one file, with the cookies picked up on it."""

    session: requests.Session
    server: str
    file_id: str

    def open(self, part: Mapping[str, str]) -> requests.Response:
        """Ask for the file, by way of Google's page if there is one; ``part`` is the headers that ask for its rest."""
        url = f"{self.server}/uc?{urlencode({'export': 'download', 'id': self.file_id})}"
        for _ in range(4):
            response = self._get(url, part)
            if response.status_code == 416 or (response.status_code == 206 and _is_page(response)):
                response.close()
                response = self._get(url, {})
            if response.status_code >= 500:
                raise requests.HTTPError(f"the server answered {response.status_code}")
            if response.ok and not _is_page(response):
                return response
            with response:
                url = self._next(response)
        raise self.error("Google shows one page after another in place of the file.")

    def _get(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        """Get ``url`` and follow redirects, none of them to a stranger."""
        for _ in range(10):
            if not (url.startswith(f"{self.server}/") or _GOOGLE.match(url)):
                raise self.error(f"its page leads to {url}, which is not Google's: that is not followed.")
            response = self.session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=_TIMEOUT)
            target = self.session.get_redirect_target(response)
            if target is None:
                return response
            response.close()
            url = urljoin(url, target)
        raise self.error("Google sends from one address to the next without end.")

    def _next(self, response: requests.Response) -> str:
        """Return where a page in place of the file leads on; raise with what it says if it leads nowhere."""
        page = _Page()
        content = b"".join(islice(response.iter_content(_CHUNK), 16)).decode("utf-8", "replace")
        try:
            page.feed(content)
        except AssertionError as error:  # how Python's parser says of some texts that they are no HTML
            raise self.error(f"it answers {response.status_code} with a page that is no HTML ({error}).") from None
        if response.ok and page.action is not None:
            action = urlsplit(urljoin(response.url, page.action))
            return action._replace(query=urlencode(dict(parse_qsl(action.query)) | page.fields)).geturl()
        if response.ok and page.link is not None:
            return urljoin(response.url, page.link)
        said = f"{response.status_code} {response.url} {page.title.strip()}\n{content}".lower()
        meaning = next((text for words, text in _REFUSALS.items() if re.search(words, said)), None)
        raise self.error(meaning or f"it answers {response.status_code} with a page named {page.title.strip()!r}.")

    def error(self, what: str) -> DownloadError:
        return DownloadError(
            f"Cannot download {self.file_id} from Google Drive: {what} Or download it in a browser "
            f"({self.server}/file/d/{self.file_id}/view), unpack it and set `source: local` with its folder; or set "
            "`source: kaggle`."
        )


class _Page(HTMLParser):
    """What can lead on from a page of Google's: the form of a download, or the older link with a token."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.link: str | None = None
        self.title = ""
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and given.get("id") in ("download-form", "downloadForm"):
            self.action = given.get("action", "")
            self._within = tag
        elif tag == "input" and self._within == "form" and given.get("type") == "hidden" and given.get("name"):
            self.fields[given["name"]] = given.get("value", "")
        elif tag == "a" and re.search(r"[?&]confirm=", given.get("href", "")):
            self.link = given["href"]
        elif tag == "title":
            self._within = tag

    def handle_endtag(self, tag: str) -> None:
        self._within = "" if tag == self._within else self._within

    def handle_data(self, data: str) -> None:
        self.title += data if self._within == "title" else ""


def _is_page(response: requests.Response) -> bool:
    """Tell a page from the file, which comes as an attachment whatever its type."""
    headers = response.headers
    return "text/html" in headers.get("Content-Type", "") and "Content-Disposition" not in headers


def _download(link: _Link, partial: _Partial, most: int) -> None:
    """Bring ``partial`` to the whole file, with some tries over a connection that fails."""
    for wait in (*WAITS, None):
        try:
            return _transfer(link, partial, most)
        except requests.RequestException as error:
            if wait is None or isinstance(error, (requests.exceptions.SSLError, requests.exceptions.ProxyError)):
                kept = f"{partial.bytes:,} bytes are kept: run it again and it goes on from there."
                remedy = kept if partial.read() else "Check the network and the proxy settings (HTTPS_PROXY)."
                raise link.error(f"the connection failed ({' '.join(str(error).split())}). {remedy}") from None
            log.warning("the connection to Google Drive failed (%s); next try in %d s", error, wait)
            time.sleep(wait)
        except ValueError as error:
            raise link.error(f"its page leads to what is no address ({error}).") from None
        except OSError as error:
            raise DownloadError(
                f"Cannot store {partial.file} ({error.strerror or error}). Check the free space and the permissions of "
                f"its folder, then run it again: it goes on from the {partial.bytes:,} bytes already here."
            ) from None


def _transfer(link: _Link, partial: _Partial, most: int) -> None:
    """Get what ``partial`` lacks, in one go; start anew unless the server goes on with the same file."""
    version = partial.read()
    start = partial.bytes if version else 0
    if version and start == version.size:
        return
    with link.open(version.rest(start) if version else {}) as response:
        if response.status_code == 206 and not (version and version.goes_on_in(response, start)):
            partial.note.unlink(missing_ok=True)
            raise requests.HTTPError("the server sent another part than was asked for, or of another file")
        if response.status_code != 206 or version is None:
            version, start = _announced(response), 0
            partial.begin(version)
        size = version.size or 0
        check_space(partial.file.parent, 2 * size - start, f"the rest of an archive of {size / 1e9:.1f} GB, unpacked,")
        bar = tqdm(desc="download", total=size, initial=start, unit="B", unit_scale=True, disable=None, leave=False)
        with partial.file.open("ab") as file, bar:
            for chunk in response.iter_content(_CHUNK):
                if file.tell() + len(chunk) > min(size or most, most):
                    raise link.error(f"it has more than the {min(size or most, most):,} bytes announced or allowed.")
                file.write(chunk)
                bar.update(len(chunk))
    if version.size is not None and partial.bytes != version.size:
        raise requests.ConnectionError(f"{partial.bytes:,} of {version.size:,} bytes came")


def _announced(response: requests.Response) -> _Version:
    headers = response.headers
    length = headers.get("Content-Length", "") if "Content-Encoding" not in headers else ""
    return _Version(int(length) if length.isdigit() else None, headers.get("ETag"), headers.get("Last-Modified"))
