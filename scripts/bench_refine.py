"""How much the two constants of `export/refine.py` matter: scripts/bench refine [--cells FOLDER] [--stamps FOLDER] ...

    scripts/bench refine --cells FOLDER --stamps FOLDER --faces FOLDER [--recipe head]

Which FOLDERs there can be is told in `benchmark_tasks.py`; `sample:fashion` needs none. A run of each task is written
in whole numbers, with one of the two constants moved at a time: up to how many weights per output channel rounding is
compensated, and by which share of the variance covariances are damped. Noise is the mean distance of its probabilities
from those of the float32 file on validation pictures, in points; `beside` is by how much it is more than that of the
constants as they are, and the standard error of that. Test pictures have no say in it.
"""

import argparse
import json
import tempfile
from pathlib import Path

import benchmark_tasks
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from rich.console import Console
from rich.table import Table

from keras_transfer import workflow
from keras_transfer.export import exporters, tflite
from keras_transfer.export.refine import DAMPING, LARGEST_KERNEL, Moments, refine
from keras_transfer.specs import Plan
from keras_transfer.workflow.exporting import CALIBRATION_PICTURES
from keras_transfer.workflow.opened import Opened, some_pictures

AS_THEY_ARE = (LARGEST_KERNEL, DAMPING)
KERNELS, DAMPINGS = (0, 9, LARGEST_KERNEL, 144), (0.001, DAMPING, 0.1)
CHOICES = [(largest, DAMPING) for largest in KERNELS] + [(LARGEST_KERNEL, each) for each in DAMPINGS if each != DAMPING]


def said(content, batches):
    """The probabilities that a TFLite file gives, (pictures, classes)."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (image,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for picture in (picture for batch in batches for picture in batch):
        interpreter.set_tensor(image["index"], picture[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(output["index"])[0])
    return np.stack(found)


def measured(run, task, folder):
    """A row for each choice of the constants."""
    trained = Opened(run)
    (file,) = exporters.export(trained.model, folder, ["tflite"], trained.plain)
    exact, size = file.path.read_bytes(), trained.plain.image_size
    moments = Moments(exact, max(KERNELS))
    pictures = some_pictures(trained.feed, "train", size, CALIBRATION_PICTURES)
    rounded = tflite.nearest(exact, pictures, moments, whole=False)(set())
    judged = [np.asarray(images) for images, *_ in trained.feed("validation", image_size=size, batch_size=32)]
    wanted = said(exact, judged)
    found = {
        (largest, damping): said(refine(rounded, moments, largest=largest, damping=damping), judged)
        for largest, damping in CHOICES
    }
    noise = {choice: 100 * np.abs(answers - wanted).mean(axis=1) for choice, answers in found.items()}
    rows = []
    for choice, each in noise.items():
        more = each - noise[AS_THEY_ARE]
        row = {"task": task, "largest_kernel": choice[0], "damping": choice[1], "noise": float(each.mean())}
        row |= {"more": float(more.mean()), "error": float(more.std(ddof=1) / len(more) ** 0.5)}
        row |= {"agrees": float(np.mean(found[choice].argmax(1) == wanted.argmax(1)))}
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benchmark_tasks.add_options(parser)
    parser.add_argument("--backbone", default="EfficientNetLite0")
    parser.add_argument("--recipe", default="head")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for number, (task, source) in enumerate(benchmark_tasks.made(given, Path(place)).items()):
            same = {"data": source, "backbone": given.backbone, "recipe": given.recipe, "exports": ()}
            plan = Plan(**same, image_size=given.image_size, seed=given.seed)
            run = workflow.train(plan, folder=Path(place) / f"runs-{number}")
            rows += measured(run, task, Path(place) / f"files-{number}")
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("task", "largest kernel", "damping", "noise", "beside", "same class")
    for row in rows:
        beside = "" if (row["largest_kernel"], row["damping"]) == AS_THEY_ARE else f"{row['more']:+.3f}"
        beside += f" ± {row['error']:.3f}" if beside else "as they are"
        figures = (f"{row['noise']:.3f}", beside, f"{row['agrees']:.1%}")
        table.add_row(row["task"], str(row["largest_kernel"]), str(row["damping"]), *figures)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
