"""A server on the loopback interface, for the stand-ins of Kaggle and Google Drive."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol


class StandIn(Protocol):
    """What a handler answers from: ``url`` is where it listens, ``released`` ends an answer that stalls."""

    url: str
    released: threading.Event


@contextlib.contextmanager
def listening(
    stand_in: StandIn, handler: type[BaseHTTPRequestHandler], host: str = "127.0.0.1", port: int = 0
) -> Iterator[None]:
    """Answer by ``handler``, which finds ``stand_in`` under that name; raises OSError if ``port`` (0: any) is taken."""
    with ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (handler,), {"stand_in": stand_in})) as server:
        stand_in.url = f"http://{host}:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield
        finally:
            stand_in.released.set()
            server.shutdown()
