"""Turns picture files with labels into checked splits, whatever kind of source listed them."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_transfer.data import clips, identities
from keras_transfer.data.annotations import ANNOTATIONS, Annotation
from keras_transfer.data.decoding import NEEDS_HEIC, stored_size
from keras_transfer.data.files import HEIC_SUFFIXES, FileFacts, facts_of
from keras_transfer.data.near_files import near_copies
from keras_transfer.data.splitting import digest_of, split_by_content, units_of
from keras_transfer.data.texts import Texts
from keras_transfer.errors import DataError
from keras_transfer.specs import SPLIT_NAMES, Event, Listener, Split, Splits, silent

MOST_UNREADABLE = 0.5
"""Share of unreadable files above which this is taken for the wrong folder, not for a few broken files."""

SIZED = 256
"""Files whose headers are read, evenly spaced, to learn the typical size."""


class Listing(NamedTuple):
    """One picture as a source lists it; a tuple, because 100,000 of them are made in a third of a dataclass's time."""

    path: str
    key: str
    """How a person finds it: the path as the source writes it."""
    label: Any
    """As the annotation lists it: a class name, or a tuple of them."""
    split: str | None = None
    """None: decided by the picture's content."""
    weight: float = 1.0
    group: str = ""
    """What it belongs to, such as a session: never on both sides of a split."""
    part: str = ""
    """Of a video, which part of it: the end of a clip's address."""
    content: str = ""
    """SHA-256 of the file where the source says it: such a file is not read before its picture is wanted."""


def gather(
    source: str,
    listings: Sequence[Listing],
    *,
    annotation: str = "class",
    declared: Sequence[str] = (),
    passed: tuple[str, ...] = (),
    unlabelled: Sequence[Listing] = (),
    seed: int = 0,
    listener: Listener = silent,
) -> Splits:
    """Return the splits of the pictures a source lists.

    Each file is read once. Broken ones are left out and named in `skipped`. Where the source gives only some
    splits, the others are taken out of its training pictures. A training picture whose copy stands in validation or
    test is left out of training. Copies that may have several labels become one picture with all of them.

    declared: class names that the source lists, in the order that they are to have; those that no picture shows are
    left out and told. passed: what the source holds beside the listings, told with what is left out. unlabelled:
    pictures without a label; those that have one elsewhere in the source are left out.

    Raises DataError for what no training could use: one class only, a class without pictures, names of classes that
    differ in case or blanks only, mostly unreadable files.
    """
    kind = ANNOTATIONS[annotation]
    listed = {name for each in listings for name in kind.names(each.label)}
    check_class_names(listed)
    rows, skipped = _readable(source, listings, kind, listener)
    seen = {name for row, _ in rows for name in kind.names(row.label)}
    if gone := listed - seen:
        raise DataError(
            f"Class '{min(gone)}' in '{source}' holds no readable {kind.thing}. Add some or remove the class."
        )
    skipped += [f"label '{name}', which no picture shows" for name in sorted(set(declared) - listed)]
    rows = _united(rows, kind, skipped)
    if kind.apart:
        rows = identities.kept_apart(source, rows, skipped)
    kept = _held_apart(rows, _split_names(rows, kind, seed, listener), kind, skipped)
    free = _without_label(source, unlabelled, kept, kind, skipped, listener)
    skipped += passed
    if skipped:
        first, total = "; ".join(skipped[:3]) + (" …" if len(skipped) > 3 else ""), len(listings) + len(unlabelled)
        listener(Event("warning", f"Left out {len(skipped)} of {total + len(passed)} pictures: {first}"))
    for sentence in _contradictions(kept, kind):
        listener(Event("warning", sentence))
    return _made(source, kept, tuple(skipped), kind, declared, free)


def _without_label(
    source: str,
    listings: Sequence[Listing],
    kept: Sequence[tuple[Listing, str, str]],
    kind: Annotation,
    skipped: list[str],
    listener: Listener,
) -> list[tuple[Listing, str]]:
    """Return the pictures without a label, each once; DataError for a copy of one that judges."""
    if not listings:
        return []
    fine, broken = _readable(source, listings, kind, listener)
    skipped += broken
    labelled = {content: (row, name) for row, content, name in kept}
    leaked = [(row, *labelled[content]) for row, content in fine if labelled.get(content, ("", "train"))[1] != "train"]
    if leaked:
        named = ", ".join(f"{row.key} of {other.key} ({name})" for row, other, name in leaked[:5])
        raise DataError(
            f"{len(leaked)} pictures without a label in '{source}' are copies of pictures that judge, which must not "
            f"be learned from: {named}{' …' if len(leaked) > 5 else ''}. Remove them from those without a label."
        )
    new: dict[str, Listing] = {}
    for row, content in fine:
        if content in labelled or content in new:
            skipped.append(f"{row.key} is the same picture as {(new.get(content) or labelled[content][0]).key}")
        else:
            new[content] = row
    return [(row, content) for content, row in new.items()]


def _readable(
    source: str, listings: Sequence[Listing], kind: Annotation, listener: Listener
) -> tuple[list[tuple[Listing, str]], list[str]]:
    """Return each picture that can be read with the hash of its content, and what is left out with its reason."""
    read = iter(facts_of([row.path for row in listings if not row.content], videos=kind.clips, listener=listener))
    facts = [FileFacts(row.content, 0) if row.content else next(read) for row in listings]
    if importlib.util.find_spec("pillow_heif") is None:  # not remembered with the files: it may be there tomorrow
        facts = [
            fact._replace(problem=NEEDS_HEIC) if os.path.splitext(row.path)[1].lower() in HEIC_SUFFIXES else fact
            for row, fact in zip(listings, facts, strict=True)
        ]
    if kind.clips:
        problems = clips.problems_of([row.path + row.part for row in listings])
        facts = [fact._replace(problem=why or fact.problem) for fact, why in zip(facts, problems, strict=True)]
    skipped = [f"{row.key} {fact.problem}" for row, fact in zip(listings, facts, strict=True) if fact.problem]
    if len(skipped) > MOST_UNREADABLE * len(listings):
        raise DataError(
            f"{len(skipped)} of {len(listings)} files in '{source}' are not readable {kind.thing}s, "
            f"the first: {skipped[0]}."
        )
    fine = [(row, fact.content + row.part) for row, fact in zip(listings, facts, strict=True) if not fact.problem]
    return fine, skipped


def _held_apart(
    rows: Sequence[tuple[Listing, str]], names: np.ndarray, kind: Annotation, skipped: list[str]
) -> list[tuple[Listing, str, str]]:
    """Return the rows with their splits, without training pictures whose copies judge; `skipped` grows by those."""
    held_out = {content: row for (row, content), name in zip(rows, names, strict=True) if name != "train"}
    kept = []
    for (row, content), name in zip(rows, names, strict=True):
        if name == "train" and content in held_out:
            # Of identities each stands in one split, so the two have two names, and one of them is wrong.
            named = f" of '{held_out[content].label}', and here of '{row.label}'" if kind.apart else ""
            skipped.append(f"{row.key} is also a validation or test picture{named}, so it is not trained on")
        else:
            kept.append((row, content, name))
    return kept


def _contradictions(rows: Sequence[tuple[Listing, str, str]], kind: Annotation) -> Iterator[str]:
    """Yield a sentence for each kind of thing that one picture is told twice, and cannot be both."""
    listed = Counter(row.path + row.part for row, _, _ in rows)
    doubled = [row.key for row, _, _ in rows if listed[row.path + row.part] > 1]
    if doubled:
        yield f"Pictures that are listed more than once: {len(set(doubled))}, the first {doubled[0]}."
    first: dict[str, tuple[Listing, str]] = {}
    labels, splits = [], []
    for row, content, name in rows:
        before, split = first.setdefault(content, (row, name))
        if before.label != row.label:
            called, other = kind.text(before.label), kind.text(row.label)
            labels.append(f"{before.key} is '{called}' in {split} and {row.key} is '{other}' in {name}")
        elif split != name:
            splits.append(f"{before.key} in {split}, {row.key} in {name}")
    if labels:
        yield f"Pictures under two labels: {len(labels)}. The first, {labels[0]}. One of the labels is wrong."
    if splits:
        yield f"Pictures in two splits: {len(splits)}. The first, {splits[0]}. Their score is learned by heart."


def check_class_names(names: set[str]) -> None:
    """Raise DataError where there are fewer than two classes, or names that a person could not tell apart."""
    if len(names) < 2:
        only = f" Found only '{min(names)}'." if names else ""
        raise DataError(f"At least two classes are needed to tell anything apart.{only}")
    folded: dict[str, str] = {}
    for name in sorted(names):
        alike = folded.setdefault("".join(name.split()).casefold(), name)
        if alike != name:
            raise DataError(f"Classes '{alike}' and '{name}' differ in case or blanks only. Make them one, or rename.")


def _united(rows: list[tuple[Listing, str]], kind: Annotation, skipped: list[str]) -> list[tuple[Listing, str]]:
    """Return the rows with copies inside a split made one, where the annotation can unite their labels."""
    if kind.unite is None:
        return rows
    copies: dict[tuple[str, str | None], list[Listing]] = {}
    for row, content in rows:
        copies.setdefault((content, row.split), []).append(row)
    for first, *others in copies.values():
        skipped += [f"{each.key} is the same picture as {first.key}, which has the labels of both" for each in others]
    return [
        (group[0]._replace(label=kind.unite([row.label for row in group])), content)
        for (content, _), group in copies.items()
    ]


def _split_names(rows: Sequence[tuple[Listing, str]], kind: Annotation, seed: int, listener: Listener) -> np.ndarray:
    given = np.array([row.split or "" for row, _ in rows], dtype=object)
    free = np.isin(given, ("", "train"))
    present = Counter(given[~free])
    shares = (0.0 if present["test"] else 0.15, 0.0 if present["validation"] else 0.15)
    if any(shares):
        chosen = [rows[position] for position in np.flatnonzero(free).tolist()]
        if kind.apart:
            given[free] = identities.divided([row for row, _ in chosen], seed=seed, shares=shares)
            return given
        units = _units(chosen, kind, 1 + sum(share > 0 for share in shares), listener)
        strata = kind.strata([content for _, content in chosen], [row.label for row, _ in chosen])
        given[free] = split_by_content(units, strata, seed=seed, shares=shares)
    else:
        given[given == ""] = "train"
    return given


def _units(rows: Sequence[tuple[Listing, str]], kind: Annotation, least: int, listener: Listener) -> list[str]:
    """Return what must not be parted, by name: groups, copies and, where enough is left to divide, near copies."""
    contents, groups = [content for _, content in rows], [row.group for row, _ in rows]
    alone = units_of(contents, groups)
    near = None if kind.clips else near_copies([row.path for row, _ in rows], contents, listener)
    if near is None:
        return alone
    together = units_of(contents, groups, near)
    left: dict[str, set[str]] = {}
    seen: set[str] = set()
    strata = kind.strata(contents, [row.label for row, _ in rows])
    for stratum, unit in zip(strata, together, strict=True):
        members = left.setdefault(stratum, set())
        if unit not in seen:
            members.add(unit)
        seen.add(unit)
    few = sorted(stratum for stratum, members in left.items() if len(members) < least)
    if few:
        told = f"Near copies may stand on both sides of a split: all of '{few[0]}' looks nearly the same."
        listener(Event("warning", told))
        return alone
    return together


def _made(
    source: str,
    rows: Sequence[tuple[Listing, str, str]],
    skipped: tuple[str, ...],
    kind: Annotation,
    declared: Sequence[str],
    free: Sequence[tuple[Listing, str]] = (),
) -> Splits:
    learned = {each for row, _, name in rows if name == "train" for each in kind.names(row.label)}
    places = {name: place for place, name in enumerate(declared)}
    known = sorted(learned, key=lambda name: (places.get(name, len(places)), name))
    others = {each for row, _, _ in rows for each in kind.names(row.label)} - learned if kind.apart else set()
    class_names = (*known, *sorted(others))
    position = {name: index for index, name in enumerate(class_names)}
    for row, _, name in rows:
        for each in kind.names(row.label):
            if each not in position:
                raise DataError(
                    f"Class '{each}' has {name} pictures but no training picture. Add some or remove the class."
                )
    splits, grouped = {}, any(row.group for row, _, _ in rows)
    for name in SPLIT_NAMES:
        members = [row for row, _, split in rows if split == name]
        weights = np.array([row.weight for row in members], np.float32)
        pictures = Texts.of([row.path + row.part for row in members])
        splits[name] = Split(
            name=name,
            pictures=pictures,
            labels=kind.stored([row.label for row in members], position),
            keys=Texts.of([row.key for row in members]).like(pictures),
            weights=None if (weights == 1).all() else weights,
            groups=np.array([row.group for row in members], dtype=str) if grouped else None,
        )
    return Splits(
        source=source,
        **splits,
        frames=clips.FRAMES if kind.clips else 0,
        clip_seconds=0.0,
        class_names=class_names,
        known=len(known) if kind.apart else None,
        annotation=kind.name,
        digest=digest_of(
            itertools.chain(
                ((name, kind.text(row.label), content, row.weight) for row, content, name in rows),
                (("unlabelled", "", content) for _, content in free),
            )
        ),
        unlabelled=_pool([row for row, _ in free], kind) if free else None,
        typical_size=_typical_size([row.path for row, _, name in rows if name == "train"]),
        skipped=skipped,
        given=tuple(name for name in SPLIT_NAMES if any(row.split == name for row, _, _ in rows)),
    )


def _pool(rows: Sequence[Listing], kind: Annotation) -> Split:
    first = np.zeros((len(rows), *kind.stored([], {}).shape[1:]), np.int64)
    pictures = Texts.of([row.path for row in rows])
    return Split("unlabelled", pictures, first, Texts.of([row.key for row in rows]).like(pictures))


def _typical_size(paths: Sequence[str]) -> int:
    sides = []
    for path in paths[:: max(1, len(paths) // SIZED)]:
        if size := stored_size(path):
            sides.append(min(size))
    return int(np.median(sides)) if sides else 0
