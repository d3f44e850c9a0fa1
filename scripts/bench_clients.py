"""What clients leave of a model on large photographs: scripts/bench clients FOLDER [--supersample 3].

Squares of one to twelve megapixels are cut out of each photograph, with all of the detail that a camera wrote, and the
class of a square is its photograph. What is learned from comes from one half of each; the other halves are validation
of every second photograph and the test of the rest. A head is trained on EfficientNet-Lite0 and exported; then its
files are given the original squares by each client that is installed, as `scripts/bench export RUN --clients` does.
"""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
from bench_export import tell_clients
from PIL import Image

from keras_transfer import workflow
from keras_transfer.specs import Plan
from keras_transfer.training import recipes

LEAST, MOST = 1000, 3464
"""Pixels a side of one and of twelve megapixels."""
LEARNED, JUDGED = 10, 20
"""Squares of a photograph's halves."""
FILES = ("tflite", "onnx")


def squares(photographs: Path, folder: Path) -> int:
    """Write squares of every photograph whose halves hold one, by split and class; how many photographs there were."""
    Image.MAX_IMAGE_PIXELS = None
    used = 0
    for path in sorted(photographs.iterdir()):
        picture = Image.open(path).convert("RGB")
        if picture.height > picture.width:
            picture = picture.rotate(90, expand=True)
        half = picture.width // 2
        most = min(half, picture.height, MOST)
        if most < LEAST:
            continue
        rng = np.random.default_rng(used)
        judged = ("validation", "test")[used % 2]
        used += 1
        for split, count, begins in (("train", LEARNED, 0), (judged, JUDGED, half)):
            (folder / split / path.stem).mkdir(parents=True)
            for each in range(count):
                side = math.isqrt(int(rng.integers(LEAST**2, most**2 + 1)))
                left = begins + int(rng.integers(0, half - side + 1))
                top = int(rng.integers(0, picture.height - side + 1))
                cut = picture.crop((left, top, left + side, top + side))
                cut.save(folder / split / path.stem / f"{each}.jpg", quality=92)
    return used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="a folder of photographs of at least four megapixels")
    parser.add_argument("--augment", default="light", help="of the stage that is trained")
    parser.add_argument("--supersample", type=int, default=1, help="as of keras-transfer export")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        used = squares(given.photographs, Path(place) / "squares")
        shown = {"augment": given.augment}
        stages = tuple(stage.model_copy(update=shown) for stage in recipes.stages("head", 5))
        same = {
            "data": str(Path(place) / "squares"),
            "image_size": given.image_size,
            "stages": stages,
            "exports": FILES,
        }
        run = workflow.train(Plan(**same, backbone="EfficientNetLite0"), folder=Path(place))
        workflow.export(run, FILES, supersampling=given.supersample)
        if not given.json:
            print(f"squares of {used} photographs, {given.augment}, files that take {given.supersample} x the side")
        tell_clients(run, as_json=given.json)


if __name__ == "__main__":
    main()
