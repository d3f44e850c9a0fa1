"""Verbs that are asked to end at some of their writings, chosen by a seed: by Ctrl-C, by `kill`, by a closed terminal.

    scripts/campaign stop [--count 60] [--seed 0] [--only export]

It holds where the verb ends with exit code 130, or was done already, no final name is half a file, and the same
command then ends with the same bytes.
"""

import random
from pathlib import Path

import campaigning
import striking
import verbs


def attempt(kind: str, rng: random.Random, folder: Path) -> str:
    """Strike a verb; what was lost, in words."""
    return striking.attempt(kind, rng, folder, "stop")


if __name__ == "__main__":
    campaigning.main("stop", tuple(verbs.VERBS), attempt, count=60)
