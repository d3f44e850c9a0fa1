"""Who it is, of identities never seen in training: ours, frozen features, and PyTorch.

    scripts/bench embedding faces FOLDER [--halves 0,1,2,3,4]
    scripts/bench embedding classes FOLDER [--seeds 0]
    scripts/bench embedding files FOLDER [--halves 0]
    scripts/bench embedding gallery [--identities 100000]

`faces`: FOLDER holds a folder of pictures for each person, at any depth. Half of the people, drawn by the number of the
half, are learned from, two of them for validation, by which nothing is chosen but the threshold; the others are judged
by, once. `classes`: FOLDER holds `train` and `test` with class folders; the first five classes are learned from and the
test pictures of the others are judged by. `files`: what the exported files of `faces` say of the same people. Everyone
starts from the same ImageNet weights of EfficientNet-Lite0. Frozen: the last block's mean over its places, as it comes.
The time of ours is that of the whole run; PyTorch's begins when its pictures are in memory. `gallery`: what a picture
costs beyond the network where so many are known.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from torch_environment import torch_python

BACKBONE, BATCH, EPOCHS, WIDTH = "EfficientNetLite0", 32, 10, 128
VALIDATED = 2
"""People that validation shows, the least there can be: a solved head stops early at nothing."""
SUFFIXES = (".png", ".jpg", ".pgm")

FACES = {
    "image_size": 128,
    "head": "grid",
    "dropout": 0.0,
    "stages": [{"name": "head", "solved": True, "epochs": 1, "augment": "light", "views": 16}],
}
"""Chosen by leaving people out of the twenty that half 0 learns from; those of its test were looked at once."""

CLASSES = {"image_size": 96, "recipe": "solved", "dropout": 0.0}
"""Chosen by validation, whose two classes nothing learns from: of three classes whatever learned by gradients, a head
or all of the network, ended below the frozen features there."""


def people_of(folder):
    """The folders that hold pictures, by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            found.setdefault(path.parent.name, []).append(path)
    return found


def linked(parts, into):
    """A folder for each split and identity, of links to pictures."""
    for split, people in parts.items():
        for name, paths in people.items():
            (into / split / name).mkdir(parents=True)
            for number, path in enumerate(paths):
                (into / split / name / f"{number}{path.suffix}").symlink_to(path.absolute())
    return into


def half_of(people, half):
    names = sorted(people)
    random.Random(half).shuffle(names)
    learned, others = names[: len(names) // 2], names[len(names) // 2 :]
    kept = len(learned) - VALIDATED
    parts = {"train": learned[:kept], "validation": learned[kept:], "test": others}
    return {split: {name: people[name] for name in some} for split, some in parts.items()}


def classes_of(folder, seed):
    """Five classes to learn from, two of them for validation, and five to be judged by."""
    names = sorted(each.name for each in (folder / "train").iterdir() if each.is_dir())
    random.Random(seed).shuffle(names)
    train = {name: sorted((folder / "train" / name).iterdir()) for name in names}
    test = {name: sorted((folder / "test" / name).iterdir()) for name in names}
    kept = {"train": names[:3], "validation": names[3:5]}
    parts = {split: {name: train[name] for name in some} for split, some in kept.items()}
    return parts | {"test": {name: test[name] for name in names[5:]}}


def ours(folder, plan, seed):
    """Train in a process of its own; test figures and seconds."""
    code = (
        "import json, sys, keras_transfer as kt\n"
        "record = kt.train(kt.Plan(**json.loads(sys.argv[1])), folder=sys.argv[2]).record\n"
        "print(json.dumps({**record.test, 'validation': record.validation_merit, 'seconds': record.seconds}))"
    )
    with tempfile.TemporaryDirectory() as place:
        given = {"data": str(folder), "task": "embedding", "backbone": BACKBONE, "seed": seed, **plan}
        environment = os.environ | {"KERAS_TRANSFER_CACHE": f"{place}/cache"}
        command = [sys.executable, "-c", code, json.dumps(given), place]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def arrays(folder, size):
    """Pictures and positions of training and test."""
    found = {}
    for split in ("train", "test"):
        paths = sorted((folder / split).glob("*/*"))
        names = sorted({path.parent.name for path in paths})
        opened = [Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR) for path in paths]
        found[f"{split}_pictures"] = np.stack([np.asarray(each) for each in opened])
        found[f"{split}_labels"] = np.array([names.index(path.parent.name) for path in paths])
    return found


def worth(points, labels):
    """Recall@1 and TAR at FAR 1 % by the package's own measure."""
    from keras_transfer.evaluation import embedding
    from keras_transfer.specs import Contract, Output

    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    contract = Contract(class_names=(), image_size=96, outputs=(Output(name="embedding", shape=(points.shape[1],)),))
    return embedding.score({"embedding": unit}, labels, contract)


def frozen(data):
    import keras

    from keras_transfer.backbones import features, registry

    built = features.build(registry.backbone(BACKBONE), image_size=data["test_pictures"].shape[1]).model
    pooled = keras.Model(built.input, keras.layers.GlobalAveragePooling2D()(built.output))
    return worth(pooled.predict(data["test_pictures"], verbose=0), data["test_labels"])


def torch_peer(path, seed):
    """Everything learns with the normalized softmax that `proxy` is: AdamW 1e-3, one cycle, mirrored pictures."""
    import torch
    from bench_training import torch_model

    torch.manual_seed(seed)
    with np.load(path) as file:
        data = dict(file)
    pictures = {n: torch.from_numpy(data[f"{n}_pictures"]).permute(0, 3, 1, 2) for n in ("train", "test")}
    labels = torch.from_numpy(data["train_labels"])
    model, norm = torch_model(WIDTH), torch.nn.BatchNorm1d(WIDTH)
    proxies = torch.nn.Parameter(torch.randn(int(labels.max()) + 1, WIDTH) * WIDTH**-0.5)
    weights = [*model.parameters(), *norm.parameters(), proxies]
    steps = -(-len(labels) // BATCH)
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps * EPOCHS)
    normal = torch.nn.functional.normalize

    def point(rows, split):
        batch = ((pictures[split][rows].float() - 127) / 128).contiguous(memory_format=torch.channels_last)
        return batch.flip(3) if model.training and torch.rand(()) < 0.5 else batch

    curve, spent = [], 0.0
    for _ in range(EPOCHS):
        began = time.perf_counter()
        model.train(), norm.train()
        for rows in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            cosines = normal(norm(model(point(rows, "train")))) @ normal(proxies).T
            torch.nn.functional.cross_entropy(16 * cosines, labels[rows]).backward()
            optimizer.step()
            schedule.step()
        spent += time.perf_counter() - began
        model.eval(), norm.eval()
        with torch.no_grad():
            every = torch.arange(len(pictures["test"])).split(128)
            points = torch.cat([normal(norm(model(point(rows, "test")))) for rows in every])
            near = points @ points.T - 3 * torch.eye(len(points))
            same = data["test_labels"][near.argmax(1).numpy()] == data["test_labels"]
        curve.append([spent, float(same.mean())])
    return curve


def compare_faces(folder, options):
    people, rows = people_of(folder), []
    for half in map(int, options.halves.split(",")):
        with tempfile.TemporaryDirectory() as place:
            data = linked(half_of(people, half), Path(place))
            run, before = ours(data, FACES, half), frozen(arrays(data, FACES["image_size"]))
        rows.append((run["TAR_at_FAR_1%"], run["Recall@1"], before.tar_at_1, before.recall_at_1))
        print(
            f"half {half}: TAR at FAR 1 % {rows[-1][0]:.3f} (frozen {rows[-1][2]:.3f}), "
            f"Recall@1 {rows[-1][1]:.3f} (frozen {rows[-1][3]:.3f}), in {run['seconds']:.0f} s",
            flush=True,
        )
    mean = np.mean(rows, axis=0)
    print(f"mean: TAR at FAR 1 % {mean[0]:.3f} (frozen {mean[2]:.3f}), Recall@1 {mean[1]:.3f} (frozen {mean[3]:.3f})")


def compare_files(folder, options):
    import keras_transfer as kt

    people = people_of(folder)
    for half in map(int, options.halves.split(",")):
        with tempfile.TemporaryDirectory() as place:
            data = linked(half_of(people, half), Path(place) / "data")
            plan = {"data": str(data), "task": "embedding", "backbone": BACKBONE, "seed": half, **FACES}
            run = kt.train(kt.Plan(**plan, exports=("tflite", "tflite-int8")), folder=place)
            print(f"half {half}, Keras: {said(kt.evaluate(run.folder))}", flush=True)
            for made in kt.export(run):
                file = made.artifact.path
                size = f"{file.stat().st_size / 1e6:.1f} MB"
                print(f"half {half}, {file.name}, {size}: {said(kt.evaluate(file))}", flush=True)


def said(scored):
    return f"TAR at FAR 1 % {scored.tar_at_1:.3f}, Recall@1 {scored.recall_at_1:.3f}"


def compare_classes(folder, options):
    for seed in map(int, options.seeds.split(",")):
        with tempfile.TemporaryDirectory() as place:
            data = linked(classes_of(folder, seed), Path(place) / "data")
            seen, path = arrays(data, CLASSES["image_size"]), Path(place) / "arrays.npz"
            np.savez(path, **seen)
            run, before = ours(data, CLASSES, seed), frozen(seen)
            command = [torch_python(), __file__, "torch", str(path), "--seeds", str(seed)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr[-3000:])
        curve = json.loads(done.stdout.strip().splitlines()[-1])
        print(
            f"seed {seed}: Recall@1 {run['Recall@1']:.3f} in {run['seconds']:.0f} s (by chance "
            f"{run['Recall@1_by_chance']:.3f}), frozen {before.recall_at_1:.3f}, "
            f"PyTorch {curve[-1][1]:.3f} in {curve[-1][0]:.0f} s",
            flush=True,
        )


def time_gallery(identities, width):
    from keras_transfer.workflow.galleries import Gallery, recognized

    rng = np.random.default_rng(0)
    points = rng.standard_normal((identities, width)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    known = Gallery(tuple(f"person-{n}" for n in range(identities)), points, digest="", threshold=0.5)
    waited, worked = [], []
    for row in range(100):
        began, busy = time.perf_counter(), time.process_time()
        recognized(known, points[row : row + 1])
        waited.append(1000 * (time.perf_counter() - began))
        worked.append(1000 * (time.process_time() - busy))
    print(
        f"{identities:,} identities of {width}: {np.median(waited):.1f} ms a picture, 95 % in "
        f"{np.percentile(waited, 95):.1f} ms; "
        f"of the processor {np.median(worked):.1f} ms, 95 % in {np.percentile(worked, 95):.1f} ms"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("faces", "classes", "files", "gallery", "torch"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--halves", default="0,1,2,3,4")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--identities", type=int, default=100_000)
    options = parser.parse_args()
    if options.what == "torch":
        print(json.dumps(torch_peer(options.folder, int(options.seeds))))
    elif options.what == "gallery":
        for width in (WIDTH, 512):
            time_gallery(options.identities, width)
    else:
        {"faces": compare_faces, "classes": compare_classes, "files": compare_files}[options.what](
            options.folder, options
        )


if __name__ == "__main__":
    main()
