"""A proxy before a real HTTP server that answers 500, answers late, or cuts connections in the middle of an answer."""

from __future__ import annotations

import http.client
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_NOT_PASSED_ON = {"connection", "transfer-encoding", "keep-alive", "server", "date"}


class FaultyProxy:
    """Use it as a context manager; `url` is where clients go.

    Args:
        port: of the server on 127.0.0.1 behind it.
        seed: the same faults in the same order of requests.
        errors, slow, dropped, lost: shares of requests that get a 500, are answered late, are cut in the middle of the
            answer, or are done without any answer.
    """

    def __init__(
        self, port: int, seed: int = 0, errors: float = 0, slow: float = 0, dropped: float = 0, lost: float = 0
    ) -> None:
        self.port, self.shares = port, {"error": errors, "slow": slow, "dropped": dropped, "lost": lost}
        self.random, self.lock = random.Random(seed), threading.Lock()
        self.faults: dict[str, int] = dict.fromkeys(self.shares, 0)
        self.requests: list[tuple[str, str, bytes]] = []
        self.now = self.most = 0

    def fault(self) -> str | None:
        with self.lock:
            drawn = self.random.random()
            for kind, share in self.shares.items():
                if drawn < share:
                    self.faults[kind] += 1
                    return kind
                drawn -= share
        return None

    def __enter__(self) -> FaultyProxy:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with proxy.lock:
                proxy.now += 1
                proxy.most = max(proxy.most, proxy.now)
                proxy.requests.append((self.command, self.path, body))
            try:
                self._answered(body, proxy.fault())
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with proxy.lock:
                    proxy.now -= 1

        def _answered(self, body: bytes, fault: str | None) -> None:
            if fault == "error":
                self.send_response(500)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if fault == "slow":
                time.sleep(0.3)
            behind = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
            behind.request(self.command, self.path, body, dict(self.headers))
            answer = behind.getresponse()
            content = answer.read()
            behind.close()
            if fault == "lost":
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _NOT_PASSED_ON | {"content-length"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            if self.command == "HEAD":
                return
            if fault == "dropped":
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
