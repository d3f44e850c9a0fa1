"""What tests do with a page in Chromium: look at it at a width, wait for it, allow it the camera, serve it."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 300
"""Seconds until a page that says nothing is given up."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}

    def log_message(self, *arguments):
        pass


@contextmanager
def static(folder) -> Iterator[str]:
    """Serve a folder as any static server does; gives its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def wait(browser, script, wanted=None):
    """Wait until a script says something; fails where that is not what is wanted."""
    from selenium.webdriver.support.ui import WebDriverWait

    found = WebDriverWait(browser, PATIENCE).until(
        lambda each: [each.execute_script(script)] if _said(each, script) else 0
    )
    assert wanted is None or found == [wanted], status(browser)


def _said(browser, script):
    return browser.execute_script(script) not in (None, False)


def status(browser):
    return browser.execute_script("return document.getElementById('status').textContent")


def shaped(browser, width, theme="light"):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def permit(browser, address, setting):
    given = {"permission": {"name": "camera"}, "setting": setting, "origin": address}
    browser.execute_cdp_cmd("Browser.setPermission", given)
