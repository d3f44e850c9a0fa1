"""Asks exported files as the programs of their users do: each client reads and resizes the original pictures itself.

Parity compares answers to squares that this package made. A telephone, a script and a page make their own, from larger
pictures, by filters of their own; what is lost there shows nowhere else.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from keras_transfer.errors import DataError, UsageError, unknown
from keras_transfer.export import browser
from keras_transfer.export.runtime import Format, Runtime
from keras_transfer.placing import Rectangle, placed
from keras_transfer.specs import Answers, Contract, Value

BATCH = 32
"""Pictures that are read before files are asked about them."""

Squares = Callable[[Sequence[str], Contract], Iterator["np.ndarray | None"]]
"""`squares(paths, contract)`: what a client makes of each picture file, uint8 (size, size, 3); None where it cannot."""

Asked = Iterator[tuple[list[Answers], np.ndarray]]
"""Of some pictures at a time: what each file says of them, and which of them the client could read, bool (n,)."""


@dataclass(frozen=True)
class Client:
    """What reads pictures and asks files: one row of `CLIENTS`."""

    does: str
    """How it reads and resizes, in a person's words."""
    needs: Callable[[], Any]
    """Finds what the client is; UsageError in one sentence where that is not installed."""
    answers: Callable[[Sequence[Runtime], Sequence[str]], Asked]
    formats: tuple[Format, ...] = ("saved_model", "tflite", "onnx")
    """What it opens."""
    tasks: tuple[str, ...] | None = None
    """Whose files it can be asked about here; None: those of all tasks."""


class InClient(Value):
    """What is left of a file in the hands of a client, beside the same file and pictures as training reads them."""

    client: str
    merit: float
    """Of the task, 0-1, over all pictures; those that the client cannot read are worth nothing."""
    lost_points: float
    """Percentage points of merit below the same file on pictures as training reads them; negative where it is more."""
    agreement: float
    """Share of the pictures to which the file gives the answer that it gives as training reads them."""
    unreadable: int = 0
    """Pictures that the client could not read."""


def check(names: Sequence[str], contract: Contract, formats: Sequence[str]) -> None:
    """Raise UsageError where a client is unknown, is not installed, or takes none of these files.

    >>> check(["pilow"], Contract(class_names=("cat", "dog"), image_size=96), ["onnx"])
    Traceback (most recent call last):
    keras_transfer.errors.UsageError: Unknown client 'pilow'. Did you mean 'pillow'?
    """
    for name in names:
        if name not in CLIENTS:
            raise UsageError(unknown("client", name, CLIENTS))
        client = CLIENTS[name]
        if contract.frames:
            raise UsageError(f"--client {name} reads pictures, and these files take clips. Leave --client out.")
        if client.tasks and contract.task not in client.tasks:
            raise UsageError(
                f"--client {name} is asked about {', '.join(client.tasks)}. Received: files of {contract.task}. "
                f"Use another of: {', '.join(each for each, row in CLIENTS.items() if not row.tasks)}"
            )
        if not set(client.formats) & set(formats):
            raise UsageError(
                f"--client {name} opens files of {', '.join(client.formats)}, and none of these is one. "
                f"Received: {', '.join(sorted(set(formats)))}. Export one: keras-transfer export RUN -f tflite"
            )
        client.needs()


def _by_squares(loaded: Sequence[Runtime], paths: Sequence[str], *, squares: Squares) -> Asked:
    """Ask files in their own runtimes about what a client made of the pictures, which are read once for all of them."""
    contract = loaded[0].artifact.contract
    made = squares(paths, contract)
    while some := list(islice(made, BATCH)):
        images = np.stack([np.zeros(contract.shape, np.uint8) if each is None else each for each in some])
        yield [each.predict(images) for each in loaded], np.array([each is not None for each in some])


def _one_by_one(square: Callable[[str, Contract], np.ndarray | None]) -> Squares:
    """Return what reads pictures on a few threads: decoders and filters let go of Python's lock."""

    def squares(paths: Sequence[str], contract: Contract) -> Iterator[np.ndarray | None]:
        with ThreadPoolExecutor(2) as beside:
            yield from beside.map(lambda path: square(path, contract), paths)

    return squares


def _placed(height: int, width: int, contract: Contract) -> tuple[Rectangle, Rectangle]:
    """A program does by hand what the contract says of proportions; the filter is its own."""
    return placed(height, width, contract.image_size, contract.aspect)


def _pillow(path: str, contract: Contract) -> np.ndarray | None:
    from PIL import Image

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    (top, left, high, wide), (down, across, to_high, to_wide) = _placed(picture.height, picture.width, contract)
    square = Image.new("RGB", (contract.image_size, contract.image_size))
    shown = picture.crop((left, top, left + wide, top + high)).resize((to_wide, to_high))
    square.paste(shown, (across, down))
    return np.asarray(square)


def _opencv(path: str, contract: Contract) -> np.ndarray | None:
    import cv2

    stored = cv2.imread(path)
    if stored is None:
        return None
    pixels = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB)
    height, width = pixels.shape[:2]
    (top, left, high, wide), (down, across, to_high, to_wide) = _placed(height, width, contract)
    square = np.zeros(contract.shape, np.uint8)
    shown = np.ascontiguousarray(pixels[top : top + high, left : left + wide])
    square[down : down + to_high, across : across + to_wide] = cv2.resize(shown, (to_wide, to_high))
    return square


def _mediapipe() -> Any:
    try:
        import mediapipe
    except ImportError:
        raise UsageError("--client mediapipe needs a package: pip install 'keras-transfer[clients]'") from None
    return mediapipe


def _by_mediapipe(loaded: Sequence[Runtime], paths: Sequence[str]) -> Asked:
    """Ask TFLite files through MediaPipe Tasks with no options: it reads, stretches and runs them itself."""
    mediapipe = _mediapipe()
    with ExitStack() as tools:
        asked = []
        for each in loaded:
            tool, answer_of = MEDIAPIPE[each.artifact.contract.task]
            opened = getattr(mediapipe.tasks.vision, tool).create_from_model_path(str(each.artifact.path))
            asked.append((each.artifact.contract.outputs[0], partial(answer_of, tools.enter_context(opened))))
        for path in paths:
            try:
                image = mediapipe.Image.create_from_file(path)
                if image.image_format not in (mediapipe.ImageFormat.SRGB, mediapipe.ImageFormat.SRGBA):
                    raise ValueError("grey and 16 bits end a tool of MediaPipe for all pictures that follow")
                said = [(output, answer_of(image, output.shape)) for output, answer_of in asked]
            except (RuntimeError, ValueError):  # what it does not decode, or has channels that it does not take
                said = [(output, np.zeros(output.shape, np.float32)) for output, _ in asked]
                yield [{output.name: answer[None]} for output, answer in said], np.array([False])
                continue
            yield [{output.name: answer[None]} for output, answer in said], np.array([True])


def _scores(classifier: Any, image: Any, shape: tuple[int, ...]) -> np.ndarray:
    (found,) = classifier.classify(image).classifications
    said = np.zeros(shape, np.float32)
    for category in found.categories:
        said[category.index] = category.score
    return said


def _embedding(embedder: Any, image: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(embedder.embed(image).embeddings[0].embedding, np.float32).reshape(shape)


MEDIAPIPE: dict[str, tuple[str, Callable[..., np.ndarray]]] = {
    "classification": ("ImageClassifier", _scores),
    "multilabel": ("ImageClassifier", _scores),
    "embedding": ("ImageEmbedder", _embedding),
}
"""What MediaPipe Tasks opens the files of each task with, and `answer_of(tool, image, shape)`: its one answer."""


def _chromium() -> str:
    found = next(filter(None, map(shutil.which, browser.PROGRAMS)), None)
    if found is None:
        raise UsageError(
            f"--client browser needs one of {', '.join(browser.PROGRAMS)} among the programs: apt-get install chromium"
        )
    return found


def _in_browser(paths: Sequence[str], contract: Contract) -> Iterator[np.ndarray | None]:
    return browser.squares(_chromium(), paths, contract.image_size, contract.aspect)


CLIENTS: dict[str, Client] = {
    "mediapipe": Client(
        does="MediaPipe Tasks: Image.create_from_file, stretched by itself; no orientation of cameras",
        needs=_mediapipe,
        answers=_by_mediapipe,
        formats=("tflite",),
        tasks=tuple(MEDIAPIPE),
    ),
    "opencv": Client(
        does="OpenCV: imread and resize, bilinear without antialiasing",
        needs=lambda: None,
        answers=partial(_by_squares, squares=_one_by_one(_opencv)),
    ),
    "browser": Client(
        does="Chromium: createImageBitmap and drawImage on a canvas",
        needs=_chromium,
        answers=partial(_by_squares, squares=_in_browser),
    ),
    "pillow": Client(
        does="Pillow: Image.open and resize, bicubic and antialiased; no orientation of cameras",
        needs=lambda: None,
        answers=partial(_by_squares, squares=_one_by_one(_pillow)),
    ),
}
"""By name: what is between a picture file and a model in other people's programs, each by the plainest calls it has."""


def paths_of(pictures: Any) -> list[str]:
    """Return the files of a split's pictures. Raises DataError where they are none: clients read files."""
    if callable(pictures) or pictures.dtype.kind != "U":
        raise DataError(
            "Clients read picture files, and these pictures stand in memory or in shards. Leave --client out, or train "
            "on a folder or a table of files."
        )
    return [str(path) for path in pictures]
