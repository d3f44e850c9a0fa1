"""What campaigns share: what they are told, how bytes are changed by a seed, and how what they found is told."""

import argparse
import json
import os
import random
import resource
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS = 10
"""Of computing that one attempt may take."""

PATIENCE = 300
"""Seconds after which an attempt hangs, however busy the machine is."""

MEMORY_BYTES = 6 * 2**30
"""Of addresses that one attempt may take; the largest picture that is decoded takes half of it."""

HEAP_CHECKS = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
"""What has glibc end a process that wrote past the end of a block, or freed one twice (mallopt(3), M_CHECK_ACTION)."""

Attempt = Callable[[str, random.Random, Path], str]
"""What is tried of a kind; it returns what was lost, in words, or nothing where all held."""


def main(name: str, kinds: Sequence[str], attempt: Attempt, *, count: int, slow: Sequence[str] = ()) -> None:
    """Try `--count` cases of a campaign from `--seed` on, one kind after the other, and tell what held.

    A case depends on its seed alone, so that each can be repeated; Ctrl-C ends it with what was tried. slow: kinds that
    `--only` alone tries.
    """
    parser = argparse.ArgumentParser(prog=f"scripts/campaign {name}")
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=(*kinds, *slow), action="append", help="this kind alone; repeat for several")
    given = parser.parse_args()
    tried, lost, began = Counter[str](), Counter[str](), time.monotonic()
    chosen = given.only or kinds
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells have ignored in the background
    with suppress(KeyboardInterrupt):  # what was tried until then is told
        for seed in range(given.seed, given.seed + given.count):
            kind = chosen[seed % len(chosen)]
            with tempfile.TemporaryDirectory(prefix=f"campaign-{name}-") as folder:
                found = attempt(kind, random.Random(f"{name} {kind} {seed}"), Path(folder))
            tried[kind] += 1
            if found:
                lost[kind] += 1
                line = f"scripts/campaign {name} --count 1 --seed {seed} --only {shlex.quote(kind)}"
                print(f"lost: {kind}, {found}\n  again: {line}", flush=True)
    for kind in (*kinds, *slow):
        if tried[kind]:
            print(f"{kind}: tried {tried[kind]}, held {tried[kind] - lost[kind]}, lost {lost[kind]}")
    total, all_lost = tried.total(), lost.total()
    told = f"{name}: tried {total}, held {total - all_lost}, lost {all_lost}, in {time.monotonic() - began:.0f} s"
    print(f"{told}, from seed {given.seed}" + (f"; stopped before {given.count}" if total < given.count else ""))
    sys.exit(bool(all_lost) or total < given.count)


def check_heap() -> None:
    """Begin this process anew under `HEAP_CHECKS`, which are read when one begins; a C library without them has none.

    Packages bring no decoders that were built with AddressSanitizer, which would see what is read past the end, too.
    """
    if not HEAP_CHECKS.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | HEAP_CHECKS)


def apart(work: Callable[[], Any]) -> tuple[Any, str]:
    """Return what `work` returns in a process of its own, or how that process ended: a crash, no memory, no end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        signal.alarm(PATIENCE)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            said = json.dumps([work(), ""])
        except BaseException as error:
            said = json.dumps([None, f"{type(error).__name__}: {error}"[:400]])
        with os.fdopen(writing, "w") as answer:
            answer.write(said)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None, f"ended by {signal.Signals(os.WTERMSIG(status)).name}"
    found, problem = json.loads(said)
    return found, problem


def flipped(content: bytes, rng: random.Random) -> bytes:
    """A few bytes are others."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 4, 16))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return content[: rng.randrange(len(content))]


def lengthened(content: bytes, rng: random.Random) -> bytes:
    """A number of 2, 4 or 8 bytes, perhaps a length, is one that programs trip over."""
    width = rng.choice((2, 4, 8))
    value = rng.choice((0, 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1, 2 ** (4 * width)))
    place = rng.randrange(max(1, len(content) - width))
    return content[:place] + value.to_bytes(width, rng.choice(("big", "little"))) + content[place + width :]


def spliced(content: bytes, rng: random.Random) -> bytes:
    """A part stands somewhere else, or twice."""
    start = rng.randrange(len(content))
    part = content[start : start + rng.randrange(1, 512)]
    place = rng.randrange(len(content))
    return content[:place] + part * rng.choice((1, 1, 50)) + content[place + rng.choice((0, len(part))) :]


def reworded(content: bytes, rng: random.Random) -> bytes:
    """A number or a word of a text is one that nobody expects."""
    words = content.split(b'"') if b'"' in content else content.split()
    separator = b'"' if b'"' in content else b" "
    strange = (b"-1", b"1e999", b"NaN", b"null", b"", b"\xff\xfe", b"../../etc/passwd", b"\0", b"[" * 5000, b"9" * 5000)
    words[rng.randrange(len(words))] = rng.choice(strange)
    return separator.join(words)


OF_BYTES = (flipped, cut, lengthened, spliced)
OF_TEXT = (*OF_BYTES, reworded)


def changed(content: bytes, rng: random.Random, ways: Sequence[Callable[[bytes, random.Random], bytes]]) -> bytes:
    """Return bytes that were changed in one of some ways, seldom in two."""
    for _ in range(rng.choice((1, 1, 1, 2))):
        content = rng.choice(ways)(content or b"0", rng)
    return content
