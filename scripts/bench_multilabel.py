"""Several labels a picture: ours, a linear probe on frozen features, and PyTorch full fine-tuning with the same loss.

    scripts/bench multilabel [SOURCE ...] [--bccd FOLDER] [--stamps STAMPS PHOTOGRAPHS]
                             [--recipes head,head_then_top,full] [--seeds 0,1,2] [--image-size 128]

SOURCE is anything that brings several labels a picture; `sample:fashion-tags` where nothing is named. `--bccd`: a
folder with VOC annotations (`Annotations/`, `JPEGImages/`, `ImageSets/Main/`), of which a table is made: which kinds of
thing are in a picture. `--stamps`: a folder of folders of PNG pictures with transparent ground (Debian's package
`tuxpaint-stamps-default`: `/usr/share/tuxpaint/stamps`) and one of photographs, of which pictures are composed: one to
three stamps on a photograph, labelled with the folders they are from; no stamp and no photograph is in two splits.
Everyone starts from the same ImageNet weights of EfficientNet-Lite0 and is judged by mAP on the test
pictures, prevalence beside it. The time of ours is that of the whole run, validation included; PyTorch's begins when
its pictures are in memory, and looking at the test pictures is not in it. `to ours`: when PyTorch first was as good.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
from torch_environment import torch_python

BACKBONE, BATCH, EPOCHS = "EfficientNetLite0", 32, 10
STAMPED = {"train": 600, "validation": 150, "test": 300}
STAMPED_SIDE, LEAST_STAMPS = 224, 25
VOC_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def of_voc(folder, into):
    """A table of which kinds of thing are in each picture, beside links to the pictures."""
    (into / "pictures").symlink_to((folder / "JPEGImages").absolute())
    with (into / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "labels", "split"])
        for listed, split in VOC_SPLITS.items():
            for name in (folder / "ImageSets" / "Main" / f"{listed}.txt").read_text().split():
                found = ElementTree.parse(folder / "Annotations" / f"{name}.xml").iter("name")
                labels = sorted({each.text for each in found})
                table.writerow([f"pictures/{name}.jpg", "|".join(labels), split])
    return str(into / "table.csv")


def of_stamps(stamps, photographs, into):
    """A table of photographs with stamps on them, and the pictures themselves, drawn by seed."""
    rng = np.random.default_rng(0)
    kinds = {folder.name: sorted(folder.rglob("*.png")) for folder in sorted(Path(stamps).iterdir())}
    parts = {name: _parts(rng.permutation(files)) for name, files in kinds.items() if len(files) >= LEAST_STAMPS}
    grounds = _parts(rng.permutation(sorted(Path(photographs).glob("*.[jJ]*"))))
    with (into / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "labels", "split"])
        for part, (split, count) in enumerate(STAMPED.items()):
            for number in range(count):
                names = rng.choice(sorted(parts), size=rng.integers(1, 4), replace=False)
                picture = _stamped(rng, rng.choice(grounds[part]), [rng.choice(parts[name][part]) for name in names])
                picture.save(into / f"{split}-{number}.jpg", quality=90)
                table.writerow([f"{split}-{number}.jpg", "|".join(sorted(names)), split])
    return str(into / "table.csv")


def _parts(files):
    """Three fifths for training, a fifth each for validation and test."""
    return np.split(files, [3 * len(files) // 5, 4 * len(files) // 5])


def _stamped(rng, ground, stamps):
    """A photograph, cut to a square, with each stamp in a quarter of its own or near it."""
    from PIL import Image, ImageOps

    picture = ImageOps.fit(Image.open(ground).convert("RGB"), (STAMPED_SIDE, STAMPED_SIDE))
    for stamp, quarter in zip(stamps, rng.permutation(4), strict=False):
        with Image.open(stamp) as opened:
            thing = ImageOps.contain(opened.convert("RGBA"), (int(rng.integers(70, 111)),) * 2)
        half = STAMPED_SIDE // 2
        corner = [
            int(half * at + rng.integers(0, max(half - side, 0) + 1))
            for at, side in zip(divmod(quarter, 2), thing.size, strict=True)
        ]
        picture.paste(thing, tuple(corner), thing)
    return picture


def mean_average_precision(scores, labels):
    """Over the labels that some pictures have and some have not, as `evaluation.multilabel` has it."""
    from sklearn.metrics import average_precision_score

    judged = [i for i in range(labels.shape[1]) if 0 < labels[:, i].sum() < len(labels)]
    return float(np.mean([average_precision_score(labels[:, i], scores[:, i]) for i in judged]))


def ours(source, recipe, seed, size):
    """Train in a process of its own; test figures, seconds and the side in pixels."""
    code = (
        "import json, sys, keras_transfer as kt\n"
        "plan = kt.Plan(**json.loads(sys.argv[1]))\n"
        "record = kt.train(plan, folder=sys.argv[2]).record\n"
        "print(json.dumps({**record.test, 'seconds': record.seconds, 'size': record.image_size}))"
    )
    with tempfile.TemporaryDirectory() as place:
        plan = {"data": source, "task": "multilabel", "backbone": BACKBONE, "recipe": recipe, "seed": seed}
        command = [sys.executable, "-c", code, json.dumps(plan | ({"image_size": size} if size else {})), place]
        environment = os.environ | {"KERAS_TRANSFER_CACHE": f"{place}/cache"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def arrays(source, size, path):
    """Pictures and labels of training and test as one file that every peer reads."""
    from keras_transfer.data import pipeline, sources

    splits = sources.load(source, annotation="classes")
    feed = pipeline.make_feed(splits)
    found = {}
    for split in ("train", "validation", "test"):
        batches = list(feed(split, image_size=size, batch_size=BATCH))
        found[f"{split}_pictures"] = np.concatenate([np.asarray(images) for images, *_ in batches])
        found[f"{split}_labels"] = np.concatenate([np.asarray(targets) for _, targets, _ in batches])
    np.savez(path, **found)


def probe(path):
    """Logistic regression for each label on frozen pooled features; its penalty is chosen on validation."""
    import keras
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from keras_transfer.backbones import features, registry

    began = time.perf_counter()
    with np.load(path) as file:
        data = dict(file)
    built = features.build(registry.backbone(BACKBONE), image_size=data["train_pictures"].shape[1]).model
    pooled = keras.Model(built.input, keras.layers.GlobalAveragePooling2D()(built.output))
    seen = {name: pooled.predict(data[f"{name}_pictures"], verbose=0) for name in ("train", "validation", "test")}
    best = None
    for strength in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        one = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))
        fitted = OneVsRestClassifier(one).fit(seen["train"], data["train_labels"] > 0.5)
        worth = mean_average_precision(fitted.predict_proba(seen["validation"]), data["validation_labels"] > 0.5)
        best = max(best or (worth, fitted), (worth, fitted), key=lambda pair: pair[0])
    scores = best[1].predict_proba(seen["test"])
    found = mean_average_precision(scores, data["test_labels"] > 0.5)
    return {"mAP": found, "seconds": time.perf_counter() - began}


def torch_peer(path, seed):
    """Full fine-tuning with binary cross-entropy: AdamW 1e-3, one cycle, mirrored pictures; mAP after each epoch."""
    import torch
    from bench_training import torch_model

    torch.manual_seed(seed)
    with np.load(path) as file:
        data = dict(file)
    pictures = {n: torch.from_numpy(data[f"{n}_pictures"]).permute(0, 3, 1, 2) for n in ("train", "test")}
    labels = torch.from_numpy(data["train_labels"])
    model = torch_model(labels.shape[1])
    steps = -(-len(labels) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps * EPOCHS)
    loss_of, curve, spent = torch.nn.BCEWithLogitsLoss(), [], 0.0

    def scaled(rows, split):
        return ((pictures[split][rows].float() - 127) / 128).contiguous(memory_format=torch.channels_last)

    for _ in range(EPOCHS):
        began = time.perf_counter()
        model.train()
        for rows in torch.randperm(len(labels)).split(BATCH):
            batch = scaled(rows, "train")
            batch = batch.flip(3) if torch.rand(()) < 0.5 else batch
            optimizer.zero_grad(set_to_none=True)
            loss_of(model(batch), labels[rows]).backward()
            optimizer.step()
            schedule.step()
        spent += time.perf_counter() - began
        model.eval()
        with torch.no_grad():
            rows = torch.arange(len(pictures["test"]))
            scores = torch.cat([model(scaled(part, "test")) for part in rows.split(128)]).numpy()
        curve.append([spent, scores.tolist()])
    return {"curve": curve}


def torched(path, seed):
    done = subprocess.run(
        [torch_python(), __file__, "--torch", str(path), str(seed)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    with np.load(path) as file:
        labels = file["test_labels"] > 0.5
    curve = json.loads(done.stdout.strip().splitlines()[-1])["curve"]
    return [(seconds, mean_average_precision(np.array(scores), labels)) for seconds, scores in curve]


def compare(source, options):
    print(f"\n{source}")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "arrays.npz"
        for seed in map(int, options.seeds.split(",")):
            runs = {name: ours(source, name, seed, options.image_size) for name in options.recipes.split(",")}
            size = next(iter(runs.values()))["size"]
            if not path.exists():
                arrays(source, size, path)
                found = probe(path)
                print(
                    f"  {size} px; linear probe on frozen features: mAP {found['mAP']:.3f} in {found['seconds']:.0f} s"
                )
            curve = torched(path, seed)
            print(
                f"  seed {seed}, PyTorch, everything, {EPOCHS} epochs: mAP {curve[-1][1]:.3f} in {curve[-1][0]:.0f} s"
            )
            for name, run in runs.items():
                reached = next((seconds for seconds, worth in curve if worth >= run["mAP"]), None)
                beside = f"{run['seconds'] / reached:.2f} x its time to ours" if reached else "which it never reached"
                chance = f"prevalence {run['mAP_by_chance']:.3f}"
                print(
                    f"  seed {seed}, ours, {name}: mAP {run['mAP']:.3f} ({chance}) in {run['seconds']:.0f} s, {beside}"
                )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*")
    parser.add_argument("--bccd", type=Path)
    parser.add_argument("--stamps", type=Path, nargs=2, metavar=("STAMPS", "PHOTOGRAPHS"))
    parser.add_argument("--recipes", default="head,head_then_top,full")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--torch", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch:
        print(json.dumps(torch_peer(options.torch[0], int(options.torch[1]))))
        return
    for source in options.sources or ([] if options.bccd or options.stamps else ["sample:fashion-tags"]):
        compare(source, options)
    for folders, table_of in (([options.bccd], of_voc), (options.stamps or [None], of_stamps)):
        if folders[0]:
            with tempfile.TemporaryDirectory() as place:
                compare(table_of(*folders, Path(place)), options)


if __name__ == "__main__":
    main()
