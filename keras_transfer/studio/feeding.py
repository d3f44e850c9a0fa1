"""What comes in and goes out piece by piece: pictures that are sent, and changes that the page is told of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import Depends, Request

EVERY = 0.4
"""Seconds between two looks at what has changed."""
ALIVE = 15.0
"""Seconds after which a page that nothing changed for is told that the studio is there."""


async def _sent(request: Request) -> bytes:
    return await request.body()  # its length was held to the limit before it came here


PICTURE: Any = Depends(_sent)
"""The bytes of a picture as the body of a request."""


async def stream(told: Callable[[], dict[str, Any]], request: Request) -> AsyncIterator[str]:
    """Yield what `told` tells, as server-sent events: all of it first, then each key whose value has changed."""
    loop, before, quiet = asyncio.get_running_loop(), dict[str, str](), 0.0
    while not await request.is_disconnected():
        now = await loop.run_in_executor(None, told)
        said = {key: json.dumps(value) for key, value in now.items()}
        changed = [key for key, text in said.items() if before.get(key) != text]
        if changed:
            yield "data: {" + ", ".join(f"{json.dumps(key)}: {said[key]}" for key in changed) + "}\n\n"
        quiet = 0.0 if changed else quiet + EVERY
        if quiet > ALIVE:
            quiet = 0.0
            yield ": there\n\n"
        before = said
        await asyncio.sleep(EVERY)
