"""Two processes at once, the second begun at a moment that a seed chooses: on one run, one cache, one gallery.

    scripts/campaign together [--count 24] [--seed 0] [--only "one gallery"]

It holds where each ends well, or says in a sentence that the other is writing, no final name is half a file, and what
both then have is what one after the other would have made.
"""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import campaigning
import numpy as np
import striking
import verbs

from keras_transfer.files import read_arrays

LATEST = 8
"""Seconds after the first that the second begins at the latest."""

WAITING = "is being written by another process"

Words = tuple[str, ...]

KINDS: dict[str, tuple[str, Words, Words]] = {
    "one run": ("train", verbs.VERBS["train"].words, verbs.VERBS["train"].words),
    "one cache": ("train", verbs.VERBS["train"].words, ("train", "--plan", "plan.toml", "--run", "other")),
    "one export": ("export", verbs.VERBS["export"].words, verbs.VERBS["export"].words),
    "export and verify": ("verify", verbs.VERBS["verify"].words, verbs.VERBS["export"].words),
    "one report": ("report", verbs.VERBS["report"].words, verbs.VERBS["report"].words),
    "one bundle": ("bundle", verbs.VERBS["bundle"].words, verbs.VERBS["bundle"].words),
    "one table": ("doctor", verbs.VERBS["doctor"].words, verbs.VERBS["doctor"].words),
    "one gallery": (
        "gallery",
        ("gallery", "saved_models/faces", "newcomers", "--file", "known.npz", "--add"),
        ("gallery", "saved_models/faces", "others", "--file", "known.npz", "--add"),
    ),
}
"""The verb whose end is looked at, and what the two processes are told."""


def attempt(kind: str, rng: random.Random, folder: Path) -> str:
    """Run both, and what one of them could not do again; what was lost, in words."""
    verb, first, second = KINDS[kind]
    base, wanted = verbs.reference(verb)
    work = folder / "work"
    shutil.copytree(verbs.after("gallery") if kind == "one gallery" else base, work)
    if kind == "one gallery":
        verbs.drawn(work / "newcomers", ("new-1", "new-2"), 3, others=20)
        verbs.drawn(work / "others", ("other-3", "other-4", "other-5"), 3, others=30)
    later = rng.random() * LATEST
    one = _begun(first, work)
    time.sleep(later)
    ended = [_ended(each) for each in (one, _begun(second, work))]
    when = f"the second {later:.1f} s after the first"
    for code, said in ended:
        if code not in (0, 1) or striking.UNFORESEEN in said or "Traceback" in said or (code and WAITING not in said):
            return f"{when}: exit code {code}, {said[-300:]}"
    if half := next((str(path.relative_to(work)) for path in work.rglob("*") if striking.is_half(path)), ""):
        return f"{when}: '{half}' is half a file"
    if left := striking.drafts(work):
        return f"{when}: '{left}' is left behind"
    for words, (code, _) in zip((first, second), ended, strict=True):
        if code and (found := verbs.run(words, work))[0]:
            return f"{when}: alone it then ended with {found[0]}: {found[1][-300:]}"
    if kind == "one gallery":
        return _missing(work / "known.npz")
    return "" if verbs.results(verb, work) == wanted else f"{when}: other bytes than one process makes"


def _begun(words: Words, work: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "keras_transfer", *words],
        cwd=work,
        env=verbs.environment(work),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    said, _ = process.communicate()
    return process.returncode, said


def _missing(file: Path) -> str:
    """Who was added and is not in the gallery."""
    there = set(np.array(read_arrays(file)["names"], str).tolist())
    gone = {"a", "new-1", "new-2", "other-3", "other-4", "other-5"} - there
    return f"{sorted(gone)} were added and are gone" if gone else ""


if __name__ == "__main__":
    campaigning.main("together", tuple(KINDS), attempt, count=16)
