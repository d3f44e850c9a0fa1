"""Verbs that meet a power failure at some of their writings, chosen by a seed: what was not synced is lost.

    scripts/campaign power [--count 60] [--seed 0] [--only export]

Files that were never synced are then empty; names that were given since their folder was synced are there, or by the
seed are not. It holds where no final name is half a file and the same command then ends with the same bytes.
"""

import random
from pathlib import Path

import campaigning
import striking
import verbs


def attempt(kind: str, rng: random.Random, folder: Path) -> str:
    """Strike a verb; what was lost, in words."""
    return striking.attempt(kind, rng, folder, "power")


if __name__ == "__main__":
    campaigning.main("power", tuple(verbs.VERBS), attempt, count=60)
