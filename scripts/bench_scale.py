"""What very many pictures cost: to list and divide them, until the first batch, and the memory that training takes.

    scripts/bench scale [--pictures 1000000] [--folder F] [--only table,shards,training]

Makes tiny pictures (about 1 kB, 32 px) as files under a Parquet table, and TFRecord shards of a tenth of them, of which
the shards of all have each ten times; needs 6 kB of disk a picture in FOLDER, the folder for passing files where it is
left out. They are removed at the end. Every figure is of a process of its own, beside that of a tenth of the pictures;
memory is the most that the process ever had in pages of its own (not those of mapped files, which the system takes back
when it needs them). `--pictures 20000` to try it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CLASSES, SIDE, BATCH = 10, 32, 128
BATCHES = 200
"""That are read after the first one, to see what memory a feed takes."""
DRAWN = 1000
"""Different pictures; all others are one of them with another comment."""
LOOK_SECONDS = 0.02
"""Between two looks at the memory of a process."""


class Cost:
    """Seconds, those of the processor, and the most memory of its own that this process has while the block lasts."""

    def __enter__(self):
        self.peak, self._ended = 0.0, threading.Event()
        self._looks = threading.Thread(target=self._look, daemon=True)
        self._looks.start()
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        seconds, cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        self._ended.set()
        self._looks.join()
        self.figures = {"seconds": seconds, "cpu": cpu, "memory": self.peak}

    def so_far(self):
        return time.perf_counter() - self._began[0]

    def _look(self):
        while True:
            text = Path("/proc/self/status").read_text()
            (line,) = (each for each in text.splitlines() if each.startswith("RssAnon"))
            self.peak = max(self.peak, int(line.split()[1]) / 1024)
            if self._ended.wait(LOOK_SECONDS):
                return


def drawn(count):
    """Encoded pictures, each a colour of its class under noise."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    for number in range(count):
        shade = 20 * (number % CLASSES)
        noisy = np.array((40 + shade, 128, 220 - shade)) + np.kron(rng.integers(-40, 40, (8, 8, 3)), np.ones((4, 4, 1)))
        yield cv2.imencode(".jpg", noisy.clip(0, 255).astype(np.uint8))[1].tobytes()


def make(folder, count):
    """Write so many files, a thousand in a folder, and the table that lists them; a comment makes each another one."""
    import pyarrow
    from pyarrow import parquet

    contents, paths = list(drawn(DRAWN)), []
    for number in range(count):
        if number % 1000 == 0:
            (folder / f"{number // 1000:05d}").mkdir(parents=True)
        paths.append(f"{number // 1000:05d}/{number:08d}.jpg")
        content = contents[number % DRAWN]
        (folder / paths[-1]).write_bytes(content[:2] + b"\xff\xfe\x00\x06" + number.to_bytes(4, "big") + content[2:])
    labels = [f"class {number % CLASSES}" for number in range(count)]
    parquet.write_table(pyarrow.table({"path": paths, "label": labels}), folder / "table.parquet")


def of_listing(source):
    from keras_transfer.data.sources import load

    with Cost() as cost:
        splits = load(str(source))
    return cost.figures | {"digest": splits.digest, "counts": splits.counts}


def of_writing(table, shards):
    from keras_transfer.data import cleaning
    from keras_transfer.data.sources import load

    splits = load(str(table))
    with Cost() as cost:
        cleaning.write(splits, Path(shards))
    return cost.figures


def of_first_batch(source):
    import tensorflow  # noqa: F401  (its import is not what is measured)

    from keras_transfer.data.pipeline import make_feed
    from keras_transfer.data.sources import load

    with Cost() as cost:
        splits = load(str(source))
        listed = cost.so_far()
        feed = make_feed(splits, cache_bytes=0)
        batches = iter(feed("train", image_size=SIDE, batch_size=BATCH, shuffle=True, augment="light"))
        next(batches)
    with Cost() as later:
        for _ in range(BATCHES):
            next(batches)
    return cost.figures | {"listing": listed, "digest": splits.digest, "later": later.figures}


def of_multiplying(shards, place, times):
    """A folder of shards that has each picture of another so many times, under so many keys: writing takes hours."""
    import numpy as np

    from keras_transfer.data import records, shard_columns
    from keras_transfer.specs import Split

    shards, place, turns = Path(shards), Path(place), range(int(times))
    splits, index = records.load(str(shards)), json.loads((shards / records.INDEX).read_text())
    place.mkdir()
    for name, each in index["splits"].items():
        for turn in turns:
            for file in each["files"]:
                os.link(shards / file, place / f"{turn}-{file}")
        each["files"] = [f"{turn}-{file}" for turn in turns for file in each["files"]]
        keys = [f"{turn}/{key}" for turn in turns for key in splits[name].keys]
        many = Split(name, None, np.tile(splits[name].labels, len(turns)), keys)
        each["columns"] = shard_columns.write(many, place)
    (place / records.INDEX).write_text(json.dumps(index))
    return {}


def of_training(source, folder):
    """The whole of `train`: a stage from pictures, then validation and test; nothing decoded is kept in memory.

    Memory is that from the first stage on: what listing takes is told beside it.
    """
    import keras_transfer as kt
    from keras_transfer.data import pipeline
    from keras_transfer.specs import Stage

    pipeline.CACHED_SHARE = 0.0  # else a share of the memory that is free would be filled, whatever the number
    stage = Stage(name="head", epochs=1, learning_rate=1e-3, augment="light")
    plan = kt.Plan(
        data=str(source), backbone="MobileNet", weights="none", image_size=SIDE, batch_size=BATCH, stages=(stage,)
    )
    with Cost() as cost:

        def begins(event):
            if event.kind == "stages":
                cost.peak = 0.0

        run = kt.train(plan, folder=Path(folder), engine="stream", listener=begins)
    return cost.figures | {"training": run.record.stages[0].seconds, "digest": run.record.data_digest}


CHILDREN = {
    "listing": of_listing,
    "writing": of_writing,
    "multiplying": of_multiplying,
    "first": of_first_batch,
    "training": of_training,
}


def child(what, *arguments, cache):
    command = [sys.executable, __file__, "--child", what, *(str(each) for each in arguments)]
    environment = {**os.environ, "KERAS_TRANSFER_CACHE": str(cache), "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if process.returncode:
        sys.exit(f"{what} ended with {process.returncode}")
    return json.loads(process.stdout.splitlines()[-1])


def told(found):
    return f"{found['seconds']:.1f} s ({found['cpu']:.1f} of the processor), {found['memory']:.0f} MB at most"


def table(folder, count, cache):
    shutil.rmtree(cache, ignore_errors=True)
    for start in ("first", "second"):
        found = child("listing", folder / "table.parquet", cache=cache)
        print(
            f"{count} rows of a Parquet table, {start} start: {told(found)}; "
            f"digest {found['digest'][:12]}, {found['counts']}",
            flush=True,
        )


def shards(folder, count, cache):
    place, tenth = folder / "shards", folder.parent / str(count // 10) / "shards"
    if not place.exists() and tenth.exists():
        folder.mkdir(exist_ok=True)
        child("multiplying", tenth, place, 10, cache=cache)
    elif not place.exists():
        found = child("writing", folder / "table.parquet", place, cache=cache)
        print(f"{count} pictures to shards: {told(found)}", flush=True)
    found = child("first", place, cache=cache)
    print(
        f"{count} pictures in shards: listed after {found['listing']:.2f} s, first batch after {told(found)}; "
        f"digest {found['digest'][:12]}; {BATCHES} more: {told(found['later'])}",
        flush=True,
    )


def training(folder, count, cache):
    for name in ("shards", "table.parquet"):
        with tempfile.TemporaryDirectory(dir=folder) as runs:
            found = child("training", folder / name, runs, cache=cache)
        print(
            f"{count} pictures of {name}, an epoch and what it was worth: {told(found)}, "
            f"{found['training']:.0f} s of them in the stage",
            flush=True,
        )


PARTS = {"table": table, "shards": shards, "training": training}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--keep", action="store_true", help="leave the pictures there, and take those that are")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        what, *arguments = asked.child
        print(json.dumps(CHILDREN[what](*arguments)))
        return
    place = asked.folder / "keras-transfer-scale"
    try:
        for count in (asked.pictures // 10, asked.pictures):
            folder = place / str(count)
            if not folder.exists() and (asked.only != "shards" or count != asked.pictures):
                began = time.perf_counter()
                make(folder, count)
                print(f"{count} pictures made in {time.perf_counter() - began:.0f} s", flush=True)
            for part in asked.only.split(","):
                PARTS[part](folder, count, place / f"cache-{count}")
    finally:
        if not asked.keep:
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
