"""Trains, exports and predicts in a loop, in one process: memory and open files must stay flat.

    scripts/campaign soak [--minutes 5]

After the first third, in which runtimes fill their caches, it holds where no more files or threads are open at the end
than there were, and the median of memory of the last third is at most 5 % and 32 MB above that of the one before.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
import verbs

SHARE, BYTES = 0.05, 32 * 2**20
"""By which memory may grow; allocators keep what they were given in pieces."""


class Seen(NamedTuple):
    """What the process holds after a round."""

    memory: int
    """Bytes that are resident."""
    files: int
    threads: int


def seen() -> Seen:
    """Look at this process."""
    process = psutil.Process()
    return Seen(process.memory_info().rss, process.num_fds(), process.num_threads())


def round_of(folder: Path, number: int) -> None:
    """Train, export and predict once; each time another run."""
    import keras_transfer as kt
    from keras_transfer import plan

    run = kt.train(plan.read(folder / "plan.toml", [f"seed={number}"]), name=f"run-{number}")
    files = kt.export(run, ["tflite", "onnx"])
    for each in files:
        kt.predict(each.artifact.path, sorted((folder / "pictures" / "ant").iterdir()))


def lost(rounds: Sequence[Seen]) -> list[str]:
    """What did not stay flat, in words."""
    third = len(rounds) // 3
    if not third:
        return [f"{len(rounds)} rounds are too few to tell: give more --minutes"]
    before, after = rounds[third : 2 * third], rounds[-third:]
    found = []
    for name in ("files", "threads"):
        was, now = max(getattr(each, name) for each in before), min(getattr(each, name) for each in after)
        if now > was:
            found.append(f"{name} grew from {was} to {now}")
    was, now = (statistics.median(each.memory for each in part) for part in (before, after))
    if now > was * (1 + SHARE) + BYTES:
        found.append(f"memory grew from {was / 1e6:.0f} to {now / 1e6:.0f} MB")
    return found


def main() -> None:
    """Go round until the time is up, and tell what was flat."""
    parser = argparse.ArgumentParser(prog="scripts/campaign soak")
    parser.add_argument("--minutes", type=float, default=5)
    given = parser.parse_args()
    rounds: list[Seen] = []
    with tempfile.TemporaryDirectory(prefix="campaign-soak-") as place:
        folder = Path(place) / "work"
        verbs.begin(folder)
        os.environ |= {f"KERAS_TRANSFER_{name}": str(folder / f".{name}") for name in ("CACHE", "STATE")}
        os.chdir(folder)
        end = time.monotonic() + 60 * given.minutes
        while time.monotonic() < end:
            round_of(folder, len(rounds))
            rounds.append(seen())
            each = rounds[-1]
            print(f"{len(rounds)}: {each.memory / 1e6:.0f} MB, {each.files} files, {each.threads} threads", flush=True)
        os.chdir("/")
    found = lost(rounds)
    for each in found:
        print(f"lost: {each}\n  again: scripts/campaign soak --minutes {given.minutes:g}")
    print(f"soak: tried {len(rounds)}, held {0 if found else len(rounds)}, lost {len(found)}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
