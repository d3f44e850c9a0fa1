"""Annotation files and tables that were changed by a seed, loaded as sources of pictures.

    scripts/campaign annotations [--count 500] [--seed 0] [--only coco]

Each is loaded in a process of its own, of 6 GB of addresses and 10 s of computing, whose heap glibc checks. It holds
where splits come of it or one sentence.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path

import campaigning
import numpy as np
import pyarrow
from PIL import Image
from pyarrow import parquet

from keras_transfer.data import sources
from keras_transfer.errors import KerasTransferError

PICTURES = 12
SIDE = 16
NAMES = ("cat", "dog")


def pictures(folder: Path) -> list[str]:
    """Write a few pictures that differ; their names."""
    folder.mkdir(parents=True)
    names = [f"{number:02}.png" for number in range(PICTURES)]
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return names


def csv(root: Path) -> Path:
    """A table of classes, weights and groups."""
    rows = [f"pictures/{name},{NAMES[n % 2]},,1,{n}" for n, name in enumerate(pictures(root / "pictures"))]
    (root / "table.csv").write_text("\n".join(["path,label,split,weight,group", *rows]))
    return root / "table.csv"


def parquet_table(root: Path) -> Path:
    """A table of boxes."""
    names = pictures(root / "pictures")
    columns = {"path": [f"pictures/{name}" for name in names], "label": [NAMES[n % 2] for n in range(PICTURES)]}
    corners = {"x1": [1] * PICTURES, "y1": [1] * PICTURES, "x2": [9] * PICTURES, "y2": [9] * PICTURES}
    parquet.write_table(pyarrow.table({**columns, **corners}), root / "table.parquet")
    return root / "table.parquet"


def coco(root: Path) -> Path:
    """A COCO file of boxes and shapes, polygons and run lengths."""
    names = pictures(root / "images")
    shapes = ([[1, 1, 9, 1, 9, 9]], {"size": [SIDE, SIDE], "counts": [10, 46, 200]})
    content = {
        "images": [{"id": n, "file_name": name, "width": SIDE, "height": SIDE} for n, name in enumerate(names)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": n % 2, "bbox": [1, 1, 8, 8], "segmentation": shapes[n % 2]}
            for n in range(PICTURES)
        ],
    }
    (root / "instances.json").write_text(json.dumps(content))
    return root / "instances.json"


def voc(root: Path) -> Path:
    """A VOC folder; one of its XML files."""
    names = pictures(root / "JPEGImages")
    (root / "Annotations").mkdir()
    for n, name in enumerate(names):
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        size = f"<size><width>{SIDE}</width><height>{SIDE}</height></size>"
        text = f"<annotation>{size}<object><name>{NAMES[n % 2]}</name>{box}</object></annotation>"
        (root / "Annotations" / name).with_suffix(".xml").write_text(text)
    return root / "Annotations" / "03.xml"


def yolo(root: Path) -> Path:
    """A YOLO folder; its card."""
    names = pictures(root / "images" / "train")
    (root / "labels" / "train").mkdir(parents=True)
    for n, name in enumerate(names):
        (root / "labels" / "train" / name).with_suffix(".txt").write_text(f"{n % 2} 0.5 0.5 0.4 0.4\n")
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nnames:\n  0: cat\n  1: dog\n")
    return root / "data.yaml"


def yolo_boxes(root: Path) -> Path:
    """A YOLO folder; the boxes of one picture."""
    yolo(root)
    return root / "labels" / "train" / "03.txt"


def masks(root: Path) -> Path:
    """A folder of masks; one of them."""
    (root / "masks").mkdir(parents=True)
    for n, name in enumerate(pictures(root / "images")):
        Image.fromarray(np.full((SIDE, SIDE), n % 2, np.uint8)).save(root / "masks" / name)
    (root / "classes.csv").write_text("name,value\nback,0\nfront,1\n")
    return root / "masks" / "03.png"


def mask_classes(root: Path) -> Path:
    """A folder of masks; what their values mean."""
    masks(root)
    return root / "classes.csv"


KINDS: dict[str, tuple[Callable[[Path], Path], str, bool]] = {
    "csv": (csv, "class", True),
    "parquet": (parquet_table, "boxes", False),
    "coco boxes": (coco, "boxes", True),
    "coco masks": (coco, "mask", True),
    "voc": (voc, "boxes", True),
    "yolo": (yolo, "boxes", True),
    "yolo boxes": (yolo_boxes, "boxes", True),
    "masks": (masks, "mask", False),
    "mask classes": (mask_classes, "mask", True),
}
"""What writes a source and names the file to change, what its pictures are labelled with, and whether it is text."""


def attempt(kind: str, rng: random.Random, folder: Path) -> str:
    """Change a file of a source and load it; what was lost, in words."""
    write, annotation, text = KINDS[kind]
    root = folder / "source"
    root.mkdir()
    file = write(root)
    file.write_bytes(campaigning.changed(file.read_bytes(), rng, campaigning.OF_TEXT if text else campaigning.OF_BYTES))
    source = (
        str(file)
        if file.parent == root and file.suffix in (".csv", ".parquet") and kind != "mask classes"
        else str(root)
    )

    def work() -> str:
        try:
            sources.load(source, annotation=annotation)
        except KerasTransferError as error:
            return str(error)
        return ""

    said, problem = campaigning.apart(work)
    return problem or ("a sentence of several lines" if "\n" in said else "")


if __name__ == "__main__":
    campaigning.check_heap()
    campaigning.main("annotations", tuple(KINDS), attempt, count=500)
