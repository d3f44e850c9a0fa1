"""The tasks that measurements of recipes, minutes and labels are made on: public pictures, cut into train and test.

--cifar FOLDER        train/CLASS and test/CLASS, CIFAR-10 as JPEG
--photographs FOLDER  ImageNet photographs named INDEX_… as the validation set has them
--fashion FOLDER      the four Fashion-MNIST archives as published
--shop FOLDER         train/, validation/ and test/ of photographs by class, taken as they are
--cells FOLDER        BCCD in VOC layout: every cell is cut out, and its kind is its class
--faces FOLDER        the AT&T faces, a folder each person
--stamps FOLDER       Tux Paint's stamps, a folder each topic (Debian: tuxpaint-stamps-default)
"""

import argparse
import gzip
import random
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
KINDS = (("bird", (*range(7, 25), *range(80, 101), *range(127, 147))), ("dog", range(151, 269)), ("animal", range(398)))
"""What an ImageNet class shows, the first that fits."""

OF_A_FACE, OF_A_STAMP = 6, 5
"""Of ten pictures of a person so many are learned from; of a topic's stamps every so manieth two are for the test."""

CELLS = {"train": 120, "test": 100}
"""Cells of a kind at most, drawn with a fixed seed: red ones are twenty times as many as the others."""

SMALLEST_CELL, SMALLEST_TOPIC = 8, 20
"""Boxes below so many pixels a side show nothing; topics with fewer stamps have too few to learn from."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """An option for each folder of pictures."""
    for name in ("cifar", "photographs", "fashion", "shop", "cells", "faces", "stamps"):
        parser.add_argument(f"--{name}", type=Path, metavar="FOLDER")
    parser.add_argument("--tasks", help="only these, parted by semicolons")


def made(arguments: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Name and source of each task whose pictures were given; what has to be cut is written into `folder`."""
    found = {"sample:fashion": "sample:fashion"}
    if arguments.photographs:
        found["photographs"] = str(photographs(arguments.photographs, folder / "photographs"))
    if arguments.cifar:
        found["CIFAR-10, 1,000"] = str(cifar(arguments.cifar, folder / "cifar1k", 100))
    if arguments.fashion:
        found["Fashion-MNIST, 2,000"] = str(fashion(arguments.fashion, folder / "fashion2k"))
    if arguments.cifar:
        found["CIFAR-10, 5,000"] = str(cifar(arguments.cifar, folder / "cifar5k", None))
    if arguments.shop:
        found["shop"] = str(arguments.shop)
    for name, cut in (("cells", cells), ("faces", faces), ("stamps", stamps)):
        if getattr(arguments, name):
            found[name] = str(cut(getattr(arguments, name), folder / name))
    wanted = arguments.tasks.split(";") if arguments.tasks else found
    return {name: found[name] for name in wanted}


def cifar(folder: Path, into: Path, per_class: int | None) -> Path:
    """CIFAR-10 with as many training pictures of each class."""
    for split, most in (("train", per_class), ("test", None)):
        for each in sorted((folder / split).iterdir()):
            files = sorted(each.iterdir())
            random.Random(0).shuffle(files)
            _copied(files[:most], into / split / each.name)
    return into


def photographs(folder: Path, into: Path) -> Path:
    """Is it a bird, a dog, another animal or a thing? Of every five photographs two are for the test."""
    for number, file in enumerate(sorted(folder.iterdir())):
        index = re.match(r"(\d+)_", file.name)
        if index is None:
            continue
        kind = next((name for name, classes in KINDS if int(index[1]) in classes), "thing")
        place = into / ("test" if number % 5 < 2 else "train") / kind
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / f"{file.stem}.jpg")
    return into


def unpacked(archive: Path, header_bytes: int) -> np.ndarray:
    with gzip.open(archive) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header_bytes)


def fashion(folder: Path, into: Path, per_class: int = 200) -> Path:
    """Fashion-MNIST with as many pictures of each class, drawn with a fixed seed."""
    for split, prefix in (("train", "train"), ("test", "t10k")):
        pictures = unpacked(folder / f"{prefix}-images-idx3-ubyte.gz", 16)
        labels = unpacked(folder / f"{prefix}-labels-idx1-ubyte.gz", 8)
        rng = np.random.default_rng(0)
        for label, name in enumerate(FASHION):
            (into / split / name).mkdir(parents=True)
            for i in rng.choice(np.flatnonzero(labels == label), per_class, replace=False):
                Image.fromarray(pictures.reshape(-1, 28, 28)[i]).save(into / split / name / f"{i}.png")
    return into


def cells(folder: Path, into: Path) -> Path:
    """Blood cells cut out of their slides, by kind; slides for training are not those of the test."""
    for split, most in CELLS.items():
        names = (folder / "ImageSets/Main" / f"{split}.txt").read_text().split()
        found: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
        for name in names:
            for thing in ET.parse(folder / "Annotations" / f"{name}.xml").getroot().iter("object"):
                box = tuple(int(thing.findtext(f"bndbox/{each}", "0")) for each in ("xmin", "ymin", "xmax", "ymax"))
                if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST_CELL:
                    found.setdefault(thing.findtext("name", ""), []).append((name, box))
        for kind, boxes in found.items():
            (into / split / kind).mkdir(parents=True)
            random.Random(0).shuffle(boxes)
            for number, (name, box) in enumerate(boxes[:most]):
                with Image.open(folder / "JPEGImages" / f"{name}.jpg") as slide:
                    slide.crop(box).save(into / split / kind / f"{name}-{number}.png")
    return into


def faces(folder: Path, into: Path) -> Path:
    """Who is it? Some pictures of each person are learned from, the others are the test."""
    for person in sorted(each for each in folder.rglob("s*") if each.is_dir()):
        files = sorted(each for each in person.iterdir() if each.suffix in (".pgm", ".png", ".jpg"))
        random.Random(0).shuffle(files)
        _copied(files[:OF_A_FACE], into / "train" / person.name)
        _copied(files[OF_A_FACE:], into / "test" / person.name)
    return into


def stamps(folder: Path, into: Path) -> Path:
    """What topic is a drawing of? On white, as a printer would have it; two of five are for the test."""
    for topic in sorted(each for each in folder.iterdir() if each.is_dir()):
        files = sorted(topic.rglob("*.png"))
        if len(files) < SMALLEST_TOPIC:
            continue
        random.Random(0).shuffle(files)
        for number, file in enumerate(files):
            place = into / ("test" if number % OF_A_STAMP < 2 else "train") / topic.name
            place.mkdir(parents=True, exist_ok=True)
            with Image.open(file) as drawing:
                shown = drawing.convert("RGBA")
            white = Image.new("RGBA", shown.size, "white")
            Image.alpha_composite(white, shown).convert("RGB").save(place / f"{number}-{file.stem}.png")
    return into


def _copied(files: Iterable[Path], place: Path) -> None:
    place.mkdir(parents=True)
    for file in files:
        shutil.copy(file, place / file.name)
