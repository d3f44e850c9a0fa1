"""What a person waits for on the studio's page in Chromium: until something stands there, and until pictures do.

    scripts/bench page [--pictures 60,20000] [--times 5] [--json]

Milliseconds from the moment the address was given, the median of `--times` openings at 390 and 1,280 pixels, on
loopback: `paint` is the browser's first-contentful-paint, `pictures` the moment the first row of thumbnails is drawn.
The peer is an empty page of a static server in the same browser, which is what opening any page takes here.
"""

import argparse
import http.server
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

WIDTHS = (390, 1280)
EMPTY = b"<!doctype html><html lang=en><title>Empty</title><p>Empty"
PAINT = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
PICTURES = """
const images = [...document.querySelectorAll('.tile img')];
if (images.length < 2 || !images.slice(0, 2).every((each) => each.complete && each.naturalWidth)) return null;
return Math.max(...performance.getEntriesByType('resource').filter((each) => each.name.endsWith('/small'))
  .sort((one, other) => one.responseEnd - other.responseEnd).slice(0, 2).map((each) => each.responseEnd));
"""
PATIENCE = 120
DIFFERENT = 200
"""Pictures that are drawn; the others are further names of their files."""


@contextmanager
def empty():
    """The address of a page with nothing on it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(EMPTY)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextmanager
def studio(place, count):
    """The address of a studio for so many pictures of two classes."""
    random = np.random.default_rng(0)
    for number in range(count):
        path = place / "pictures" / ("ant", "bee")[number % 2] / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < DIFFERENT:
            Image.fromarray(random.integers(0, 256, (48, 64, 3), np.uint8)).resize((640, 480)).save(path)
        else:
            first = number % DIFFERENT
            os.link(place / "pictures" / ("ant", "bee")[first % 2] / f"{first:06}.jpg", path)
    words = ["studio", "pictures", "--no-browser", "--port", "0"]
    command = [sys.executable, "-m", "keras_transfer", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "KERAS_TRANSFER_STATE": str(place)}
    process = subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


@contextmanager
def chromium():
    """A browser without a window."""
    from selenium import webdriver

    given = webdriver.ChromeOptions()
    given.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        given.add_argument(argument)
    driver = webdriver.Chrome(given, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def opened(browser, address, width, script):
    """Milliseconds until a script says something of a page that is opened anew."""
    shape = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
    browser.get("about:blank")
    browser.get(address)
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        if found := browser.execute_script(script):
            return found
        time.sleep(0.01)
    raise SystemExit(f"{address.partition('?')[0]} showed nothing within {PATIENCE} seconds.")


def median(browser, address, width, script, times):
    return statistics.median(opened(browser, address, width, script) for _ in range(times))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", default="60,20000", help="how many, parted by commas")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    with chromium() as browser:
        for count in map(int, arguments.pictures.split(",")):
            with tempfile.TemporaryDirectory() as folder, empty() as nothing, studio(Path(folder), count) as address:
                for width in WIDTHS:
                    peer = median(browser, nothing, width, PAINT, arguments.times)
                    paint = median(browser, address, width, PAINT, arguments.times)
                    shown = median(browser, address, width, PICTURES, arguments.times)
                    rows.append({"pictures": count, "width": width, "paint": paint, "shown": shown, "empty": peer})
    if arguments.json:
        print(json.dumps(rows))
        return
    print("pictures  width  paint ms  pictures ms  an empty page's paint ms")
    for row in rows:
        print(
            f"{row['pictures']:8,}  {row['width']:5,}  {row['paint']:8.0f}  {row['shown']:11.0f}  {row['empty']:24.0f}"
        )


if __name__ == "__main__":
    main()
