"""Verbs whose disk takes no more from one of their writings on, chosen by a seed: full, a quota, read-only, broken.

    scripts/campaign disk [--count 60] [--seed 0] [--only export]

It holds where no final name is half a file and the same command then ends with the same bytes; a verb that cannot write
says so in a sentence.
"""

import random
from pathlib import Path

import campaigning
import striking
import verbs


def attempt(kind: str, rng: random.Random, folder: Path) -> str:
    """Strike a verb; what was lost, in words."""
    return striking.attempt(kind, rng, folder, "full")


if __name__ == "__main__":
    campaigning.main("disk", tuple(verbs.VERBS), attempt, count=60)
