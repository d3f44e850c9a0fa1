"""The values that advice is made of: what was measured of a task and of each backbone on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from keras_transfer.selection.pictures import InputShift
from keras_transfer.specs import BackboneSpec, Plan, Stage, Value


@dataclass(frozen=True)
class BlockFeatures:
    """What one block gives for the pictures looked at."""

    features: np.ndarray
    """float32 (n, channels): its output, averaged over the picture."""
    distance: float | None = None
    """Of its activations' statistics from the source's, in deviations; None without batch norm."""
    mirrored: np.ndarray | None = None
    """float32 (up to n, channels): the features of the first pictures with left and right exchanged."""
    validation: np.ndarray | None = None
    """float32 (m, channels): the features of the validation pictures looked at."""
    work: float = 1.0
    """Share of the backbone's multiply-adds that the block does, 0-1."""


@dataclass(frozen=True)
class Measurement:
    """One backbone, frozen, on the pictures looked at."""

    image_size: int
    blocks: tuple[BlockFeatures, ...]
    size_bytes: int
    """Of its weights in float32."""
    picture_ms: float
    """For one picture in LiteRT on this machine."""
    source_probabilities: np.ndarray | None = None
    """float (n, source classes), where the weights bring the head they were trained with."""
    learning_ms: Callable[[], float] | None = None
    """Times a step of training and returns what a picture costs in it where every weight learns; takes seconds."""


Measure = Callable[[BackboneSpec, int], Measurement]
"""Takes a backbone and the side of a picture in pixels; raises WeightsError where its weights are not at hand."""

Recipes = Mapping[str, Callable[[int], tuple[Stage, ...]]]
"""Named lists of stages: each takes the number of blocks."""


@dataclass(frozen=True)
class Question:
    """The pictures and labels that advice is asked for."""

    source: str
    labels: np.ndarray
    """Of the training pictures looked at: class positions, int (n,), or bool (n, classes) where a picture may have
    several labels."""
    class_counts: np.ndarray
    """Training pictures of each class, int (classes,)."""
    pictures: int
    """Training pictures in all: fewer than the counts add up to where a picture has several labels."""
    image_size: int
    """Side in pixels that the package would take by itself."""
    typical_size: int
    """Shorter side of the pictures themselves in pixels, the median."""
    shift: InputShift
    validation_labels: np.ndarray | None = None
    """Of the validation pictures looked at, in the form of `labels`; None where the source brought no validation split:
    one that was drawn from the training pictures shares their sessions and proves nothing more."""
    validation_pictures: int = 0
    """How many are passed after each epoch."""
    groups: np.ndarray | None = None
    """int (n,): pictures with the same number belong together (a session, a person) and are left out together; None
    where nothing is known, and look-alikes are left out together instead."""
    copies: np.ndarray | None = None
    """int (n,): the same number for near copies, by their pixels; they count as look-alikes whatever their features."""
    task: str = "classification"
    """What the plan trains."""
    size_is_given: bool = False
    """Whether a person asked for `image_size`, so that no other is tried."""
    seed: int = 0
    seconds: float = 0.0
    """What reading and judging the pictures took: it counts as advice."""

    @property
    def several_labels(self) -> bool:
        """Whether a picture may have any number of labels, rather than one class."""
        return self.labels.ndim == 2


class Limits(Value):
    """What the device allows; None where it does not matter."""

    max_mb: float | None = Field(default=None, gt=0)
    max_ms: float | None = Field(default=None, gt=0)
    """For one picture, in LiteRT on this machine."""
    int8: bool = False
    """The model will be quantized to full int8."""


class Reason(Value):
    """One decision: what was decided, in one sentence with the number behind it."""

    topic: str
    sentence: str
    value: float | None = None


class BlockScore(Value):
    """What a linear probe reads at one block's end."""

    accuracy: float
    standard_error: float
    distance: float | None
    work: float = 1.0
    """Share of the backbone's multiply-adds that the block does, 0-1."""


class Ranked(Value):
    """One backbone's scores on the task; higher suits better."""

    backbone: str
    image_size: int
    probe_accuracy: float | None
    """Of pictures named right; where a picture may have several labels, their label ranking average precision."""
    standard_error: float | None
    balanced_accuracy: float | None
    """The probe's, each class counting the same; where a picture may have several labels, the mean of their average
    precision."""
    judged_on: str = ""
    """Which pictures the probe was judged on, for a person."""
    tells: bool
    """Whether the probe of any block tells the classes apart better than chance would."""
    logme: float | None
    h_score: float | None
    leep: float | None
    intrinsic_dimension: float | None
    mirror_loss: float | None = None
    """How much less often a probe of the block that knows most is right about mirrored pictures, -1 to 1."""
    mirror_error: float | None = None
    """Standard error of `mirror_loss`."""
    size_mb: float
    """As it would be shipped: float32, or int8 where that is asked for."""
    picture_ms: float
    learning_ms: float | None = None
    """What a picture takes here in an epoch in which every weight learns; None where no step of training was timed."""
    blocks: tuple[BlockScore, ...]
    obstacle: str = ""
    """Why it cannot be taken, whatever its scores; empty where it can."""


class Alternative(Value):
    """A recipe that could be trained: the advised one, or one that costs less."""

    recipe: str
    seconds: float
    """What it will roughly take on this machine."""
    sentence: str
    """What it takes and what it is expected to give."""


class Advice(Value):
    """A plan, the reason for each of its choices, and what could not be known."""

    plan: Plan
    reasons: tuple[Reason, ...]
    ranking: tuple[Ranked, ...]
    """Best first."""
    label_noise: float | None
    suspects: tuple[int, ...]
    """Positions, among the pictures looked at, of labels that are probably wrong; most suspicious first."""
    unknown: tuple[str, ...]
    seconds: float
    """What advice took."""
    training_seconds: float | None
    """What the plan will roughly take on this machine; None where nothing was measured."""
    alternatives: tuple[Alternative, ...] = ()
    """The advised recipe, then those that cost less, deepest first; empty where nothing was measured."""

    @property
    def cost(self) -> str:
        """What training takes and what each cheaper recipe takes and gives, in a line; empty where it is not known."""
        return "; ".join(each.sentence for each in self.alternatives)

    @property
    def blocks(self) -> tuple[BlockScore, ...]:
        """The advised backbone's scores, block by block."""
        return next((each.blocks for each in self.ranking if each.backbone == self.plan.backbone), ())
