"""A STAC API and a store of COGs on loopback, a process of its own, that fails on demand.

``python tests/stac_server.py FOLDER`` prints its URL, then answers one JSON command a line, ``{"op": "log"}``.
"""

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections import defaultdict
from contextlib import AbstractContextManager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

CONFORMANCE = [f"https://api.stacspec.org/v1.0.0/{part}" for part in ("core", "item-search", "collections")]
FILTERS = {"collections", "bbox", "datetime", "limit", "token"}
PAGE = 3
ORDERS = {"none": lambda found: found, "reverse": lambda found: found[::-1], "repeat": lambda found: found + found[:2]}


class Service(ThreadingHTTPServer):
    """What the requests share: items, files, the log and the failures to come."""

    request_queue_size = 128

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.url = folder.resolve(), f"http://127.0.0.1:{self.server_port}"
        self.log, self.faults, self.arrange = [], defaultdict(lambda: iter(())), ORDERS["none"]
        self.read_items()

    def read_items(self) -> None:
        self.items = json.loads((self.folder / "items.json").read_text().replace("{ROOT}", self.url))

    def search(self, query: dict[str, Any]) -> dict[str, Any]:
        found = self.arrange([item for item in self.items if matches(item, query)])
        start = int(query.get("token", 0))
        end = start + min(query.get("limit", PAGE), PAGE)
        following = {"rel": "next", "href": f"{self.url}/search", "method": "POST", "body": query | {"token": str(end)}}
        links = [following] if end < len(found) else []
        return {"type": "FeatureCollection", "features": found[start:end], "links": links}

    def landing_page(self) -> dict[str, Any]:
        page = {"type": "Catalog", "stac_version": "1.0.0", "id": "loopback", "description": "Simulated items"}
        root = {"rel": "root", "href": f"{self.url}/", "type": "application/json"}
        search = {"rel": "search", "href": f"{self.url}/search", "method": "POST", "type": "application/geo+json"}
        return page | {"conformsTo": CONFORMANCE, "links": [root, root | {"rel": "self"}, search]}

    def obey(self, op: str, path: str = "", answers: Any = (), how: str = "none") -> Any:
        """Carry out a command: log, clear, fault (path, answers), order (how) or items."""
        if op == "fault":
            self.faults[path] = iter(answers)
        elif op == "order":
            self.arrange = ORDERS[how]
        else:
            return {"log": self.log.copy, "clear": self.log.clear, "items": self.read_items}[op]()


def matches(item: dict[str, Any], query: dict[str, Any]) -> bool:
    west, south, east, north = query.get("bbox", (-180, -90, 180, 90))
    first, _, last = query.get("datetime", "../..").partition("/")
    box, moment = item["bbox"], item["properties"]["datetime"]
    return (
        item["collection"] in query.get("collections", [item["collection"]])
        and (box[0] <= east and box[2] >= west and box[1] <= north and box[3] >= south)
        and first.replace("..", "") <= moment <= (last or first).replace("..", "~")
    )


@cache
def etag(file: Path, *version: int) -> str:
    """Hash a file; one that has not changed since is not read again."""
    return f'"{hashlib.md5(file.read_bytes()).hexdigest()}"'


class Handler(BaseHTTPRequestHandler):
    """Answers of the API and of the files; every one is logged before it is sent."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else small answers wait 40 ms for the client's acknowledgement
    server: Service

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = next(self.server.faults[self.path], None)
        if fault or self.path != "/search" or not query.keys() <= FILTERS:
            self.fail(fault or (400 if self.path == "/search" else 404))
        else:
            self.answer(200, json.dumps(self.server.search(query)).encode(), {"Content-Type": "application/geo+json"})

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        file = (self.server.folder / path.lstrip("/")).resolve()
        fault = next(self.server.faults[path], None)
        if isinstance(fault, int):
            self.fail(fault)
        elif path == "/":
            self.answer(200, json.dumps(self.server.landing_page()).encode(), {"Content-Type": "application/json"})
        elif not file.is_file() or not file.is_relative_to(self.server.folder):
            self.fail(404)
        else:
            self.answer_file(file, *(fault or (None, 0)))

    do_HEAD = do_GET

    def fail(self, status: int) -> None:
        self.answer(status, b"no", {"Content-Type": "text/plain"} | ({"Retry-After": "1"} if status == 429 else {}))

    def answer_file(self, file: Path, fault: str | None, count: int) -> None:
        stat = file.stat()
        tag = etag(file, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        headers = {"Content-Type": "image/tiff", "Accept-Ranges": "bytes", "ETag": tag}
        status, start, size = 200, 0, count if fault == "short" else stat.st_size
        end, asked = size, re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.command == "GET":
            status, start, end = 206, int(asked[1]), min(int(asked[2] or size) + 1, size)
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        if start >= size:
            return self.answer(416, b"", {"Content-Range": f"bytes */{size}"})
        with file.open("rb") as content:
            content.seek(start)
            self.answer(status, content.read(end - start), headers, count if fault == "cut" else None)

    def answer(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        """Send an answer, or with ``cut`` as many bytes of its body, and hang up."""
        sent = b"" if self.command == "HEAD" else body[:cut]
        self.server.log.append([self.command, self.path, status, len(sent), self.headers.get("Range")])
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)
        self.close_connection |= cut is not None


class StacServer(AbstractContextManager):
    """The server of a folder, for tests: a context manager that starts it and stops it."""

    def __init__(self, folder: Path):
        command = [sys.executable, __file__, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def __exit__(self, *_: Any) -> None:
        self.process.communicate()  # at the end of its input, it ends

    def ask(self, **command: Any) -> Any:
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def log(self) -> list[list[Any]]:
        """Return method, path, status, bytes sent and Range header of every answer."""
        return self.ask(op="log")

    def downloaded(self) -> tuple[int, int]:
        """Count the GETs in the log, and their bytes."""
        sizes = [size for method, _, _, size, _ in self.log() if method == "GET"]
        return len(sizes), sum(sizes)

    def clear(self) -> None:
        self.ask(op="clear")

    def fault(self, path: str, *answers: Any) -> None:
        """Set a path's next answers: a status; ("cut", n) bytes, then hang up; ("short", n) bytes in all; or None."""
        self.ask(op="fault", path=path, answers=answers)

    def order(self, how: str) -> None:
        self.ask(op="order", how=how)

    def items(self) -> None:
        self.ask(op="items")


if __name__ == "__main__":
    service = Service(Path(sys.argv[1]))
    threading.Thread(target=service.serve_forever, daemon=True).start()
    print(service.url, flush=True)
    for line in sys.stdin:
        print(json.dumps(service.obey(**json.loads(line))), flush=True)
