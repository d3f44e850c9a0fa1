"""Verbs under a limit that a seed chooses: of memory, of the size of a file, of open files, as `ulimit` sets them.

    scripts/campaign limits [--count 40] [--seed 0] [--only "memory train"]

It holds where the verb ends well or by a sentence, no final name is half a file, and the same command without the
limit then ends with the same bytes.
"""

import random
import resource
import shutil
from pathlib import Path

import campaigning
import striking
import verbs

LIMITS: dict[str, tuple[int, int, int]] = {
    "memory": (resource.RLIMIT_AS, 2**28, 2**34),
    "file size": (resource.RLIMIT_FSIZE, 2**8, 2**24),
    "open files": (resource.RLIMIT_NOFILE, 8, 256),
}
"""What is limited, and between which bounds; as often below a mean of them as above it."""

TRIED = ("train", "train streamed", "export", "verify", "report", "bundle", "gallery", "doctor", "advise")


def attempt(kind: str, rng: random.Random, folder: Path) -> str:
    """Run a verb under a limit, look at what it left, and run it again without; what was lost, in words."""
    limit, verb = next((limit, kind.removeprefix(f"{limit} ")) for limit in LIMITS if kind.startswith(f"{limit} "))
    number, least, most = LIMITS[limit]
    at = round(least * (most / least) ** rng.random())
    base, wanted = verbs.reference(verb)
    work, words = folder / "work", verbs.VERBS[verb].words
    shutil.copytree(base, work)
    code, said = verbs.run(words, work, preexec_fn=lambda: resource.setrlimit(number, (at, at)))
    when = f"{limit} of {at:,}"
    if code not in (0, 1, 2) or striking.UNFORESEEN in said or "Traceback" in said:
        return f"{when}: exit code {code}, {said[-300:]}"
    if half := next((str(path.relative_to(work)) for path in work.rglob("*") if striking.is_half(path)), ""):
        return f"{when}: '{half}' is half a file"
    code, said = verbs.run(words, work)
    if code:
        return f"{when}: the same command without it then ended with {code}: {said[-300:]}"
    return "" if verbs.results(verb, work) == wanted else f"{when}: the same command then ended with other bytes"


if __name__ == "__main__":
    campaigning.main("limits", tuple(f"{limit} {verb}" for verb in TRIED for limit in LIMITS), attempt, count=27)
