"""Files by web address, from a server on this machine that does as told, and as it should not."""

from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import sleep

import pytest

from detkit.data.io.fetch import fetch

CONTENT = bytes(range(250)) * 4


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path:
            case "/file":
                self.answer(CONTENT, len(CONTENT))
            case "/unsized":
                self.answer(CONTENT, None)
            case "/short":
                self.answer(CONTENT[:100], len(CONTENT))
            case "/silent":
                sleep(0.5)
            case "/slow":
                self.answer(b"", None)
                for byte in CONTENT[:30]:
                    self.wfile.write(bytes([byte]))
                    sleep(0.05)
            case "/moved":
                self.move("/file")
            case "/local":
                self.move("file:///etc/hostname")
            case "/data":
                self.move("data:text/plain,hello")
            case "/ftp":
                self.move("ftp://127.0.0.1/file")
            case "/round":
                self.move("/round")
            case _:
                self.send_error(404)

    def answer(self, content: bytes, length: int | None) -> None:
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def move(self, place: str) -> None:
        self.send_response(302)
        self.send_header("Location", place)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError):  # the client went away, as it should
            super().handle()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("path", ["/file", "/unsized", "/moved"])
def test_a_file_is_had_whole(server: str, path: str) -> None:
    assert fetch(server + path) == CONTENT
    assert fetch(server + path, max_bytes=len(CONTENT)) == CONTENT


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nothing", "404"),
        ("/short", "ended 900 bytes too early"),
        ("/silent", "timed out"),
        ("/slow", "came in 0 seconds"),
        ("/local", "file:///etc/hostname.*not allowed"),
        ("/data", "data:text/plain.*not allowed"),
        ("/ftp", "unknown url type: ftp"),
        ("/round", "infinite loop"),
    ],
)
def test_what_cannot_be_had_is_told_with_its_address(server: str, path: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{server}{path}: cannot be fetched .*{reason}"):
        fetch(server + path, timeout=0.2, max_seconds=0.3)


@pytest.mark.parametrize(("path", "reason"), [("/file", "has 1,000 bytes, at most 999"), ("/unsized", "more than the")])
def test_no_more_than_allowed_is_taken(server: str, path: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        fetch(server + path, max_bytes=999)


@pytest.mark.parametrize(
    "address", ["file:///etc/hostname", "http://", "http://127.0.0.1:1/x", "http://[", "street.jpg"]
)
def test_what_is_no_address_of_the_web(address: str) -> None:
    with pytest.raises(ValueError, match="cannot be fetched"):
        fetch(address, timeout=0.2)
