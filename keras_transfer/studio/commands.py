"""Turns what the page asks for into the words of a verb; what is not in these tables cannot be asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from keras_transfer import runs
from keras_transfer.errors import UsageError, unknown
from keras_transfer.specs import Plan, Value
from keras_transfer.studio.given import Given
from keras_transfer.studio.ids import PATTERN

Id = Annotated[str, Field(pattern=PATTERN)]

MISTAKES = 200
"""Pictures that a model is most surely wrong about, of a split."""
MOST_ASKED = 64
"""Pictures that a model is asked about at a time."""
MOST_FORMATS = 50
"""Of one export."""


class Doctor(Value):
    """What is wrong with the pictures."""

    verb: Literal["doctor"]


class Advise(Value):
    """What to train, and what it will cost."""

    verb: Literal["advise"]


class Train(Value):
    """A new training."""

    verb: Literal["train"]
    backbone: str | None = None
    recipe: str | None = None
    minutes: float | None = Field(default=None, gt=0, le=1440, allow_inf_nan=False)
    epochs: int | None = Field(default=None, ge=1, le=1000)
    image_size: int | None = Field(default=None, ge=16, le=1024)


class Predict(Value):
    """What a run says of pictures, and where it looked."""

    verb: Literal["predict"]
    run: Id
    pictures: tuple[Id, ...] = Field(min_length=1, max_length=MOST_ASKED)


class Mistakes(Value):
    """The pictures that a run is wrong about."""

    verb: Literal["evaluate"]
    run: Id
    split: Literal["validation", "test"] = "validation"


class Export(Value):
    """Files of a run, each proven."""

    verb: Literal["export"]
    run: Id
    formats: tuple[str, ...] = Field(default=(), max_length=MOST_FORMATS)


class Bundle(Value):
    """A proven file where it will be used."""

    verb: Literal["bundle"]
    run: Id
    target: str


class Report(Value):
    """One page for whoever decides."""

    verb: Literal["report"]
    run: Id


Asked = Annotated[Doctor | Advise | Train | Predict | Mistakes | Export | Bundle | Report, Field(discriminator="verb")]


@dataclass(frozen=True)
class Places:
    """What the ids of a request stand for: the page names things, and this says where they lie."""

    given: Given
    source: Callable[[], str]
    """What is looked at."""
    frozen: Callable[[], str]
    """What a training learns from."""
    run: Callable[[str], Path]
    drawn: Path
    """Where what is drawn of answers goes."""


def words_of(asked: Asked, places: Places, pictures: Mapping[str, Path] | None = None) -> tuple[str, ...]:
    """Return the words of a verb after `keras-transfer`; UsageError for a name that no table has.

    pictures: where the pictures of a request lie, by their ids.
    """
    return (*_WORDS[type(asked)](asked, places, pictures or {}), "--json")


def _word(source: str) -> str:
    """A source or a file as one word that no option is taken for."""
    return f"./{source}" if source.startswith("-") else source


def _task(places: Places) -> tuple[str, ...]:
    return () if places.given.task == Plan.model_fields["task"].default else ("--task", places.given.task)


def _doctor(asked: Doctor, places: Places, pictures: Mapping[str, Path]) -> tuple[str, ...]:
    return ("doctor", _word(places.source()), *_task(places))


def _advise(asked: Advise, places: Places, pictures: Mapping[str, Path]) -> tuple[str, ...]:
    return ("advise", _word(places.source()), *_task(places))


def _train(asked: Train, places: Places, pictures: Mapping[str, Path]) -> tuple[str, ...]:
    _known("backbone", asked.backbone, places.given.backbones)
    _known("recipe", asked.recipe, places.given.recipes)
    options = {
        "--backbone": asked.backbone,
        "--recipe": asked.recipe,
        "--minutes": None if asked.minutes is None else f"{asked.minutes:g}",
        "--epochs": asked.epochs,
        "--image-size": asked.image_size,
    }
    said = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    folder = places.given.runs_folder
    where = () if folder == runs.DEFAULT_FOLDER else ("--folder", str(folder))
    return ("train", _word(places.frozen()), *_task(places), *said, "--run", free_name(asked, places.given), *where)


def _known(kind: str, name: str | None, names: Iterable[str]) -> None:
    """Raise UsageError for a name that is in none of the program's tables: it must not become a word of a command."""
    if name is not None and name not in (known := tuple(names)):
        raise UsageError(unknown(kind, name, known))


def free_name(asked: Train, given: Given) -> str:
    """Return a name for a run that no folder has: what its pictures are called, and its backbone."""
    backbone = asked.backbone or given.settled["backbone"]
    stem = runs.name_for(Plan(data=given.name, backbone=backbone))
    taken = {each.name for each in given.runs_folder.glob("*")}
    return next(name for number in range(1, len(taken) + 2) if (name := _numbered(stem, number)) not in taken)


def _numbered(stem: str, number: int) -> str:
    return stem if number == 1 else f"{stem}-{number}"


def _predict(asked: Predict, places: Places, pictures: Mapping[str, Path]) -> tuple[str, ...]:
    files = [_word(str(pictures[each])) for each in dict.fromkeys(asked.pictures)]
    return ("predict", str(places.run(asked.run)), *files, "--output", str(places.drawn))


def _evaluate(asked: Mistakes, places: Places, pictures: Mapping[str, Path]) -> tuple[str, ...]:
    return ("evaluate", str(places.run(asked.run)), "--split", asked.split, "--mistakes", str(MISTAKES))


def _export(asked: Export, places: Places, pictures: Mapping[str, Path]) -> tuple[str, ...]:
    for name in asked.formats:
        _known("export format", name, (each.name for each in places.given.formats))
    formats = [word for name in dict.fromkeys(asked.formats) for word in ("--format", name)]
    return ("export", str(places.run(asked.run)), *formats)


def _bundle(asked: Bundle, places: Places, pictures: Mapping[str, Path]) -> tuple[str, ...]:
    _known("target", asked.target, (each.name for each in places.given.targets))
    modules = places.given.modules
    brought = () if modules is None else ("--modules", str(modules))
    return ("bundle", str(places.run(asked.run)), "--for", asked.target, *brought)


def _report(asked: Report, places: Places, pictures: Mapping[str, Path]) -> tuple[str, ...]:
    return ("report", str(places.run(asked.run)))


_WORDS: dict[type, Callable[[Any, Places, Mapping[str, Path]], tuple[str, ...]]] = {
    Doctor: _doctor,
    Advise: _advise,
    Train: _train,
    Predict: _predict,
    Mistakes: _evaluate,
    Export: _export,
    Bundle: _bundle,
    Report: _report,
}
