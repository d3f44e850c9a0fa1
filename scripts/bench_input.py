"""How fast pictures arrive, beside Keras' directory loader and a PyTorch DataLoader with Pillow, in the same run.

    scripts/bench input FOLDER [--rounds 3] [--only small,longer,large,augment,memory,first,accuracy]

FOLDER holds photographs (any depth). The peers run in their own processes, PyTorch in its own environment (made once
in the cache folder; CPU wheel). Figures are medians of the rounds, in which the rivals take turns.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from torch_environment import torch_python

SIZE, BATCH, WORKERS = 224, 32, 2
SUFFIXES = {".jpg", ".jpeg", ".png"}
LARGE = (4000, 3000)
LARGE_COUNT = 40
DECODED_AT_A_HALF_A_QUARTER_AN_EIGHTH = ((1000, 750), (1500, 1125), (2400, 1800))


def timed(batches, pictures):
    cpu, began = os.times(), time.perf_counter()
    for _ in batches:
        pass
    seconds, spent = time.perf_counter() - began, os.times()
    cpu_seconds = sum(spent[:4]) - sum(cpu[:4])
    return {"pictures_per_second": pictures / seconds, "cpu_ms": 1000 * cpu_seconds / pictures}


def count(folder):
    return sum(len(files) for _, _, files in os.walk(folder))


def peer_keras(folder):
    import keras

    data = keras.utils.image_dataset_from_directory(
        folder, image_size=(SIZE, SIZE), batch_size=BATCH, shuffle=True, seed=0, verbose=0
    )
    return timed(data, count(folder))


def peer_pillow(folder, draft=False):
    import numpy
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    class Pictures(Dataset):
        def __init__(self):
            self.paths = sorted(str(path) for path in Path(folder).glob("*/*"))

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, position):
            with Image.open(self.paths[position]) as picture:
                if draft:
                    picture.draft("RGB", (SIZE, SIZE))
                pixels = picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            return torch.from_numpy(numpy.asarray(pixels).copy()), position % 2

    loader = DataLoader(Pictures(), batch_size=BATCH, shuffle=True, num_workers=WORKERS)
    return timed(loader, count(folder))


def peer_draft(folder):
    return peer_pillow(folder, draft=True)


def feed_of(folder, **options):
    from keras_transfer.data.gathering import Listing, gather
    from keras_transfer.data.pipeline import make_feed

    paths = sorted(Path(folder).glob("*/*"))
    listings = [Listing(str(path), str(path), path.parent.name, "train") for path in paths]
    # Links to the same picture are no test pictures here: all of them are to be read.
    from keras_transfer.data import gathering

    gathering.split_by_content = lambda contents, labels, **_: ["train"] * len(contents)
    return make_feed(gather(str(folder), listings), **options)


def peer_ours(folder):
    feed = feed_of(folder, cache_bytes=0)
    return timed(feed("train", image_size=SIZE, batch_size=BATCH, shuffle=True), count(folder))


def peer_ours_later(folder):
    feed = feed_of(folder)
    for _ in feed("train", image_size=SIZE, batch_size=BATCH, shuffle=True):
        pass
    return timed(feed("train", image_size=SIZE, batch_size=BATCH, epoch=1, shuffle=True), count(folder))


def peer_decoder(folder):
    """What bounds us: libjpeg-turbo alone on all cores, from memory, nothing resized or kept."""
    from concurrent.futures import ThreadPoolExecutor

    import simplejpeg

    contents = [path.read_bytes() for path in Path(folder).glob("*/*")]
    with ThreadPoolExecutor(WORKERS) as threads:
        return timed(threads.map(simplejpeg.decode_jpeg, contents), len(contents))


def peer_augment(_):
    from keras_transfer.data.pipeline import make_feed
    from keras_transfer.data.sources import load

    feed = make_feed(load("sample:fashion"))

    def epoch(number, policy):
        return feed("train", image_size=96, batch_size=BATCH, augment=policy, epoch=number, shuffle=True)

    rates = {}
    for policy in ("none", "light", "standard", "strong"):
        for _ in epoch(0, policy):
            pass
        rates[policy] = timed((batch for number in range(1, 4) for batch in epoch(number, policy)), 3000)
    return rates


def peer_randaugment(_):
    import keras_cv
    import numpy as np

    layer = keras_cv.layers.RandAugment(value_range=(0, 255))
    images = np.random.default_rng(0).integers(0, 256, (BATCH, 96, 96, 3)).astype("float32")
    layer(images)
    return timed((layer(images) for _ in range(8)), 8 * BATCH)


def peer_memory(folder):
    feed = feed_of(folder, cache_bytes=0)
    for _ in feed("train", image_size=96, batch_size=BATCH, shuffle=True):
        pass
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "pictures": count(folder)}


def peer_first(folder):
    import tensorflow  # noqa: F401  (its import is not what is measured)

    from keras_transfer.data.pipeline import make_feed
    from keras_transfer.data.sources import load

    result = {"pictures": count(folder)}
    for name in ("first_start_s", "second_start_s"):
        began = time.perf_counter()
        splits = load(str(folder))
        loaded = time.perf_counter()
        next(iter(make_feed(splits)("train", image_size=SIZE, batch_size=BATCH, shuffle=True)))
        result |= {name: time.perf_counter() - began, f"{name.removesuffix('_start_s')}_listing_s": loaded - began}
    return result


def peer_accuracy(folder):
    """ImageNet top-1 of EfficientNet-Lite0 on the same JPEG files, decoded small and decoded in full.

    What is decoded in full is averaged in blocks of 2, 4 or 8 pixels (which is what decoding small leaves out) and
    then goes through the very same filter. `triangle`: without that average, by the antialiased filter alone.
    """
    import numpy as np
    from PIL import Image

    from keras_transfer.backbones import features, registry, weights
    from keras_transfer.data.decoding import scale_of, square_rgb, upright_rgb
    from keras_transfer.data.squaring import square

    spec = registry.backbone("EfficientNetLite0")
    model = features.build(spec, image_size=SIZE).model
    kernel, bias = weights.classifier(spec)
    paths = sorted(Path(folder).glob("*/*"))
    truth = np.array([int(path.name.split("_")[0]) for path in paths])

    def averaged(pixels):
        scale = scale_of(*pixels.shape[:2], SIZE, "stretch")
        return square(np.asarray(Image.fromarray(pixels).reduce(scale)), SIZE, "stretch")

    def chosen(image_of):
        answers = []
        for start in range(0, len(paths), 50):
            maps = model(np.stack([image_of(path.read_bytes()) for path in paths[start : start + 50]]))
            answers.append((np.asarray(maps).mean((1, 2)) @ kernel + bias).argmax(1))
        return np.concatenate(answers)

    small = chosen(lambda content: square_rgb(content, SIZE, "stretch"))
    full = chosen(lambda content: averaged(upright_rgb(content)))
    triangle = chosen(lambda content: square(upright_rgb(content), SIZE, "stretch"))
    return {
        "pictures": len(paths),
        "decoded_small": float((small == truth).mean()),
        "decoded_in_full": float((full == truth).mean()),
        "same_answer": float((small == full).mean()),
        "triangle": float((triangle == truth).mean()),
    }


PEERS = {name.removeprefix("peer_"): value for name, value in list(globals().items()) if name.startswith("peer_")}


def run(peer, folder):
    python = torch_python() if peer in ("pillow", "draft") else sys.executable
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    shown = subprocess.run(
        [python, __file__, "--peer", peer, str(folder)], capture_output=True, text=True, env=environment, check=False
    )
    if shown.returncode:
        sys.exit(f"{peer}: {shown.stderr[-2000:]}")
    return json.loads(shown.stdout.strip().splitlines()[-1])


def median_of(peers, folder, rounds):
    results = {peer: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            results[peer].append(run(peer, folder))
    medians = {}
    for peer, found in results.items():
        medians[peer] = {key: statistics.median(each[key] for each in found) for key in found[0]}
        medians[peer]["rounds"] = sorted(round(each["pictures_per_second"]) for each in found)
    return medians


def table(title, results, ours, peers):
    print(f"\n{title}")
    for name, found in results.items():
        rounds = " ".join(str(each) for each in found["rounds"])
        rate, cpu_ms = found["pictures_per_second"], found["cpu_ms"]
        print(f"  {name:12} {rate:8.0f} pictures/s {cpu_ms:7.2f} CPU-ms per picture (rounds: {rounds})")
    for peer in peers:
        ratio = results[ours]["pictures_per_second"] / results[peer]["pictures_per_second"]
        print(f"  {ours} / {peer} = {ratio:.2f} (CPU time: {results[peer]['cpu_ms'] / results[ours]['cpu_ms']:.2f})")


def linked(pictures, folder, times, classes=2):
    for repeat in range(times):
        for position, path in enumerate(pictures):
            name = f"{repeat:04d}-{position:05d}-{path.stem}{path.suffix.lower()}"
            target = folder / f"class{position % classes}" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path.absolute())
    return folder


def enlarged(pictures, folder, side=LARGE, mirrored=False):
    from PIL import Image, ImageOps

    for position, path in enumerate(pictures):
        target = folder / f"class{position % 2}" / f"{path.stem}-{side[0]}{'-mirrored' * mirrored}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as picture:
            large = picture.convert("RGB").resize(side, Image.Resampling.BICUBIC)
        (ImageOps.mirror(large) if mirrored else large).save(target, quality=90)
    return folder


def small(pictures, temporary, rounds, total=1000):
    folder = linked(pictures, temporary / "small", max(1, total // len(pictures)))
    results = median_of(("keras", "pillow", "ours", "ours_later", "decoder"), folder, rounds)
    later = {"ours_later": results.pop("ours_later")}
    table(f"{count(folder)} photographs to {SIZE} px, first epoch", results, "ours", ("keras", "pillow", "decoder"))
    table("… from the second epoch on", later | results, "ours_later", ("keras", "pillow"))


def longer(pictures, temporary, rounds):
    """As `small`, where what a loader needs to get going counts for less."""
    small(pictures, temporary, rounds, total=4000)


def large(pictures, temporary, rounds):
    folder = enlarged(pictures[:: -(-len(pictures) // LARGE_COUNT)], temporary / "large")
    results = median_of(("keras", "pillow", "draft", "ours"), folder, rounds)
    table(f"{count(folder)} photographs of 12 megapixels to {SIZE} px", results, "ours", ("keras", "pillow", "draft"))


def augment(pictures, temporary, rounds):
    found = [run("augment", temporary) for _ in range(rounds)]
    print("\nAugmentation at 96 px, from memory")
    for policy in found[0]:
        rates = [each[policy]["pictures_per_second"] for each in found]
        print(f"  {policy:12} {statistics.median(rates):8.0f} pictures/s {found[0][policy]['cpu_ms']:7.2f} CPU-ms")
    peer = statistics.median(run("randaugment", temporary)["pictures_per_second"] for _ in range(rounds))
    print(f"  keras-cv's RandAugment {peer:.0f} pictures/s")


def memory(pictures, temporary, rounds):
    print("\nPeak memory, streamed at 96 px")
    for total in (5_000, 40_000):
        folder = linked(pictures[:total], temporary / f"memory{total}", -(-total // len(pictures)))
        found = run("memory", folder)
        print(f"  {found['pictures']:6} pictures {found['peak_mb']:6.0f} MB")


def first(pictures, temporary, rounds):
    folder = temporary / "first"
    contents = [path.read_bytes() for path in pictures if path.suffix.lower() in (".jpg", ".jpeg")][:50]
    for position in range(100_000):
        target = folder / f"class{position % 10}" / f"{position:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        comment = b"\xff\xfe\x00\x06" + position.to_bytes(4, "big")  # makes each file another file
        content = contents[position % len(contents)]
        target.write_bytes(content[:2] + comment + content[2:])
    os.environ["KERAS_TRANSFER_CACHE"] = str(temporary / "cache")
    found = run("first", folder)
    print(f"\n{found['pictures']} files: " + ", ".join(f"{key} {value:.2f}" for key, value in found.items()))


def accuracy(pictures, temporary, rounds):
    if not all(path.name.split("_")[0].isdigit() for path in pictures):
        print("\nAccuracy of scaled decoding: needs pictures named INDEX_NAME, with their ImageNet class index.")
        return
    for side in DECODED_AT_A_HALF_A_QUARTER_AN_EIGHTH:
        for mirrored in (False, True):
            enlarged(pictures, temporary / "accuracy", side, mirrored)
    found = run("accuracy", temporary / "accuracy")
    print("\nImageNet top-1: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()))


PARTS = {
    "small": small,
    "longer": longer,
    "large": large,
    "augment": augment,
    "memory": memory,
    "first": first,
    "accuracy": accuracy,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        print(json.dumps(PEERS[arguments.peer](arguments.folder)))
        return
    pictures = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not pictures:
        sys.exit(f"There are no photographs in '{arguments.folder}'.")
    with tempfile.TemporaryDirectory() as temporary:
        for name in arguments.only.split(","):
            PARTS[name](pictures, Path(temporary) / name, arguments.rounds)


if __name__ == "__main__":
    main()
