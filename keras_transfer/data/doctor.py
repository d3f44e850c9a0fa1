"""Finds what is wrong with a data set's pictures, labels and splits before a training run does."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from keras_transfer.data import near
from keras_transfer.data.annotations import ANNOTATIONS, Annotation
from keras_transfer.data.decoding import open_picture, upright_rgb
from keras_transfer.data.near import Glance, glance_at
from keras_transfer.data.reading import PARALLEL
from keras_transfer.data.records import encoded_pictures
from keras_transfer.data.suspicion import suspicious
from keras_transfer.errors import DataError
from keras_transfer.specs import SPLIT_NAMES, Event, Listener, Splits, Value, silent

FEWEST = 20
"""Training pictures below which a class is called tiny."""

IMBALANCE = 5.0
"""Times that the largest class may outnumber the smallest."""

LONGEST = 3.0
"""Times that a picture may be longer than wide before squares squeeze it out of shape."""

PROBED = "class"
"""What pictures are labelled with where a probe judges labels."""

TWO_NAMES = " Is it one under two names? Put both under one, or take the wrong picture out."

SUFFIXES_OF = {"JPEG": ("jpg", "jpeg", "jpe", "jfif"), "TIFF": ("tif", "tiff"), "MPO": ("jpg", "jpeg", "jpe", "jfif")}
"""Endings a format goes by, where there are several; elsewhere it is the format's own name."""

Kind = Literal[
    "unreadable",
    "left out",
    "wrong extension",
    "duplicate",
    "duplicate across splits",
    "duplicate across labels",
    "near duplicate",
    "near duplicate across splits",
    "near duplicate across labels",
    "one picture",
    "constant label",
    "inseparable labels",
    "tiny class",
    "imbalance",
    "odd size",
    "suspicious label",
]


class Finding(Value):
    """One thing that is wrong, in a person's words."""

    kind: Kind
    message: str
    pictures: tuple[str, ...] = ()
    """Keys of the pictures it is about, as `SPLIT: KEY`."""
    suggested: str | None = None
    """The class that a probe takes the picture for, where it doubts the label."""


class Diagnosis(Value):
    """What was found in a data set."""

    source: str
    counts: dict[str, int]
    """Pictures per split."""
    classes: dict[str, dict[str, int]]
    """Pictures per class, per split."""
    sizes: dict[str, int]
    """`smallest`, `median` and `largest` of the shorter sides, in pixels."""
    formats: dict[str, int]
    findings: tuple[Finding, ...]

    def of(self, kind: Kind) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(each for each in self.findings if each.kind == kind)


@dataclass(frozen=True)
class Look:
    """What one look at a picture told."""

    split: str
    position: int
    key: str
    label: Any
    """What it is labelled with, as the annotation lists it: a class name, or a tuple of them."""
    content: str
    problem: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    glance: Glance | None = None
    """What it is compared by; None where it cannot be read."""

    @property
    def name(self) -> str:
        """How findings name it."""
        return f"{self.split}: {self.key}"


@dataclass(frozen=True)
class Examination:
    """A diagnosis and the looks it came from."""

    diagnosis: Diagnosis
    looks: tuple[Look, ...]


def examine(
    splits: Splits, *, features: Mapping[str, np.ndarray] | None = None, listener: Listener = silent
) -> Examination:
    """Look at every picture of a data set once and return what is wrong with it.

    >>> from keras_transfer.data.sources import load
    >>> examine(load("sample:fashion")).diagnosis.of("duplicate across splits")
    ()

    features: for each split float (n, channels), what a network that knows pictures makes of it, in the split's order;
    by them a linear probe finds labels suspicious. Without them labels are not judged.
    """
    looks, kind = tuple(_looks(splits, listener)), ANNOTATIONS[splits.annotation]
    readable = [look for look in looks if not look.problem]
    findings = [
        *(Finding(kind="left out", message=f"Left out while loading: {each}.") for each in splits.skipped),
        *(
            Finding(kind="unreadable", message=f"{look.name} {look.problem}.", pictures=(look.name,))
            for look in looks
            if look.problem
        ),
        *_wrong_extensions(readable),
        *_duplicates(readable, kind),
        *_near_duplicates(readable, kind),
        *(_lone_pictures(splits) if kind.apart else _class_sizes(splits)),
        *(_label_patterns(splits) if splits.annotation == "classes" else ()),
        *_odd_sizes(readable),
    ]
    if features is not None and splits.annotation != PROBED:
        listener(Event("note", f"Labels are not judged by a probe: this is {kind.meaning}."))
    elif features is not None:
        findings += _suspicious_labels(readable, splits.class_names, features)
    sides = [min(look.width, look.height) for look in readable] or [0]
    diagnosis = Diagnosis(
        source=splits.source,
        counts=splits.counts,
        classes=_class_counts(splits),
        sizes={"smallest": min(sides), "median": int(np.median(sides)), "largest": max(sides)},
        formats=dict(Counter(look.format for look in readable).most_common()),
        findings=tuple(findings),
    )
    return Examination(diagnosis, looks)


def _looks(splits: Splits, listener: Listener) -> Iterator[Look]:
    def look(job: tuple[str, int, str, Any, bytes]) -> Look:
        split, position, key, label, encoded = job
        content = hashlib.sha256(encoded).hexdigest()
        try:
            pixels = upright_rgb(encoded, size=256)
            with open_picture(io.BytesIO(encoded)) as opened:
                (width, height), kind = opened.size, str(opened.format)
        except DataError as error:
            return Look(split, position, key, label, content, problem=str(error))
        return Look(split, position, key, label, content, "", width, height, kind, glance_at(pixels))

    total, done = sum(splits.counts.values()), 0
    with ThreadPoolExecutor(PARALLEL) as lookers:
        for jobs in _chunks(_jobs(splits), 256):
            for each in lookers.map(look, jobs):
                yield each
                done += 1
            listener(Event("progress", "Looking at pictures", done=done, total=total))


def _jobs(splits: Splits) -> Iterator[tuple[str, int, str, Any, bytes]]:
    listed = ANNOTATIONS[splits.annotation].listed
    for name in SPLIT_NAMES:
        part = splits[name]
        for position, encoded in enumerate(encoded_pictures(part)):
            yield name, position, part.keys[position], listed(part.labels[position], splits.class_names), encoded


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    chunk = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _wrong_extensions(looks: Sequence[Look]) -> Iterator[Finding]:
    for look in looks:
        ending = os.path.splitext(look.key)[1][1:].lower()
        known = SUFFIXES_OF.get(look.format, (look.format.lower(),))
        if ending and not ending.isdigit() and ending not in known:
            message = f"{look.name} is {look.format} but ends in .{ending}."
            yield Finding(kind="wrong extension", message=message, pictures=(look.name,))


def _duplicates(looks: Sequence[Look], kind: Annotation) -> Iterator[Finding]:
    copies: dict[str, list[Look]] = defaultdict(list)
    for look in looks:
        copies[look.content].append(look)
    for group in copies.values():
        if len(group) < 2:
            continue
        names = tuple(look.name for look in group)
        labels, splits = {look.label for look in group}, {look.split for look in group}
        if len(labels) > 1:
            message = f"One picture is called {_called(kind, labels)}.{TWO_NAMES if kind.apart else ''}"
            yield Finding(kind="duplicate across labels", message=message, pictures=names)
        if len(splits) > 1:
            message = f"The same picture stands in {' and '.join(sorted(splits))}: its score is learned by heart."
            yield Finding(kind="duplicate across splits", message=message, pictures=names)
        if len(labels) == len(splits) == 1:
            message = f"The same picture stands {len(group)} times in {names[0].partition(':')[0]}."
            yield Finding(kind="duplicate", message=message, pictures=names)


def _called(kind: Annotation, labels: Iterable[Any]) -> str:
    return " and ".join(kind.text(label) or "nothing" for label in sorted(labels))


def _near_duplicates(looks: Sequence[Look], kind: Annotation) -> Iterator[Finding]:
    for first, second in near_pairs(looks):
        across, labels = first.split != second.split, {first.label, second.label}
        if kind.apart and len(labels) > 1:  # most of those stand across splits, and the names are what is wrong there
            message = (
                f"{first.name} and {second.name} look the same, and are called {_called(kind, labels)}.{TWO_NAMES}"
            )
            yield Finding(kind="near duplicate across labels", message=message, pictures=(first.name, second.name))
            continue
        message = f"{first.name} and {second.name} look the same" + (
            ", and one of them is to judge." if across else "."
        )
        found: Kind = "near duplicate across splits" if across else "near duplicate"
        if len(labels) > 1:
            message += f" They are called {_called(kind, labels)}."
            found = found if across else "near duplicate across labels"
        yield Finding(kind=found, message=message, pictures=(first.name, second.name))


def _lone_pictures(splits: Splits) -> Iterator[Finding]:
    """Yield whom one picture shows alone: identities need another to be compared with, and no fixed number to learn."""
    for name, counts in _class_counts(splits).items():
        if sum(counts.values()) == 1:
            message = (
                f"There is one picture of '{name}', which can be compared with no other: add one, or leave it out."
            )
            yield Finding(kind="one picture", message=message)


def near_pairs(looks: Sequence[Look]) -> Iterator[tuple[Look, Look]]:
    """Yield the pairs of different files that a person would take for the same picture."""
    seen = [look for look in looks if look.glance]
    for first, second in near.pairs_of([look.glance for look in seen if look.glance]):
        if seen[first].content != seen[second].content:
            yield seen[first], seen[second]


def _class_counts(splits: Splits) -> dict[str, dict[str, int]]:
    counts = ANNOTATIONS[splits.annotation].counts
    counted = {name: counts(splits[name].labels, len(splits.class_names)) for name in SPLIT_NAMES}
    return {
        class_name: {name: int(counted[name][label]) for name in SPLIT_NAMES}
        for label, class_name in enumerate(splits.class_names)
    }


def _class_sizes(splits: Splits) -> Iterator[Finding]:
    sizes = {name: counts["train"] for name, counts in _class_counts(splits).items()}
    for name, size in sizes.items():
        if size < FEWEST:
            message = f"Class '{name}' has {size} training pictures; from about {FEWEST} on, a class can be learned."
            yield Finding(kind="tiny class", message=message)
    largest, smallest = max(sizes, key=lambda name: sizes[name]), min(sizes, key=lambda name: sizes[name])
    if sizes[largest] > IMBALANCE * max(1, sizes[smallest]):
        message = (
            f"Class '{largest}' has {sizes[largest]} training pictures and '{smallest}' has {sizes[smallest]}: "
            "balance them, or collect more."
        )
        yield Finding(kind="imbalance", message=message)


def _label_patterns(splits: Splits) -> Iterator[Finding]:
    """Yield the labels of which training pictures teach nothing: all or none have them, or all that have another."""
    names, there = splits.class_names, splits.train.labels
    for name, count in zip(names, there.sum(0).tolist(), strict=True):
        if count in (0, len(there)):
            message = f"Label '{name}' is on {'every' if count else 'no'} training picture: nothing is learned of it."
            yield Finding(kind="constant label", message=message)
    for first, second in combinations(range(len(names)), 2):
        if there[:, first].any() and (there[:, first] == there[:, second]).all():
            message = f"Labels '{names[first]}' and '{names[second]}' always occur together: nothing tells them apart."
            yield Finding(kind="inseparable labels", message=message)


def _odd_sizes(looks: Sequence[Look]) -> Iterator[Finding]:
    median = np.median([min(look.width, look.height) for look in looks]) if looks else 0
    for look in looks:
        shorter, longer = sorted((look.width, look.height))
        odd = []
        if shorter < median / 4:
            odd.append(f"far smaller than the others ({median:.0f} pixels)")
        if longer > LONGEST * shorter:
            odd.append("far from square")
        if odd:
            message = f"{look.name} is {look.width} x {look.height}: {' and '.join(odd)}."
            yield Finding(kind="odd size", message=message, pictures=(look.name,))


def _suspicious_labels(
    looks: Sequence[Look], class_names: Sequence[str], features: Mapping[str, np.ndarray]
) -> Iterator[Finding]:
    rows = np.stack([features[look.split][look.position] for look in looks])
    given = np.array([class_names.index(look.label) for look in looks])
    for position, label, probability in suspicious(rows, given):
        look = looks[position]
        message = (
            f"{look.name} is called {look.label}; a linear probe of the others says "
            f"{class_names[label]} ({probability:.0%})."
        )
        yield Finding(kind="suspicious label", message=message, pictures=(look.name,), suggested=class_names[label])
