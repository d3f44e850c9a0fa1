"""A small network from random weights, by labels alone and with a teacher: scripts/bench distillation SOURCE.

Teacher and students are trained on the same pictures and judged by the same test split, which has no say in anything.
`kept` is the part of what the student lacks by labels alone that the teacher makes up for: (with - without) /
(teacher - without). Multiply-adds are those of the backbones for one picture.

With --labelled N only so many training pictures of each class keep their label: the student that has a teacher learns
from its answers to the others, too.
"""

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from keras_transfer import runs, workflow
from keras_transfer.backbones import blocks, features, registry
from keras_transfer.specs import Plan, silent
from keras_transfer.workflow import teaching


def multiply_adds(plan) -> int:
    """Of the backbone, for one picture."""
    spec = registry.backbone(plan.backbone)
    built = features.build(spec, image_size=plan.image_size, weights="none", listener=silent)
    return sum(block.multiply_adds for block in blocks.cut(built.model, spec))


def hidden(source: Path, labelled: int, folder: Path) -> Path:
    """Copy a folder of `train/` and `test/` in which so many pictures of each class keep their label."""
    shutil.copytree(source / "test", folder / "test")
    (folder / "unlabelled").mkdir()
    for kind in sorted(path for path in (source / "train").iterdir() if path.is_dir()):
        paths = sorted(kind.iterdir())
        random.Random(kind.name).shuffle(paths)
        (folder / "train" / kind.name).mkdir(parents=True)
        for number, path in enumerate(paths):
            known = folder / "train" / kind.name / path.name
            shutil.copy(path, known if number < labelled else folder / "unlabelled" / f"{kind.name}-{path.name}")
    return folder


def told(name, run) -> dict:
    record = run.record
    accuracy, learnt = next(iter(record.test.values())), record.validation_merit
    return {"who": name, "validation": learnt, "test": accuracy, "seconds": record.seconds, "run": str(run.folder)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="pictures, as keras-transfer train takes them")
    parser.add_argument("--teacher", default="EfficientNetLite2", help="its backbone, or the folder of a finished run")
    parser.add_argument("--student", default="MobileNetV3Small", help="a backbone, trained from random weights")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=30, help="of the students")
    parser.add_argument("--labelled", type=int, metavar="N", help="of each class; the others' labels are not looked at")
    parser.add_argument("--share", type=float, default=teaching.SHARE)
    parser.add_argument("--temperature", type=float, default=teaching.TEMPERATURE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="where runs are kept; nowhere where it is left out")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as nowhere:
        if given.labelled:
            given.source = str(hidden(Path(given.source), given.labelled, Path(nowhere) / "pictures"))
        measure(given, given.folder or Path(nowhere) / "runs")


def measure(given, folder) -> None:
    same = {"data": given.source, "image_size": given.image_size, "seed": given.seed, "exports": ()}
    taught = Path(given.teacher)
    teacher = (
        runs.open_run(taught)
        if (taught / runs.RECORD).exists()
        else workflow.train(Plan(**same, backbone=given.teacher), folder=folder, name="teacher")
    )
    alone = Plan(**same, backbone=given.student, weights="none", recipe="full", epochs=given.epochs)
    mixed = {"teacher_share": given.share, "teacher_temperature": given.temperature}
    beside = alone.model_copy(update={"teacher": str(teacher.folder), **mixed})
    rows = [told("teacher", teacher)]
    rows += [
        told(name, workflow.train(plan, folder=folder, name=name.replace(" ", "-")))
        for name, plan in (("labels alone", alone), ("with the teacher", beside))
    ]
    work = [multiply_adds(plan) for plan in (teacher.record.plan, alone, beside)]
    for row, each in zip(rows, work, strict=True):
        row["multiply_adds"] = each
    lacking, left = (rows[0]["test"] - row["test"] for row in rows[1:])
    kept = (lacking - left) / lacking if lacking else 0.0
    if given.json:
        print(json.dumps({"rows": rows, "kept": kept}, indent=2))
        return
    table = Table("", "million multiply-adds", "validation", "test", "seconds")
    for row in rows:
        figures = (f"{row['validation']:.1%}", f"{row['test']:.1%}", f"{row['seconds']:.0f}")
        table.add_row(row["who"], f"{row['multiply_adds'] / 1e6:.1f}", *figures)
    console = Console(width=120)
    console.print(table)
    console.print(f"work of the student: {work[1] / work[0]:.2f} of the teacher's; kept: {kept:.2f}")


if __name__ == "__main__":
    main()
