"""Verbs under a limit that a seed chooses: of memory, of the size of a file, of open files, as `ulimit` sets them.

    scripts/campaign limits [--count 27] [--seed 0] [--only "memory train"]

It holds where the verb ends well or by a sentence, no final name is half a file, and the same command without the
limit then ends with the same bytes. `--only "room train"` gives a verb a disk of its own that is full after some of the
bytes that it writes; mounting one needs root.
"""

import random
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import campaigning
import striking
import verbs
import warmed

LIMITS: dict[str, tuple[int, int, int]] = {
    "memory": (resource.RLIMIT_AS, 2**28, 2**34),
    "file size": (resource.RLIMIT_FSIZE, 2**8, 2**24),
    "open files": (resource.RLIMIT_NOFILE, 8, 256),
}
"""What is limited, and between which bounds; as often below a mean of them as above it."""

TRIED = ("train", "train streamed", "export", "verify", "report", "bundle", "gallery", "doctor", "advise")

ROOM = "room"
"""What the limit of a disk is called beside those."""
WIDE = 2**33
"""Bytes of a disk that no verb fills here."""
LITTLE = 2**16
"""Bytes that verbs write at least, what they write aside and in place of what is there included."""


def attempt(kind: str, rng: random.Random, folder: Path) -> str:
    """Run a verb under a limit, look at what it left, and run it again without; what was lost, in words."""
    limit, verb = next((each, kind.removeprefix(f"{each} ")) for each in (*LIMITS, ROOM) if kind.startswith(f"{each} "))
    at, lost = _in_little_room(verb, rng, folder) if limit == ROOM else _under(limit, verb, rng, folder)
    return f"{limit} of {at:,}: {lost}" if lost else ""


def _under(limit: str, verb: str, rng: random.Random, folder: Path) -> tuple[int, str]:
    """Run a verb under a limit of its process: which one it was, and what was lost."""
    base, wanted = verbs.reference(verb)
    work = Path(shutil.copytree(base, folder / "work"))
    number, least, most = LIMITS[limit]
    at = round(least * (most / least) ** rng.random())
    done = verbs.run(verbs.VERBS[verb].words, work, preexec_fn=lambda: resource.setrlimit(number, (at, at)))
    return at, lost_by(verb, work, wanted, *done)


def _in_little_room(verb: str, rng: random.Random, folder: Path) -> tuple[int, str]:
    """Run a verb on a disk that is full after so many bytes: how many these were, and what was lost."""
    base, wanted = verbs.reference(verb)
    work, at = folder / "work", rng.randrange(max(LITTLE, _bytes_of(verbs.after(verb)) - _bytes_of(base)))
    with mounted(work):
        shutil.copytree(base, work, dirs_exist_ok=True)
        _resized(work, shutil.disk_usage(work).used + at)
        done = warmed.run(verbs.VERBS[verb].words, work)
        left = striking.drafts(work)
        _resized(work, WIDE)
        return at, lost_by(verb, work, wanted, *done) or (f"'{left}' is left behind" if left else "")


def lost_by(verb: str, work: Path, wanted: Mapping[str, str], code: int, said: str) -> str:
    """What is lost of a verb that ended under a limit and is run again without it, in words."""
    if code not in (0, 1, 2) or striking.UNFORESEEN in said or "Traceback" in said:
        return f"exit code {code}, {said[-300:]}"
    if half := next((str(path.relative_to(work)) for path in work.rglob("*") if striking.is_half(path)), ""):
        return f"'{half}' is half a file"
    code, said = warmed.run(verbs.VERBS[verb].words, work)
    if code:
        return f"the same command without it then ended with {code}: {said[-300:]}"
    return "" if verbs.results(verb, work) == wanted else "the same command then ended with other bytes"


@contextmanager
def mounted(place: Path) -> Iterator[None]:
    """A disk of its own at a place, in memory."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={WIDE}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)  # a verb that is asked to end is there still


def _resized(place: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    kinds = tuple(f"{limit} {verb}" for verb in TRIED for limit in LIMITS)
    campaigning.main("limits", kinds, attempt, count=27, slow=tuple(f"{ROOM} {verb}" for verb in verbs.VERBS))
