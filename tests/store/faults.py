"""A proxy before a store that does to some answers what networks and stores do."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@contextmanager
def faulty(endpoint: str, fault: Callable[[str, int], str | None]) -> Iterator[str]:
    """The endpoint of a proxy.

    Args:
        endpoint: of the store.
        fault: what is to befall the answer for a path that is asked for the n-th time, from 0: a status, ``cut``,
            ``reset``, or None. What is written is handed on as it is.
    """
    store = urlsplit(endpoint).netloc
    asked: dict[str, int] = {}
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                time = asked[self.path] = asked.get(self.path, -1) + 1
            what = fault(self.path, time)
            if what == "reset":
                self.close_connection = True
                self.connection.close()
                return
            if what is not None and what.isdigit():
                self.send_response(int(what))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.hand_on(what)

        def do_PUT(self) -> None:
            self.hand_on(None)

        do_POST = do_DELETE = do_PUT

        def hand_on(self, what: str | None) -> None:
            upstream = http.client.HTTPConnection(store)
            # The signature covers the name of the host that was asked: it is handed on as it is.
            try:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                upstream.request(self.command, self.path, body or None, dict(self.headers.items()))
                answer = upstream.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                # The store is down: so is what stands before it.
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if what == "cut" else body)
            if what == "cut":
                self.close_connection = True

        do_HEAD = do_GET

        def log_message(self, *words: object) -> None:
            """Not on the screen."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
