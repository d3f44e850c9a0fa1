"""Lets in who holds the token, from this page alone: hosts, origins, sizes, and what browsers are told of safety."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from keras_transfer.studio.taking import MOST_BYTES

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

MOST_ASKED_BYTES = 2**21
"""Of a request that sends no picture: 2 MB, the ids of 100,000 pictures."""
SENDS_PICTURES = ("/api/collect", "/api/tries")
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
READING = ("GET", "HEAD")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing is loaded from elsewhere, no script stands in the page, and no other page shows this one inside."""

HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every answer that does not say otherwise itself."""


class Guard:
    """Stands before the routes: what it does not let in, no route sees.

    token: who knows it is let in, by `?token=` of the page's address once and by a cookie from then on; or as
    `Authorization: Bearer TOKEN`. hosts: names that the studio is reached by, each with its port. A page from elsewhere
    whose name was made to lead here (DNS rebinding) comes with another, and is refused. port: cookies are told apart by
    it, because browsers do not.
    """

    def __init__(self, app: App, *, token: str, hosts: Iterable[str], port: int) -> None:
        self.app, self.token, self.hosts = app, token, frozenset(hosts)
        self.cookie = f"studio-{port}"

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._stranger(scope, headers) or self._unknown(scope, headers) or self._too_large(scope, headers)
        if refused:
            await _refuse(*refused, scope, send)
            return
        cookie = self._fresh_cookie(scope)

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _with_safety(message.get("headers", ()), cookie)
            await send(message)

        await self.app(scope, receive, answered)

    def _stranger(self, scope: Message, headers: Message) -> tuple[int, str] | None:
        """Why a request comes from somewhere else than the studio's own page, if it does.

        A link to the page may be followed from anywhere: what it needs is the token, and it changes nothing.
        """
        if not scope.get("query_string", b"").isascii():
            return 400, "That is no address: what stands behind its question mark is written in ASCII."
        host = headers.get("host", "").lower()
        if host not in self.hosts:
            return 421, "This is reached by the address that the terminal shows, and by no other name."
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        follows = (scope["path"], scope["method"], headers.get("sec-fetch-mode")) == ("/", "GET", "navigate")
        near = site in ("same-origin", "none") or follows
        if (origin is not None and origin.lower() != f"http://{host}") or not near:
            return 403, "Only the studio's own page may ask this."
        return None

    def _unknown(self, scope: Message, headers: Message) -> tuple[int, str] | None:
        """Why whoever asks is not let in, if it is so."""
        given = [self._asked_with(scope), headers.get("authorization", "").removeprefix("Bearer ")]
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            cookie = None
        given += [cookie.value] if cookie else []
        if any(hmac.compare_digest(each.encode(), self.token.encode()) for each in given):
            return None
        return 401, "Open the address that the terminal shows: it ends in ?token=… and lets you in."

    def _too_large(self, scope: Message, headers: Message) -> tuple[int, str] | None:
        """Why a request holds too much, or does not say how much; its length is then held to by the server."""
        if scope["method"] not in (*CHANGING, *READING):
            return 405, "That is not how anything is asked for here."
        length = headers.get("content-length", "0" if scope["method"] in READING else "")
        if not (length.isascii() and length.isdigit()) or "transfer-encoding" in headers:
            return 411, "A request says beforehand how long it is."
        most = MOST_BYTES if scope["path"].startswith(SENDS_PICTURES) else MOST_ASKED_BYTES
        if int(length[:20]) > most:
            return 413, f"At most {most:,} bytes are taken at a time."
        return None

    def _asked_with(self, scope: Message) -> str:
        """The token of the page's address; other addresses take none, so that it stands in no log of theirs."""
        if scope["path"] != "/":
            return ""
        return parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]

    def _fresh_cookie(self, scope: Message) -> bytes | None:
        if not self._asked_with(scope):
            return None
        return f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000".encode()


def _with_safety(headers: Iterable[tuple[bytes, bytes]], cookie: bytes | None) -> list[tuple[bytes, bytes]]:
    said = {name.lower() for name, _ in headers}
    added = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in said]
    return [*headers, *added, *([(b"set-cookie", cookie)] if cookie else [])]


async def _refuse(status: int, reason: str, scope: Message, send: Callable[[Message], Awaitable[None]]) -> None:
    """Say why not: as a page where a person looks, else as the routes say it."""
    page = scope["path"] == "/"
    said = f"<!doctype html><html lang=en><title>Studio</title><p>{reason}" if page else json.dumps({"error": reason})
    kind = b"text/html; charset=utf-8" if page else b"application/json"
    body = said.encode()
    headers = _with_safety([(b"content-type", kind), (b"content-length", str(len(body)).encode())], None)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
