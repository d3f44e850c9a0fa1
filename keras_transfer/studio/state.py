"""All that a studio knows, joined: the pictures, the verbs that run, the runs, and what of it the page is told."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_transfer.errors import KerasTransferError, UsageError
from keras_transfer.studio import commands, results, taking
from keras_transfer.studio.collection import Collection, Picture
from keras_transfer.studio.commands import Asked, Places
from keras_transfer.studio.given import Given
from keras_transfer.studio.ids import id_of
from keras_transfer.studio.jobs import Job, Jobs
from keras_transfer.studio.thumbnails import Thumbnails
from keras_transfer.studio.watching import Doing, Following

TOLD_JOBS = 30
"""The newest commands that the page lists."""

TOLD_FINDINGS = 12
"""Sentences of one kind of finding that the page shows; the rest is told with each picture."""


class Found(NamedTuple):
    """A picture that the doctor found, or that is simply there."""

    picture: Picture
    told: str = ""
    """What is wrong with it."""
    suggested: str | None = None
    """The class that it is taken for."""


class MissingError(UsageError):
    """An id that names nothing (any more)."""


class Studio:
    """What the routes ask; every method may be called from several threads."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.why_not = given.why_not
        self.collection: Collection | None = None
        if not given.why_not:
            try:
                self.collection = Collection(given)
            except KerasTransferError as error:
                self.why_not = str(error)
        self.jobs = Jobs(given.beside / "jobs", given.command)
        self.thumbnails = Thumbnails(given.decode)
        self.tried = given.beside / "tried"
        self._drawn = given.beside / "drawn"
        self._lock = threading.Lock()
        self._followed: dict[Path, Following] = {}
        self._doing: dict[str, Doing] = {}
        self._counted: dict[str, Any] = {}

    @property
    def pictures(self) -> Collection:
        """The pictures; UsageError, with the reason, where they cannot be mended here."""
        if self.collection is None:
            raise UsageError(self.why_not)
        return self.collection

    @property
    def source(self) -> str:
        """What verbs are given to train on."""
        return self.collection.source if self.collection else self.given.source

    def _frozen(self) -> str:
        return self.collection.frozen() if self.collection else self.given.source

    def run(self, id: str) -> Path:
        """Return the folder of a run."""
        place = results.place_of(self.given.runs_folder, id)
        if place is None and self.given.run is not None and id_of("run", str(self.given.run)) == id:
            place = self.given.run
        if place is None:
            raise MissingError("That run is no longer there. Reload the page.")
        return place

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs to choose from, that which was asked for first."""
        listed = results.listed(self.given.runs_folder)
        asked = self.given.run
        return sorted(listed, key=lambda run: asked is None or run["id"] != id_of("run", str(asked)))

    def path_of(self, id: str) -> Path:
        """Return where a picture lies: one of the data set, or one that a model is tried with."""
        found = self.collection.picture(id) if self.collection else None
        if found:
            return Path(found.path)
        for each in self.tried.glob("*"):
            if id_of("tried", each.name) == id:
                return each
        raise MissingError("That picture is no longer there. Reload the page.")

    def try_out(self, encoded: bytes) -> str:
        """Keep a picture to try a model with and return its id."""
        with self._lock:
            return id_of("tried", taking.keep_tried(self.tried, encoded, self.given.decode).name)

    def start(self, asked: Asked) -> Job:
        """Start the verb that the page asks for."""
        about: dict[str, Any] = asked.model_dump(mode="json", exclude={"verb"}, exclude_none=True)
        pictures = {id: self.path_of(id) for id in about["pictures"]} if isinstance(asked, commands.Predict) else {}
        drawn = self._drawn / secrets.token_hex(4)
        places = Places(self.given, lambda: self.source, self._frozen, self.run, drawn)
        words = commands.words_of(asked, places, pictures)
        if isinstance(asked, commands.Train):
            about["run"] = id_of("run", str(self.given.runs_folder / words[words.index("--run") + 1]))
        if isinstance(asked, commands.Doctor | commands.Advise) and self.collection:
            about["stamp"] = self.collection.stamp
        return self.jobs.start(asked.verb, words, about)

    def told(self) -> dict[str, Any]:
        """Return what changes by itself, for the page: counts, commands, the training that is under way."""
        jobs = self.jobs.all()[:TOLD_JOBS]
        training = next((job for job in jobs if job.record.verb == "train"), None)
        return {
            "data": self._data(),
            "jobs": [self.job(job) for job in jobs],
            "training": self._training(training) if training else None,
        }

    def job(self, job: Job) -> dict[str, Any]:
        """Return a command as the page lists it."""
        told: dict[str, Any] = {
            "id": job.record.id,
            "verb": job.record.verb,
            "state": job.state,
            "command": job.command,
        }
        told |= {"began": job.record.began, "sentence": job.sentence, "about": job.record.about}
        if job.state == "running":
            with self._lock:
                doing = self._doing.setdefault(job.record.id, Doing(job.events))
            told["doing"] = doing.now()
        return told

    def stages(self, place: Path) -> dict[str, Any]:
        """Return how the training in a run folder goes, or went."""
        with self._lock:
            following = self._followed.setdefault(place, Following(place))
        return following.now()

    def answers(self, job: Job) -> list[dict[str, Any]]:
        """Return what a `predict` said, with ids in place of paths; whether it drew where it looked."""
        rows = job.said() or []
        ids = job.record.about.get("pictures", ())
        return [
            {"id": id, "says": {name: row[name] for name in row if name not in ("picture", "files")}}
            | {"drawn": bool(row.get("files"))}
            for id, row in zip(ids, rows, strict=False)
        ]

    def drawn(self, job: Job, number: int) -> Path:
        """Return the picture that a `predict` drew of its answer to the picture of that number."""
        rows = job.said() or []
        files = rows[number].get("files", ()) if job.record.verb == "predict" and number < len(rows) else ()
        inside = [Path(each) for each in files if Path(each).resolve().is_relative_to(self._drawn.resolve())]
        if not inside:
            raise MissingError("Nothing was drawn of that picture.")
        return inside[-1]

    def findings(self) -> dict[str, Any]:
        """Return what the doctor found last, by kind, and whether the pictures have changed since."""
        job = self.jobs.latest("doctor")
        found = job.said() if job else None
        if not job or not isinstance(found, dict):
            return {"kinds": [], "stale": False, "job": None}
        counts = Counter(each["kind"] for each in found["findings"])
        said: dict[str, list[str]] = {}
        for each in found["findings"]:
            said.setdefault(each["kind"], []).append(each["message"])
        stale = self.collection is not None and job.record.about.get("stamp") != self.collection.stamp
        kinds = [
            {"kind": kind, "count": count, "messages": said[kind][:TOLD_FINDINGS]} for kind, count in counts.items()
        ]
        return {"kinds": kinds, "stale": stale, "job": job.record.id, "pictures": sum(found["counts"].values())}

    def found(self, kind: str) -> list[Found]:
        """Return the pictures of one kind of finding, in the order they were found."""
        job = self.jobs.latest("doctor")
        found = job.said() if job else None
        rows = [each for each in (found or {}).get("findings", ()) if each["kind"] == kind]
        named = [(self.pictures.found(name), each) for each in rows for name in each["pictures"]]
        told = [Found(picture, each["message"], each.get("suggested")) for picture, each in named if picture]
        return list({each.picture.id: each for each in told}.values())

    def mistakes(self, run: str, split: str) -> dict[str, Any]:
        """Return the pictures that a run is wrong about, as it was asked last."""
        job = self.jobs.latest("evaluate", run=run, split=split)
        said = job.said() if job else None
        if not isinstance(said, dict):
            return {"asked": False, "rows": []}
        rows = []
        for each in said.get("mistakes", ()):
            picture = self.collection.found(each["picture"]) if self.collection else None
            now = {"id": picture.id, "label": picture.label, "left_out": picture.left_out} if picture else {"id": None}
            rows.append({**each, **now})
        return {"asked": True, "rows": rows, "count": said.get("count")}

    def _data(self) -> dict[str, Any]:
        if self.collection is None:
            return {"name": self.given.name, "why_not": self.why_not, "source": self.given.source}
        version = self.collection.version
        if self._counted.get("version") != version:
            self._counted = self._count(self.collection, version)
        return self._counted

    @staticmethod
    def _count(collection: Collection, version: int) -> dict[str, Any]:
        pictures, counts = collection.pictures(), collection.classes()
        return {
            "name": collection.given.name,
            "why_not": "",
            "source": collection.named,
            "version": version,
            "changed": collection.changed,
            "undoable": collection.undoable,
            "total": len(pictures),
            "left_out": sum(each.left_out for each in pictures),
            "unlabelled": sum(each.label is None and not each.left_out for each in pictures),
            "classes": [{"id": id_of("class", name), "name": name, "count": count} for name, count in counts.items()],
        }

    def _training(self, job: Job) -> dict[str, Any]:
        place = next((each for each in self._places() if id_of("run", str(each)) == job.record.about.get("run")), None)
        stages = self.stages(place) if place else {"stages": [], "notes": []}
        return {"job": job.record.id, "state": job.state, "run": job.record.about.get("run"), **stages}

    def _places(self) -> Iterable[Path]:
        return self.given.runs_folder.glob("*")


Filter = Callable[[Picture], bool]

VIEWS: dict[str, Filter] = {
    "all": lambda each: not each.left_out,
    "unlabelled": lambda each: each.label is None and not each.left_out,
    "left-out": lambda each: each.left_out,
    "changed": lambda each: each.left_out or each.collected or each.label != each.given,
}
"""Which pictures the grid shows, by name, beside those of a class and of a finding."""


def shown(pictures: Sequence[Picture], view: str, label: str | None) -> list[Picture]:
    """Return the pictures of a view; label: the class whose pictures are meant, whatever the view is called."""
    if label is not None:
        return [each for each in pictures if each.label == label and not each.left_out]
    return list(filter(VIEWS[view], pictures))
