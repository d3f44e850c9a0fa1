"""Teaches a run to be right in whole numbers, the run itself being the teacher, and opens what it learnt.

`RUN/int8/` holds `model.keras`, the network of the run with the weights that it learnt (plain Keras opens it), and
`ranges.json`, format 2: `{"version": 2, "model_sha256", "ranges": {"NAME": [least, largest], ...}}`, by what gives each
tensor that is rounded; the SHA-256 is that of `RUN/model.keras`, which stays as it was trained. A stage that brought
nothing over rounding alone leaves neither. Format 1 rounded hard swish elsewhere: it is left aside.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from pydantic import Field, ValidationError

from keras_transfer import keras_files
from keras_transfer.backbones import registry
from keras_transfer.data import pipeline
from keras_transfer.errors import UsageError
from keras_transfer.export import activations
from keras_transfer.export.supersampling import ASKED, supersampled
from keras_transfer.files import MOST_MODEL_BYTES, MOST_TEXT_BYTES, drafted, read_bytes, write_bytes
from keras_transfer.specs import (
    LOGITS_LAYER,
    Artifact,
    Contract,
    Event,
    Plan,
    Stage,
    StageResult,
    Value,
    silent,
)
from keras_transfer.training import recipes, trainer, whole_numbers
from keras_transfer.training.job import Job
from keras_transfer.workflow import teaching
from keras_transfer.workflow.building import network_of, settings_of
from keras_transfer.workflow.opened import Opened, some_pictures
from keras_transfer.workflow.tasks import TASKS, task_of
from keras_transfer.workflow.teaching import Teacher

FOLDER, MODEL, RANGES = "int8", "model.keras", "ranges.json"
LOOKED_AT = 200
"""Training pictures by which ranges begin: as many as a file is calibrated on."""
AT_A_TIME = 20
PROVEN = 4
"""Pictures on which a file is held to the twin."""


class Learnt(Value):
    """`RUN/int8/ranges.json`."""

    version: int = Field(default=2, ge=2, le=2)
    model_sha256: str
    ranges: dict[str, tuple[float, float]]


def check(plan: Plan) -> None:
    """Raise UsageError for stages in whole numbers that could not be trained, or that nothing comes before."""
    whole = [stage for stage in plan.stages if stage.precision]
    asked = whole or (not plan.stages and plan.recipe.endswith(recipes.WHOLE))
    if not asked:
        return
    if plan.stages and (whole != [plan.stages[-1]] or len(plan.stages) < 2):
        raise UsageError(
            "A stage in whole numbers begins with a network that was trained in floats, and ends what is trained: it "
            f"comes last, after another one. Received: {', '.join(_told(stage) for stage in plan.stages)}"
        )
    if task_of(plan.task).teach is None:
        able = " and ".join(name for name, row in TASKS.items() if row.teach)
        raise UsageError(f"Whole numbers are learnt from a teacher's answers, in {able}. Received: {plan.task}")
    if plan.precision != "float32":
        raise UsageError(
            f"Whole numbers are learnt in float32, whose rounding they are. Received: precision={plan.precision}"
        )


def _told(stage: Stage) -> str:
    return f"{stage.name} ({stage.precision or 'floats'})"


def parted(stages: Sequence[Stage]) -> tuple[tuple[Stage, ...], Stage | None]:
    """Return the stages in floats, and the one in whole numbers that follows them, None where none does."""
    *before, last = stages
    return (tuple(before), last) if last.precision else (tuple(stages), None)


def learn(opened: Opened, stage: Stage | None = None) -> StageResult:
    """Train the network of a run, as it stands, to be right in whole numbers; keep what it learnt where that helped.

    stage: how; a few epochs at a tenth of the rate of the run's last stage where it is left out. Goes on where a killed
    process was. The model of the run stays as it is.
    """
    plan, folder = opened.record.plan, opened.run.folder
    plan = plan.model_copy(update={"precision": "float32", "image_size": opened.record.image_size})
    network, _ = network_of(plan, registry.backbone(plan.backbone), opened.splits, "none", silent)
    network.model.set_weights(opened.model.get_weights())
    feed = pipeline.make_feed(
        opened.splits, aspect=plan.aspect, seed=plan.seed, balance=plan.balance, listener=opened.listener
    )
    twin = whole_numbers.of(network)
    whole_numbers.look(twin.model, _in_parts(some_pictures(feed, "train", opened.record.image_size, LOOKED_AT)))
    job = Job(twin, feed, settings_of(plan, opened.splits, "stream"), folder / FOLDER, opened.listener)
    itself = Teacher(opened.run, teaching.asking(opened.run, opened.splits), opened.record.validation_merit)
    asked = stage or _stage_after(plan, len(network.blocks))
    (result,) = trainer.train(teaching.taught(job, plan, opened.splits, itself), [asked])
    if result.kept:
        _keep(opened, network.model, whole_numbers.ranges(twin.model))
    return result


def learnt(opened: Opened, contract: Contract) -> keras.Model | None:
    """Return the network in whole numbers as a run learnt it, its answers settled as a contract says, about pictures as
    large as they are taken; None where it learnt none."""
    found = _kept(opened)
    if found is None:
        return None
    model, ranges = keras_files.load(opened.run.folder / FOLDER / MODEL), dict(found.ranges)
    fold = opened.task.fold
    if fold and contract.temperature != 1:
        # What divides the logits becomes a part of their kernel, and they reach less far by it.
        model, logits = fold(model, contract), f"{LOGITS_LAYER}{whole_numbers.RANGE}"
        ranges[logits] = (ranges[logits][0] / contract.temperature, ranges[logits][1] / contract.temperature)
    if opened.supersampling > 1:  # means of pixels lie on the range of pixels: no other is new
        model = supersampled(model, opened.supersampling)
        ranges = {f"{ASKED}_{name}": found for name, found in ranges.items()}
    return whole_numbers.twin(model, ranges)


def within_a_step(opened: Opened, twin: keras.Model, artifact: Artifact) -> float:
    """Return how far a file computes as the twin that it was made of, on `PROVEN` pictures of the test split: the least
    share, of all operations, of numbers that lie at most one step apart where both are given the same."""
    content = read_bytes(artifact.path, MOST_MODEL_BYTES)
    pictures = some_pictures(opened.feed, "test", artifact.contract.image_size, PROVEN)
    shares: dict[str, list[float]] = {}
    for picture in pictures:
        for name, share in whole_numbers.alike(twin, picture, activations.on_steps(content, picture)).items():
            shares.setdefault(name, []).append(share)
    return min(float(np.mean(each)) for each in shares.values())


def _stage_after(plan: Plan, blocks: int) -> Stage:
    """The stage of recipes ending in `+int8`, for a run that was trained without one."""
    before, whole = parted(plan.stages or recipes.stages(plan.recipe, blocks))
    return whole or recipes.in_whole_numbers(before)


def _in_parts(pictures: np.ndarray) -> list[np.ndarray]:
    return [pictures[start : start + AT_A_TIME] for start in range(0, len(pictures), AT_A_TIME)]


def _keep(opened: Opened, model: keras.Model, ranges: dict[str, tuple[float, float]]) -> None:
    place = opened.run.folder / FOLDER
    with drafted(place / MODEL) as draft:
        model.save(draft)
    # The ranges last: they say that the model beside them is whole, and of which run.
    found = Learnt(model_sha256=opened.model_sha256, ranges=ranges)
    write_bytes(place / RANGES, found.model_dump_json(indent=1).encode())


def _kept(opened: Opened) -> Learnt | None:
    """What a run learnt; None where it learnt nothing, or was another model then."""
    place = opened.run.folder / FOLDER
    try:
        found = Learnt.model_validate_json(read_bytes(place / RANGES, MOST_TEXT_BYTES))
    except OSError:
        return None
    except ValidationError:
        told = f"'{place / RANGES}' is of another format: what was learnt in whole numbers is left aside"
        opened.listener(Event("warning", told))
        return None
    if found.model_sha256 != opened.model_sha256:
        told = f"what '{place}' learnt in whole numbers is of another model: it is left aside"
        opened.listener(Event("warning", told))
        return None
    return found
