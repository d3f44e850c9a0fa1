"""Opens the studio at an address of this machine and keeps it there until it is stopped."""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keras_transfer import vouching
from keras_transfer.errors import UsageError
from keras_transfer.files import held
from keras_transfer.studio.given import Given
from keras_transfer.studio.guard import Guard

HOST, PORT = "127.0.0.1", 7878
EVERYWHERE = ("0.0.0.0", "::")
"""Hosts that stand for every address of this machine."""
OPEN_AT = "open-at.json"
SECONDS_TO_END = 1
"""For pages that are still told of changes when the studio ends."""


def serve(given: Given, *, host: str = HOST, port: int = PORT, opened: Callable[[str], None] = print) -> None:
    """Serve the page until the process is asked to end.

    opened: is given the address, token and all, as soon as a browser can open it. port: 0 takes any that is free.
    Raises UsageError where the port is taken, RunError where another studio has the same pictures open.
    """
    import uvicorn

    from keras_transfer.studio.routes import make_app

    with _alone(given.beside) as place, _listening(host, port) as listening:
        port = listening.getsockname()[1]
        token = token_of(given.beside)
        names = names_of(host)
        address = f"http://{names[0]}:{port}/"
        _private(place / OPEN_AT, json.dumps({"address": address}))
        hosts = [f"{name}:{port}" for name in names]
        guarded = Guard(make_app(given), token=token, hosts=hosts, port=port)
        config = uvicorn.Config(
            guarded,
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SECONDS_TO_END,
            limit_concurrency=200,
        )
        server = uvicorn.Server(config)
        opened(f"{address}?token={token}")
        with suppress(KeyboardInterrupt):  # which it raises again once it has ended
            server.run(sockets=[listening])


def token_of(beside: Path) -> str:
    """Return the token of the studio for these pictures: the same when it is opened again, so that pages go on.

    It is kept where only this user reads it; where nothing can be kept, each studio has its own.
    """
    folder = vouching.state_folder()
    fresh = secrets.token_urlsafe(32)
    if folder is None:
        return fresh
    file = folder / "studio" / hashlib.sha256(str(beside.absolute()).encode("utf-8", "surrogateescape")).hexdigest()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):
            kept = file.read_text(encoding="ascii", errors="replace").strip()
            if len(kept) >= len(fresh):
                return kept
        _private(file, fresh)
    return fresh


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_of(host: str) -> list[str]:
    """Return the names that a studio at a host is reached by, that for a browser first.

    >>> names_of("127.0.0.1")
    ['127.0.0.1', 'localhost', '[::1]']
    """
    loopback = ["127.0.0.1", "localhost", "[::1]"]
    if is_loopback(host):
        return list(dict.fromkeys([f"[{host}]" if ":" in host else host, *loopback]))
    if host not in EVERYWHERE:
        return [f"[{host}]" if ":" in host else host.lower(), *loopback]
    import psutil

    found = [
        each.address for every in psutil.net_if_addrs().values() for each in every if each.family == socket.AF_INET
    ]
    return [*(each for each in found if not is_loopback(each)), socket.gethostname().lower(), *loopback]


def said_of(host: str) -> str:
    """Return what a person must know of an address that others can reach; empty of loopback."""
    if is_loopback(host):
        return ""
    return (
        f"The studio is not on loopback: whoever reaches {host} and knows the token can train, label and download. "
        "What is sent can be read on the way."
    )


@contextmanager
def _alone(beside: Path) -> Iterator[Path]:
    """Hold the place of a studio for this process; RunError where another has it."""
    with held(
        beside,
        unmade=lambda error: (
            f"The studio keeps what you decide in '{beside}', which cannot be made ({error.strerror})."
        ),
        taken=lambda: f"A studio for these pictures is open already{_where(beside)}.",
    ):
        yield beside


def _where(beside: Path) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError):
        return f" at {json.loads((beside / OPEN_AT).read_text(encoding='utf-8'))['address']}"
    return ""


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"Port {port} is in use. Name another with --port, or 0 for any that is free."
            raise UsageError(reason) from None
        raise UsageError(f"No page can be opened at '{host}', port {port}: {error.strerror or error}.") from None
    except OverflowError:
        raise UsageError(f"A port is a number from 0 to 65535. Received: {port}") from None


def _private(path: Path, text: str) -> None:
    """Write a file that only this user reads."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
