"""What the cost model of stored features rests on (keras_transfer/training/costs.py), measured.

    scripts/bench engines FOLDER [--backbone EfficientNetLite0] [--sizes 96,224]

Pictures/s of a whole frozen backbone on every engine, as ratios against Keras' own inference, and how many
multiply-adds Keras does while one byte of features is written, read back and put into a batch.
FOLDER holds train/CLASS.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from keras_transfer.backbones import blocks, features, registry
from keras_transfer.data.pictures import read_pictures
from keras_transfer.training import feature_store, prefix, stage_data
from keras_transfer.training.job import Settings

COUNT, BATCH, ROUNDS = 512, 32, 3
MAPS = (2_000, 12, 12, 80)
"""46 MB in half precision: what a cut in the middle of a network stores of 2,000 pictures."""


def rate(work, amount):
    """Amount per second, the median of `ROUNDS` after one to warm up."""
    took = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return amount / statistics.median(took[1:])


def pictures_per_second(model, images):
    chunks = np.split(images, COUNT // BATCH)
    found = {}
    for engine in prefix.ENGINES:
        compute = prefix.build(model, check=images[:16], engine=engine).compute
        found[engine] = rate(lambda compute=compute: [compute(chunk) for chunk in chunks], COUNT)
    return found


def store_once(maps, batches):
    with tempfile.TemporaryDirectory() as place:
        key = feature_store.Key("", "", "", "train", 96, "", "", 0, 0, "float16", "none")
        count, *shape = maps.shape
        view = feature_store.obtain(
            Path(place), key, count=count, feature_shapes=[tuple(shape)], compute=lambda each: (each,), batches=batches
        )
        for _ in stage_data.shuffled([view], Settings(image_size=96, counts={}, batch_size=BATCH), epoch=0):
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="EfficientNetLite0")
    parser.add_argument("--sizes", default="96,224")
    options = parser.parse_args()
    maps = np.ones(MAPS, np.float16)
    starts = range(0, len(maps), BATCH)
    batches = [(maps[at : at + BATCH], np.ones((BATCH, 10), np.float32), np.ones(BATCH, np.float32)) for at in starts]
    bytes_per_second = rate(lambda: store_once(maps, batches), maps.nbytes)
    spec = registry.backbone(options.backbone)
    for size in map(int, options.sizes.split(",")):
        model = features.build(spec, image_size=size).model
        paths = sorted((options.folder / "train").glob("*/*"))[:COUNT]
        found = pictures_per_second(model, read_pictures(paths, image_size=size, aspect="stretch"))
        for engine, each in found.items():
            print(f"{size} px, {engine:12} {each:6.0f} pictures/s, {each / found['keras']:.1f} times Keras", flush=True)
        work = sum(block.multiply_adds for block in blocks.cut(model, spec))
        print(f"{size} px, one stored byte: {found['keras'] * work / bytes_per_second:.0f} multiply-adds of Keras")


if __name__ == "__main__":
    main()
