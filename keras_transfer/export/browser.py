"""Has a browser read and resize picture files, on a page that posts back what its canvas shows."""

from __future__ import annotations

import http.server
import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_transfer.errors import ArtifactError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
"""Names that Chromium goes by."""

PAGE = Path(__file__).with_name("browser.html")
PATIENCE_S = 300
"""A page that posts nothing for as long will post nothing any more."""


def squares(program: str, paths: Sequence[str], size: int, aspect: str) -> Iterator[np.ndarray | None]:
    """Give what headless Chromium makes of each picture file, uint8 (size, size, 3); None where it reads none.

    program: its path. aspect: as `Contract.aspect`. Raises ArtifactError where the browser says nothing.
    """
    made: queue.Queue[bytes] = queue.Queue()
    given = json.dumps({"count": len(paths), "size": size, "aspect": aspect}).encode()
    with (
        tempfile.TemporaryDirectory() as profile,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(paths, given, made)) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        command = [program, *options, f"http://127.0.0.1:{server.server_port}/"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                for _ in paths:
                    pixels = np.frombuffer(made.get(timeout=PATIENCE_S), np.uint8)
                    yield pixels.reshape(size, size, 4)[..., :3] if len(pixels) else None
            except queue.Empty:
                raise ArtifactError(f"'{program}' showed no picture for {PATIENCE_S} seconds.") from None
            finally:
                process.terminate()
                process.wait()
                server.shutdown()


def _handler(paths: Sequence[str], given: bytes, made: queue.Queue[bytes]) -> type[http.server.BaseHTTPRequestHandler]:
    """Return what serves the page, what it is given, and the pictures by number; the page posts one at a time."""
    numbers = {str(number) for number in range(len(paths))}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = self.path.strip("/")
            page = {"": ("text/html", PAGE.read_bytes), "given": ("application/json", lambda: given)}
            if place not in page and place not in numbers:
                self.send_error(404)  # a browser asks for an icon of its own accord
                return
            kind, content = page.get(place) or ("application/octet-stream", Path(paths[int(place)]).read_bytes)
            body = content()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            made.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
