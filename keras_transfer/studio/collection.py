"""The pictures of a data set as a person mends it: relabelled, left out, added to; their own files stay as they are."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from keras_transfer.errors import DataError, RunError, UsageError
from keras_transfer.files import MOST_TEXT_BYTES, read_bytes, write_bytes
from keras_transfer.specs import Value
from keras_transfer.studio.given import Given, Listed
from keras_transfer.studio.ids import id_of
from keras_transfer.studio.taking import file_name_of

EDITS = "edits.json"
PICTURES = "pictures"
"""The folder, in that of the collection, of the pictures that were added."""

MOST_COLLECTED = 20_000
"""Pictures that are taken into a collection."""
MOST_UNDONE = 20
"""Decisions that can be taken back."""
LONGEST_NAME = 100
"""Characters of a class name."""
COLUMNS = ("path", "label", "split", "weight", "group")


class Edits(Value):
    """What a person decided; `name` is a path beside the table, as the table has it."""

    version: int = Field(default=1, ge=1, le=1)
    labels: dict[str, str | None] = {}
    """The class of a picture, by its name, where that is another than its source says; None: it is not known."""
    left_out: frozenset[str] = frozenset()
    """Names of pictures that are not trained on."""
    collected: dict[str, str | None] = {}
    """The class of each picture that was added, by the name of its file."""
    classes: tuple[str, ...] = ()
    """Classes that a person made, whether or not they have pictures."""

    @property
    def any(self) -> bool:
        """Whether the data set is another than its source."""
        return bool(self.labels or self.left_out or self.collected)


@dataclass(frozen=True)
class Picture:
    """One picture as it stands now."""

    id: str
    path: str
    name: str
    key: str
    """As its source writes it."""
    label: str | None
    given: str | None
    """What its source says."""
    left_out: bool
    collected: bool
    row: Listed | None
    """Its place in the source; None of one that was added."""


class Collection:
    """The pictures of a source, and what a person decided about them. All of it may be asked from several threads."""

    def __init__(self, given: Given) -> None:
        self.given, self.version = given, 0
        self._lock = threading.RLock()
        self._edits = _kept(given.beside / EDITS)
        self._before: list[Edits] = []
        self._written = not self._edits.any
        self._listed: list[tuple[str, Listed]] = []
        self._pictures: dict[str, Picture] = {}
        self.look_again()

    @property
    def table(self) -> Path:
        """The table that a person's decisions are written to."""
        return self.given.beside.with_name(self.given.beside.name + ".csv")

    @property
    def source(self) -> str:
        """What to train on: the table where anything was decided, written by now, else the source as it is."""
        with self._lock:
            self._write_table()
            return self.named

    @property
    def named(self) -> str:
        """The same, whether or not the table is written by now."""
        return str(self.table) if self._edits.any else self.given.source

    def frozen(self) -> str:
        """What a training is given: a table of its own where anything was decided, which later decisions leave alone.

        What is written of a run afterwards reads the pictures that it learned from.
        """
        with self._lock:
            if not self._edits.any:
                return self.given.source
            table = self.table.with_name(f"{self.table.stem}-{self.stamp[:8]}.csv")
            write_bytes(table, _encoded(self._table()))
            return str(table)

    @property
    def changed(self) -> int:
        """How many pictures stand otherwise than in the source."""
        return len(self._edits.labels.keys() | self._edits.left_out) + len(self._edits.collected)

    @property
    def stamp(self) -> str:
        """The same as long as the data set is: what a finding was found in."""
        with self._lock:
            now = sorted((each.name, each.label or "") for each in self._pictures.values() if not each.left_out)
            return hashlib.sha256(repr(now).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def undoable(self) -> bool:
        """Whether a decision can be taken back."""
        return bool(self._before)

    def look_again(self) -> None:
        """List the source anew: files may have come since."""
        start = self.table.absolute().parent
        with self._lock:
            self._listed = [(Path(os.path.relpath(row.path, start)).as_posix(), row) for row in self.given.listed()]
            self._made()

    def pictures(self) -> Sequence[Picture]:
        """Return all pictures, those left out included, in the order of the source."""
        with self._lock:
            return tuple(self._pictures.values())

    def picture(self, id: str) -> Picture | None:
        """Return the picture of an id; None where there is none."""
        return self._pictures.get(id)

    def classes(self) -> dict[str, int]:
        """Return how many pictures each class has, by name, sorted; those left out are not counted."""
        with self._lock:
            counts = Counter(each.label for each in self._pictures.values() if each.label and not each.left_out)
            names = {*counts, *self._edits.classes, *(row.label for _, row in self._listed if row.label)}
            return {name: counts[name] for name in sorted(names)}

    def class_named(self, id: str) -> str:
        """Return the name of a class by its id; UsageError where there is none."""
        for name in self.classes():
            if id_of("class", name) == id:
                return name
        raise UsageError("That class is no longer there. Reload the page.")

    def add_class(self, name: str) -> str:
        """Make a class and return its id; that of a class which is there already is its own."""
        name = " ".join(name.split())
        known = {each.casefold(): each for each in self.classes()}
        if name in known.values():
            return id_of("class", name)
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise UsageError(f"A class has a name of 1 to {LONGEST_NAME} characters that can be printed.")
        if name.casefold() in known:
            raise UsageError(
                f"There is a class '{known[name.casefold()]}' already: names must differ in more than case."
            )
        self._decide(self._edits.model_copy(update={"classes": (*self._edits.classes, name)}))
        return id_of("class", name)

    def relabel(self, ids: Iterable[str], name: str | None) -> None:
        """Say which class pictures are of; None: it is not known. They are taken in again where they were left out."""
        with self._lock:
            labels, collected = dict(self._edits.labels), dict(self._edits.collected)
            chosen = self._chosen(ids)
            for each in chosen:
                if each.collected:
                    collected[Path(each.path).name] = name
                elif name == each.given:
                    labels.pop(each.name, None)
                else:
                    labels[each.name] = name
            gone = self._edits.left_out - {each.name for each in chosen}
            self._decide(self._edits.model_copy(update={"labels": labels, "collected": collected, "left_out": gone}))

    def leave_out(self, ids: Iterable[str], out: bool = True) -> None:
        """Leave pictures out of training, or take them in again."""
        with self._lock:
            names = {each.name for each in self._chosen(ids)}
            gone = self._edits.left_out | names if out else self._edits.left_out - names
            self._decide(self._edits.model_copy(update={"left_out": frozenset(gone)}))

    def undo(self) -> None:
        """Take the last decision back."""
        with self._lock:
            if self._before:
                self._keep(self._before.pop())
                self._made()
                self._write_table()

    def collect(self, name: str | None, encoded: bytes) -> Picture:
        """Take a picture in under a class; DataError, in a person's words, for what is none."""
        file = file_name_of(encoded, self.given.decode)
        with self._lock:
            there = self._edits.collected
            if file not in there and len(there) >= MOST_COLLECTED:
                raise UsageError(f"A collection holds at most {MOST_COLLECTED:,} pictures.")
            if file in there and there[file] != name:
                raise DataError(f"is here already, as {there[file] or 'one without a class'}")
            if file not in there:
                write_bytes(self._place(file), encoded)
                self._keep(_with_picture(self._edits, file, name))
                self._before = [_with_picture(each, file, name) for each in self._before]  # what was taken in stays
                added = self._added(file, name)
                self._pictures[added.id] = self._by_name[added.name] = added
                self.version += 1
        return self._pictures[self._id(str(self._place(file)))]

    def found(self, name: str) -> Picture | None:
        """Return the picture that a verb calls by its key or by its name in the table, perhaps after its split."""
        with self._lock:
            bare = name.partition(": ")[2] or name
            return next((each for each in map(self._by_name.get, (name, bare)) if each), None)

    def _chosen(self, ids: Iterable[str]) -> list[Picture]:
        found = [self._pictures.get(each) for each in ids]
        if None in found:
            raise UsageError("One of these pictures is no longer there. Reload the page.")
        return [each for each in found if each]

    def _decide(self, edits: Edits) -> None:
        with self._lock:
            before = self._edits
            self._keep(edits)
            self._before = [*self._before, before][-MOST_UNDONE:]
            self._made()
            self._write_table()

    def _keep(self, edits: Edits) -> None:
        """Put a decision on disk, and then go by it; the table is written when it is next needed."""
        write_bytes(self.given.beside / EDITS, edits.model_dump_json(indent=1).encode())
        self._edits, self._written = edits, False

    def _write_table(self) -> None:
        if self._written:
            return
        if self._edits.any:
            write_bytes(self.table, _encoded(self._table()))
        else:
            self.table.unlink(missing_ok=True)
        self._written = True

    def _made(self) -> None:
        made = [self._of_source(name, row) for name, row in self._listed]
        made += [self._added(file, label) for file, label in self._edits.collected.items()]
        self._pictures = {each.id: each for each in made}
        self._by_name = {key: each for each in made for key in (each.key, each.name)}
        self.version += 1

    def _added(self, file: str, label: str | None) -> Picture:
        path = str(self._place(file))
        name = Path(os.path.relpath(path, self.table.absolute().parent)).as_posix()
        return Picture(self._id(path), path, name, name, label, label, name in self._edits.left_out, True, None)

    def _of_source(self, name: str, row: Listed) -> Picture:
        label = self._edits.labels.get(name, row.label)
        out = name in self._edits.left_out
        return Picture(self._id(row.path), row.path, name, row.key, label, row.label, out, False, row)

    def _id(self, path: str) -> str:
        return id_of("picture", path)

    def _place(self, file: str) -> Path:
        return self.given.beside / PICTURES / file

    def _table(self) -> str:
        """The data set as a table: what is left out has no row, what has no class has neither label nor split."""
        divided = any(row.split for _, row in self._listed)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in self._pictures.values():
            if not each.left_out:
                writer.writerow(_row(each, divided))
        return text.getvalue()


def _with_picture(edits: Edits, file: str, label: str | None) -> Edits:
    return edits.model_copy(update={"collected": {**edits.collected, file: label}})


def _encoded(table: str) -> bytes:
    try:
        return table.encode()
    except UnicodeEncodeError as error:
        line = table[: error.start].rpartition("\n")[2] + table[error.start :].partition("\n")[0]
        name = line.partition(",")[0].encode("utf-8", "backslashreplace").decode()
        raise DataError(
            f"'{name}' has a name that is no text, which no table holds. Rename it and look again."
        ) from None


def _row(picture: Picture, divided: bool) -> tuple[Any, ...]:
    """A row of the table; divided: whether the source says itself which pictures judge: others are learned from."""
    row = picture.row
    split = (row.split if row else "train" if divided else None) if picture.label else None
    weight = f"{row.weight:g}" if row and row.weight != 1 else ""
    return picture.name, picture.label or "", split or "", weight, row.group if row else ""


def _kept(path: Path) -> Edits:
    try:
        return Edits.model_validate_json(read_bytes(path, MOST_TEXT_BYTES))
    except FileNotFoundError:
        return Edits()
    except (OSError, ValidationError):
        raise RunError(f"'{path}' holds no decisions that can be read. Move it away to begin anew.") from None
