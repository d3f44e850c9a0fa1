"""Estimates whether a stage is cheaper on stored features or on pictures streamed through the frozen part.

From shapes alone, never from a clock: the same plan must choose the same way on a resumed run and on a busy machine.
"""

from __future__ import annotations

SPEEDUP = {"litert": 1.8, "onnxruntime": 1.8, "keras": 1.0}
"""How many times faster than Keras an engine computes what is frozen: `scripts/bench engines FOLDER` printed 1.7 to 1.9
for both (EfficientNet-Lite0, 96 and 224 px, two cores)."""

WORK_PER_BYTE = 115.0
"""Multiply-adds that Keras does while one byte of features is written, read back and put into a batch; the same command
printed 113 and 119."""


def store_share(work: int, feature_bytes: int, *, engine: str, views: int, epochs: int) -> float:
    """Return the cost of a stage's inputs from the store as a share of streaming them; below 1 the store is cheaper.

    >>> round(store_share(72_000_000, 2_560, engine="litert", views=2, epochs=20), 3)
    0.06

    work: multiply-adds of one picture up to the cut; feature_bytes: of one picture in the store; views: how many are
    computed; epochs: how often all pictures are passed. The learning part costs the same either way and is left out.
    """
    streamed = epochs * work
    stored = views * work / SPEEDUP[engine] + (views + epochs) * feature_bytes * WORK_PER_BYTE
    return stored / max(streamed, 1)
