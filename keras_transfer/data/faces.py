"""Cuts the largest face out of the pictures of a folder, which is then a source like any other, or of a few files.

Free of TensorFlow.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_transfer.data.decoding import upright_rgb
from keras_transfer.data.files import picture_paths
from keras_transfer.data.pictures import content_of
from keras_transfer.data.squaring import square
from keras_transfer.errors import DataError
from keras_transfer.files import cache_folder, drafted, expanded, write_bytes
from keras_transfer.specs import Event, Listener, silent

PREFIX = "faces:"

MARGIN = 0.2
"""Added on each side of a face, as a share of it: the cascade's box ends at chin and brows."""

LEAST = 0.1
"""Smallest face that is looked for, as a share of the picture's shorter side."""

CASCADE = "haarcascade_frontalface_default.xml"
SYSTEM_FOLDERS = ("/usr/share/opencv4/haarcascades", "/usr/share/opencv/haarcascades")

NAMED = 5
"""Pictures without a face that a message names."""

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""

Find = Callable[[np.ndarray], Sequence[Box]]
"""`find(grey picture, uint8 (height, width))`: boxes of faces."""


def folder_of(source: str) -> Path:
    """Return the folder that a source `faces:FOLDER` names.

    >>> folder_of("faces:people")
    PosixPath('people')
    """
    return expanded(source.removeprefix(PREFIX))


def cropped(folder: Path, *, find: Find | None = None, listener: Listener = silent) -> Path:
    """Return a folder as `folder` is, of the largest face in each of its pictures, as PNG files.

    >>> cropped(Path("people"))  # doctest: +SKIP
    PosixPath('/home/ann/.cache/keras_transfer/faces/0c4f…')

    find: who looks for faces; OpenCV's cascade of frontal faces where it is left out. A picture without a face is left
    out and named. The folder is in the cache, made anew when a file of `folder` changes. Raises DataError where there
    is no picture, or no face in any of them.
    Source: Viola & Jones, Rapid Object Detection using a Boosted Cascade of Simple Features, CVPR 2001.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}' to look for faces in.")
    paths, _ = picture_paths(folder)
    place = cache_folder() / "faces" / _key(folder, paths)
    if not (place / ".without.json").exists():
        find = find or cascade()
        with drafted(place) as draft:
            draft.mkdir()
            without = [path for path in paths if not _cut(Path(path), folder, draft, find)]
            if len(without) == len(paths):
                raise DataError(
                    f"There is no face in any of {len(paths)} pictures of '{folder}'. Name it without faces:"
                )
            write_bytes(draft / ".without.json", json.dumps(without).encode())
    without = json.loads((place / ".without.json").read_text(encoding="utf-8"))
    if without:
        named = ", ".join(without[:NAMED])
        told = f"{len(without)} of {len(paths)} pictures show no face and are left out: {named}"
        listener(Event("warning", told))
    return place


def face_of(picture: np.ndarray, find: Find) -> np.ndarray | None:
    """Return the largest face of a picture with its margin, uint8 (height, width, 3); None where it shows none.

    >>> face_of(np.zeros((90, 90, 3), np.uint8), lambda grey: [(10, 10, 50, 50)]).shape
    (70, 70, 3)

    picture: uint8 (height, width, 3), RGB, upright; find: who looks for faces, `cascade()` where nobody else does.
    """
    boxes = find(np.asarray(Image.fromarray(picture).convert("L")))
    if not boxes:
        return None
    largest = max(boxes, key=lambda box: (box[2] * box[3], box))
    left, top, right, bottom = widened(largest, *picture.shape[:2])
    return np.ascontiguousarray(picture[top:bottom, left:right])


def read_faces(paths: Sequence[Path | str], *, image_size: int, aspect: str, find: Find | None = None) -> np.ndarray:
    """Return the largest face in each picture file as a model takes it: uint8 (n, image_size, image_size, 3).

    >>> read_faces(["ann.jpg"], image_size=128, aspect="stretch").shape  # doctest: +SKIP
    (1, 128, 128, 3)

    The same pixels as those of `cropped`. aspect: as `squaring.square` takes it; find: as `cropped` takes it. Raises
    DataError that names the first file which cannot be read or shows no face.
    """
    find = find or cascade()
    images = np.empty((len(paths), image_size, image_size, 3), np.uint8)
    for path, place in zip(paths, images, strict=True):
        try:
            face = face_of(upright_rgb(content_of(str(path))), find)
        except DataError as error:
            raise DataError(f"'{path}' {error}.") from None
        if face is None:
            raise DataError(
                f"'{path}' shows no face that can be found. Name a picture that does or, where the face is cut out "
                "already, say so: --crop none"
            )
        square(face, image_size, aspect, place)
    return images


def cascade() -> Find:
    """Return OpenCV's cascade of frontal faces; DataError where this OpenCV brings none and the system has none."""
    import cv2

    brought = getattr(getattr(cv2, "data", None), "haarcascades", "")
    found = [Path(each) / CASCADE for each in (brought, *SYSTEM_FOLDERS) if (Path(each) / CASCADE).is_file()]
    if not found:
        raise DataError(
            f"Faces are looked for with OpenCV's '{CASCADE}', and OpenCV {cv2.__version__} does not bring it. "
            f"Install it: apt install opencv-data"
        )
    classifier = getattr(cv2, "CascadeClassifier", None)
    if classifier is None:  # since OpenCV 5 it stands in the package of contributed modules
        raise DataError(
            f"Faces are looked for with OpenCV's cascades, and OpenCV {cv2.__version__} as it is installed has none. "
            f"Install it: pip install 'keras_transfer[faces]'"
        )
    detector = classifier(str(found[0]))

    def find(grey: np.ndarray) -> Sequence[Box]:
        least = max(24, int(LEAST * min(grey.shape)))
        return [
            (int(left), int(top), int(width), int(height))
            for left, top, width, height in detector.detectMultiScale(grey, 1.1, 5, minSize=(least, least))
        ]

    return find


def widened(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a face with its margin, inside a picture of that size.

    >>> widened((10, 10, 100, 100), height=200, width=115)
    (0, 0, 115, 130)
    """
    left, top, wide, high = box
    x, y = round(MARGIN * wide), round(MARGIN * high)
    return max(left - x, 0), max(top - y, 0), min(left + wide + x, width), min(top + high + y, height)


def _cut(path: Path, folder: Path, into: Path, find: Find) -> bool:
    """Write the largest face of a picture; return whether there is one. What cannot be read is copied: who reads it
    then says so."""
    place = into / path.relative_to(folder)
    try:
        encoded = content_of(str(path))
    except DataError as error:
        raise DataError(f"'{path}' {error}. Take it out of '{folder}'.") from None
    try:
        picture = upright_rgb(encoded)
    except DataError:
        _write(place, encoded)
        return True
    face = face_of(picture, find)
    if face is None:
        return False
    content = io.BytesIO()
    Image.fromarray(face).save(content, "PNG")
    _write(place.with_name(f"{place.name}.png"), content.getvalue())
    return True


def _write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)  # the folder is a draft until it is whole


def _key(folder: Path, paths: Sequence[str]) -> str:
    sha = hashlib.sha256(f"{MARGIN} {LEAST} {CASCADE}".encode())
    for part in _stamps(folder, paths):
        sha.update(part)
    return sha.hexdigest()[:32]


def _stamps(folder: Path, paths: Sequence[str]) -> Iterator[bytes]:
    for path in paths:
        noted: Any = Path(path).stat()
        yield f"{Path(path).absolute()} {noted.st_size} {noted.st_mtime_ns}\n".encode()
