"""A real HTTP server on the loopback interface that misbehaves on request."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Resource:
    """One file of the server.

    Attributes:
        script: what happens to the coming requests, one entry each; afterwards all goes well.
            int: answer with this status; ("truncate", n): close after n bytes of the body; ("stall", n): stop sending
            after n bytes; ("replace", content, etag): the file changes before this request is answered.
        ranges, conditions: honour Range, and If-Range.
        headers: sent with every answer.
    """

    content: bytes
    etag: str | None = None
    ranges: bool = True
    conditions: bool = True
    length: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    script: list = field(default_factory=list)


class LoopbackServer(ThreadingHTTPServer):
    """`files` maps paths to resources; `requests` lists (path, Range header), `headers` all headers, as they came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, Resource] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.headers: list[dict[str, str]] = []
        self.scheme = "http"
        self.closing = threading.Event()

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}{path}"


@contextlib.contextmanager
def running_server(context: ssl.SSLContext | None = None) -> Iterator[LoopbackServer]:
    """A server that runs in a thread until the block ends, over https with a `context`."""
    server = LoopbackServer()
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: LoopbackServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range")))
        self.server.headers.append(dict(self.headers))
        resource = self.server.files.get(self.path)
        if resource is None:
            self._empty(404, {})
            return
        step = resource.script.pop(0) if resource.script else None
        if isinstance(step, int):
            self._empty(step, resource.headers)
            return
        if step and step[0] == "replace":
            resource.content, resource.etag = step[1:]
            step = None
        start = self._range_start(resource)
        if start is not None and start >= len(resource.content):
            self._empty(416, {"Content-Range": f"bytes */{len(resource.content)}"})
            return
        self._send(resource, start, step)

    def _range_start(self, resource: Resource) -> int | None:
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        outdated = resource.conditions and condition and condition != resource.etag
        if not resource.ranges or asked is None or outdated:
            return None
        return int(asked.removeprefix("bytes=").partition("-")[0])

    def _send(self, resource: Resource, start: int | None, step: tuple[str, int] | None) -> None:
        size = len(resource.content)
        body = resource.content[start or 0 :]
        self.send_response(200 if start is None else 206)
        for name, value in resource.headers.items():
            self.send_header(name, value)
        if resource.length:
            self.send_header("Content-Length", str(len(body)))
        if resource.etag:
            self.send_header("ETag", resource.etag)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body[: step[1]] if step else body)
            if step and step[0] == "stall":
                self.wfile.flush()
                self.server.closing.wait(20)

    def _empty(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""
