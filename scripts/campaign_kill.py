"""Verbs that meet SIGKILL at some of their writings, chosen by a seed.

    scripts/campaign kill [--count 60] [--seed 0] [--only export]

It holds where no final name is half a file and the same command then ends with the same bytes.
"""

import random
from pathlib import Path

import campaigning
import striking
import verbs


def attempt(kind: str, rng: random.Random, folder: Path) -> str:
    """Strike a verb; what was lost, in words."""
    return striking.attempt(kind, rng, folder, "kill")


if __name__ == "__main__":
    campaigning.main("kill", tuple(verbs.VERBS), attempt, count=60)
