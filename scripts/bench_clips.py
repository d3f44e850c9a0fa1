"""What happens in a clip: each stage of the recipe, frozen frames stored and streamed, beside plain Keras `fit`.

    scripts/bench clips [SOURCE] [--topdown FOLDER] [--frames N] [--image-size 96] [--seed 0]
                        [--only moves,head,top,streamed,fit,reading,stream]

SOURCE is anything that brings clips; `sample:fashion-clips` where none is named. `--topdown`: a folder with
`clips.csv` (clip, recording, label, frames) and `clips/`, of which a table is made whose groups are recordings, so that
no recording stands in two splits; who falls and who lies is one class. The seed draws the split.

`moves`, `head`, `top`: validation and test after the recipe up to that stage, and what an epoch of each stage took;
features that an earlier part stored are found again. `streamed`: an epoch of stage `moves` with nothing stored, every
frame through the backbone, and how many times the stored one it takes, the quickest of two each. `fit`: one epoch of
the same head on the same frozen backbone by Keras `fit`. `reading`: eight frames of an mp4, avi, webm and gif that lie
so far apart, sought, with the others passed by, and as they are read, in milliseconds of processor time; it needs no
SOURCE. `stream`: what one more frame of a camera costs by a pair of files, which knows the frames before it, and by the
file that takes whole clips, in milliseconds of processor time on one thread, each in turn, medians; it needs no SOURCE
and learns nothing.
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
from dense_peers import BACKBONE

BATCH, BLOCKS = 32, 5
STAGES = ("moves", "head", "top")
FALLEN = {"falling": "fall", "lying": "fall"}
APART = (8, 15, 30, 60, 120)
"""Frames from one that is read to the next."""
RATE = 25
"""Frames per second of the videos that `reading` makes."""
CONTAINERS = {"mp4": "mp4v", "avi": "MJPG", "webm": "VP80", "gif": "gif"}
"""How the videos that are read are encoded, by their ending."""
SEEKING = {"sought": 0, "passed by": 10**9}
"""Ways to get there, by what `clips.seek_from` says."""

CLASSES, ROUNDS, WARM_UP = 8, 100, 10


def of_topdown(folder, into, seed):
    """A table of clips beside a link to them: three fifths of the recordings are learned from."""
    (into / "clips").symlink_to((folder / "clips").absolute())
    with (folder / "clips.csv").open(newline="") as opened:
        rows = [
            (f"clips/{row['clip']}", row["recording"], FALLEN.get(row["label"], row["label"]))
            for row in csv.DictReader(opened)
        ]
    recordings = np.random.default_rng(seed).permutation(sorted({group for _, group, _ in rows}))
    parts = np.split(recordings, [3 * len(recordings) // 5, 4 * len(recordings) // 5])
    of = {group: split for split, part in zip(("train", "validation", "test"), parts, strict=True) for group in part}
    with (into / "topdown.csv").open("w", newline="") as opened:
        table = csv.writer(opened)
        table.writerow(("path", "group", "label", "split"))
        table.writerows((*row, of[row[1]]) for row in rows)
    return str(into / "topdown.csv")


def plan_of(source, options, until, epochs=None):
    """The recipe up to a stage."""
    from keras_transfer.specs import Plan
    from keras_transfer.training import recipes

    return Plan(
        data=source,
        task="clips",
        backbone=BACKBONE,
        stages=recipes.stages("clips", BLOCKS, epochs=epochs)[: STAGES.index(until) + 1],
        batch_size=BATCH,
        seed=options.seed,
        image_size=options.image_size,
        frames=options.frames,
    )


def trained(source, options, until, *, epochs=None, engine="auto"):
    """Train the recipe up to a stage and print what came of it; the seconds of an epoch of its first stage."""
    import keras_transfer as kt

    def told(event):
        if event.kind in ("note", "warning") and event.message.split(":")[0] in STAGES:
            print(f"  {event.message}", flush=True)

    plan = plan_of(source, options, until, epochs)
    with tempfile.TemporaryDirectory() as place:
        record = kt.train(plan, folder=place, engine=engine, cache_folder=options.cache, listener=told).record
    for stage in record.stages:
        print(f"  {stage.name}: {stage.epochs} epochs of {_pace(stage):.2f} s by {stage.engine}", flush=True)
    print(
        f"{until:<10}validation {record.validation_merit:.3f}, test {record.test['accuracy']:.3f}, "
        f"{record.seconds:.0f} s",
        flush=True,
    )
    return _pace(record.stages[0])


def _pace(stage):
    """Seconds of an epoch, the quickest: on a machine that others use too, all others are theirs."""
    return min(row["seconds"] for row in stage.history)


def streamed(source, options):
    """How many times an epoch takes longer where every frame goes through the backbone."""
    stored, streaming = (trained(source, options, "moves", epochs=2, engine=engine) for engine in ("auto", "stream"))
    print(f"streamed  {streaming:.1f} s an epoch, stored {stored:.2f} s: {streaming / stored:.0f} x", flush=True)


def by_fit(source, options):
    """An epoch of the head by `fit`, on the package's own batches."""
    import keras

    from keras_transfer.backbones import registry
    from keras_transfer.data import pipeline, sources
    from keras_transfer.specs import silent
    from keras_transfer.workflow.building import network_of, with_frames

    plan = plan_of(source, options, "moves")
    splits = with_frames(sources.load(source, annotation="clip", seed=options.seed), options.frames)
    network, _ = network_of(plan, registry.backbone(BACKBONE), splits, "imagenet", silent)
    for block in network.blocks:
        for layer in block.layers:
            layer.trainable = False
    network.model.compile(keras.optimizers.AdamW(3e-3, weight_decay=1e-4), "categorical_crossentropy")
    batches = pipeline.make_feed(splits, seed=options.seed)(
        "train", image_size=options.image_size, batch_size=BATCH, augment="light_no_flip", shuffle=True
    )
    began = time.perf_counter()
    network.model.fit(batches, epochs=1, verbose=0)
    print(f"fit       {time.perf_counter() - began:.1f} s for the first epoch, frames streamed", flush=True)


def reading(source, options):
    """Milliseconds of processor time to read eight frames of a video of each kind, sought, passed by and as we do."""
    from keras_transfer.data import clips

    with tempfile.TemporaryDirectory() as place:
        for name, codec in CONTAINERS.items():
            path = _written(f"{place}/noise.{name}", codec, 8 * max(APART))
            if path is None:
                print(f"reading   {name}: this OpenCV does not write it", flush=True)
                continue
            for apart in APART:
                part = clips.Clip(path, 0, 8 * apart / RATE).address
                ways = SEEKING | {"as it is": clips.seek_from(path)}
                took = {way: min(_reading(clips, part, limit) for _ in range(3)) for way, limit in ways.items()}
                told = ", ".join(f"{way} {1e3 * seconds:.1f} ms" for way, seconds in took.items())
                print(f"reading   {name}, {apart} frames apart: {told}", flush=True)


def _written(path, codec, frames):
    """A video of a pattern that moves, and its path; None where this OpenCV cannot write its kind."""
    import cv2
    from PIL import Image

    ground = cv2.resize(np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8), (640, 240))
    shown = [np.ascontiguousarray(ground[:, left % 320 : left % 320 + 320]) for left in range(frames)]
    if codec == "gif":
        first, *others = (Image.fromarray(each[:, :, 0]) for each in shown)  # grey: a palette for each takes minutes
        first.save(path, save_all=True, append_images=others, duration=1000 // RATE)
        return path
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*codec), RATE, (320, 240))
    for each in shown if writer.isOpened() else ():
        writer.write(each)
    writer.release()
    return path if Path(path).exists() else None


def _reading(clips, part, limit):
    """Seconds of all cores together to read eight frames of a part, which others on the machine do not lengthen."""
    kept, clips.seek_from = clips.seek_from, lambda path: limit
    began = time.process_time()
    clips.frames_of(part, 8, 96, "stretch")
    clips.seek_from = kept
    return time.process_time() - began


def stream(source, options):
    """Milliseconds of processor time for a new frame: by itself and judged with those before it, or as a whole clip."""
    from keras_transfer.export import runtime

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        files = _files(Path(place), options)
        for kind in ("tflite", "onnx"):
            whole, pair = (runtime.load(files[name], threads=1) for name in (kind, f"{kind}-stream"))
            clip = rng.integers(0, 256, (1, *whole.artifact.contract.shape), np.uint8)
            known = pair.halves[0].predict(clip[0])["features"][None]
            calls = {
                "frame": lambda pair=pair, clip=clip: pair.halves[0].predict(clip[0, :1]),
                "window": lambda pair=pair, known=known: pair.halves[1].predict(known),
                "clip": lambda whole=whole, clip=clip: whole.predict(clip),
            }
            took = {name: 1e3 * seconds for name, seconds in _in_turn(calls).items()}
            new = took["frame"] + took["window"]
            print(
                f"stream    {kind}: {new:.2f} ms a new frame (by itself {took['frame']:.2f}, the window "
                f"{took['window']:.2f}), {took['clip']:.2f} ms a whole clip: {took['clip'] / new:.1f} x",
                flush=True,
            )


def _files(place, options):
    """Paths of what is timed, by name: untrained, for weights cost the same whatever they are."""
    from keras_transfer.backbones import blocks, features, registry
    from keras_transfer.export import exporters
    from keras_transfer.specs import Contract
    from keras_transfer.tasks import clips

    spec = registry.backbone(BACKBONE)
    built = features.build(spec, image_size=options.image_size, weights="none", frames=options.frames)
    names = ("tflite", "tflite-stream", "onnx", "onnx-stream")
    classes = tuple(f"class {number}" for number in range(CLASSES))
    model = clips.attach(built.model, blocks.cut(built.model, spec), classes=CLASSES).model
    contract = Contract(class_names=classes, image_size=options.image_size, frames=options.frames, task="clips")
    artifacts = exporters.export(model, place, names, contract, halve=clips.halved)
    return {name: artifact.path for name, artifact in zip(names, artifacts, strict=True)}


def _in_turn(calls):
    """Median seconds of processor time of each call, one after another in every round."""
    took = {name: [] for name in calls}
    for number in range(ROUNDS + WARM_UP):
        for name, call in calls.items():
            began = time.process_time()
            call()
            if number >= WARM_UP:
                took[name].append(time.process_time() - began)
    return {name: float(np.median(each)) for name, each in took.items()}


PARTS = {
    **{name: lambda source, options, name=name: trained(source, options, name) for name in STAGES},
    "streamed": streamed,
    "fit": by_fit,
    "reading": reading,
    "stream": stream,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="sample:fashion-clips")
    parser.add_argument("--topdown", type=Path)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        options.cache = Path(place) / "cache"
        source = of_topdown(options.topdown, Path(place), options.seed) if options.topdown else options.source
        shown = options.topdown or source
        print(f"{shown}: {options.frames} frames at {options.image_size} px, seed {options.seed}", flush=True)
        for name in options.only.split(","):
            PARTS[name](source, options)


if __name__ == "__main__":
    main()
