"""The way from pictures to an answer in odd circumstances, chosen in turn: where, by whom and of what it is run.

    scripts/campaign circumstances [--count 18] [--seed 0] [--only "long names"]

Of surroundings it holds where train, export and predict end with the same bytes and the same answer as anywhere; of odd
pictures, where they end well or by one sentence. `--only "many files"` and `--only "large pictures"` take minutes.
"""

import atexit
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import campaigning
import numpy as np
import striking
import verbs
import warmed
from PIL import Image

RUN = "saved_models/small"
CHAIN: tuple[tuple[str, ...], ...] = (
    verbs.VERBS["train"].words,
    ("export", RUN, "--format", "tflite"),
    ("predict", f"{RUN}/exports/model.tflite", "pictures/ant/0.png", "--json"),
)
LOADS = ("train", "export")
"""Verbs that load TensorFlow."""
ENDS_WITH = (f"{RUN}/stages/0-head/weights.npz", f"{RUN}/exports/model.tflite")
LONGEST = ("a" * 255, "ж" * 127, "猫" * 85, "😀" * 63, "ש" * 127, "e\u0301" * 85, " ' \" $(x) ; & \\n" * 15)
"""Names of as many bytes as file systems take, in several scripts, and what a shell trips over."""
ODD = ("it's here", 'say "a"', "a b  c", "$(x);&", "naïve 猫", "[bold]", "100%", "-run", "a#t=1,2", "~nobody-here")
"""Names of folders that programs trip over."""
MEMORY_BYTES = 8 * 2**30
"""That pictures of 8,000 pixels a side may take, of which one is decoded by each core."""


def ran(words: Sequence[str], folder: Path, **options: Any) -> tuple[int, str]:
    """Run a verb where nothing is odd but what it finds; those that train or convert find TensorFlow loaded."""
    return warmed.run(words, folder) if words[0] in LOADS and not options else verbs.run(words, folder, **options)


def chained(folder: Path, **options: Any) -> str:
    """Train, export and predict in a folder; what did not end as it does anywhere, in words."""
    said = ""
    for words in CHAIN:
        code, said = ran(words, folder, **options)
        if code:
            return f"'{words[0]}' ended with {code}: {said[-300:]}"
    found = [(folder / name).read_bytes() for name in ENDS_WITH]
    wanted, answer = usual()
    if found != [(wanted / name).read_bytes() for name in ENDS_WITH]:
        return "other bytes than anywhere else"
    return "" if answered(said) == answer or "stdout" in options else f"another answer: {said[-300:]}"


def answered(said: str) -> Any:
    """The JSON among what a verb said on both streams."""
    start, end = said.find("["), said.rfind("]")
    return json.loads(said[start : end + 1]) if start >= 0 else said


@cache
def usual() -> tuple[Path, Any]:
    """A folder in which train, export and predict were run as usual, and the answer."""
    place = Path(tempfile.mkdtemp(prefix="campaign-usual-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    folder, said = begun(place / "work"), ""
    for words in CHAIN:
        code, said = ran(words, folder)
        if code:
            raise SystemExit(f"'{words[0]}' fails by itself: {said}")
    return folder, answered(said)


def begun(folder: Path) -> Path:
    """A folder of that name with pictures and a plan in it."""
    verbs.begin(folder)
    return folder


def ascii_alone(rng: random.Random, folder: Path) -> str:
    """LANG=C, with or without Python's own way out of it."""
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": ""}
    strict = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"} if rng.random() < 0.5 else {}
    return chained(begun(folder / "work"), env=verbs.environment(folder / "work", **plain, **strict))


def no_home(rng: random.Random, folder: Path) -> str:
    """No HOME and no entry among the users; a mock, because whoever runs this has one."""
    work = begun(folder / "work")
    left = {name: value for name, value in verbs.environment(work).items() if name not in ("HOME", "XDG_CACHE_HOME")}
    left = {name: value for name, value in left.items() if not name.startswith("KERAS_TRANSFER_")}
    mock = "import os, sys; os.path.expanduser = lambda path: path; from keras_transfer.__main__ import main; "
    for words in CHAIN:
        code, said = verbs.run(words, work, code=f"{mock}sys.argv[1:] = {words!r}; main()", env=left)
        if wrong := ended_oddly(code, said):
            return f"'{words[0]}': {wrong}"
    return ""


def no_terminal(rng: random.Random, folder: Path) -> str:
    """A session of its own; standard input, and perhaps more, closed."""
    closed = rng.choice([(0,), (0, 2), (0, 1), (0, 1, 2)])
    shell = " ".join({0: "<&-", 1: ">&-", 2: "2>&-"}[each] for each in closed)
    work = begun(folder / "work")
    for words in CHAIN:
        command = ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-m", "keras_transfer", *words]
        done = subprocess.run(
            command,
            cwd=work,
            env=verbs.environment(work),
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return f"'{words[0]}' {shell} ended with {done.returncode}: {(done.stdout + done.stderr)[-300:]}"
    wanted, _ = usual()
    same = all((work / name).read_bytes() == (wanted / name).read_bytes() for name in ENDS_WITH)
    return "" if same else f"{shell}: other bytes than anywhere else"


def output_closed(rng: random.Random, folder: Path) -> str:
    """Whoever reads has gone, as `head` does."""
    work = begun(folder / "work")
    for words in CHAIN:
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as nobody:
            code, said = verbs.run(words, work, stdout=nobody, stderr=subprocess.PIPE, capture_output=False)
        if "Traceback" in said or striking.UNFORESEEN in said or "BrokenPipe" in said or code not in (0, 1, 141):
            return f"'{words[0]}' ended with {code}: {said[-300:]}"
    wanted, _ = usual()
    same = all((work / name).read_bytes() == (wanted / name).read_bytes() for name in ENDS_WITH)
    return "" if same else "other bytes than anywhere else"


def other_folder(rng: random.Random, folder: Path) -> str:
    """Run from elsewhere: paths are those of whoever calls."""
    work, other = begun(folder / "work"), folder / "else" / "where"
    other.mkdir(parents=True)
    plan = (work / "plan.toml").read_text().replace('"pictures"', '"../../work/pictures"')
    (other / "plan.toml").write_text(plan)
    runs = "../../work/saved_models"
    for words in (
        ("train", "--plan", "plan.toml", "--run", "small", "--folder", runs),
        ("export", f"{runs}/small", "--format", "tflite"),
    ):
        code, said = verbs.run(words, other, env=verbs.environment(work))
        if code:
            return f"'{words[0]}' ended with {code}: {said[-300:]}"
    wanted, _ = usual()
    same = (work / ENDS_WITH[0]).read_bytes() == (wanted / ENDS_WITH[0]).read_bytes()
    return "" if same else "other bytes than anywhere else"


def odd_path(rng: random.Random, folder: Path) -> str:
    """A folder whose name a shell trips over; what is said to come next works when it is pasted."""
    name = rng.choice(ODD)
    work = begun(folder / name)
    if wrong := chained(work):
        return f"'{name}': {wrong}"
    code, said = verbs.run(("export", str(work / RUN), "--format", "tflite"), folder)
    following = next((line for line in said.splitlines() if line.startswith("next: keras-transfer ")), "")
    if code or not following:
        return f"'{name}': export ended with {code}: {said[-300:]}"
    pasted = following.removeprefix("next: keras-transfer ").replace("PICTURE.jpg", '"$PICTURE"')
    environment = verbs.environment(work, PICTURE=str(work / "pictures" / "ant" / "0.png"))
    command = f"'{sys.executable}' -m keras_transfer {pasted}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return f"'{name}': {pasted} ended with {done.returncode}: {done.stderr[-300:]}" if done.returncode else ""


def tried(work: Path, *options: str) -> str:
    """Look at, train on, export and ask the pictures of a folder; a sentence ends it well, too."""
    (work / "plan.toml").write_text(verbs.PLAN.replace("epochs = 2", "epochs = 1"))
    first = next(path for path in sorted((work / "pictures").rglob("*")) if path.is_file())
    for words in (
        ("doctor", "pictures", "--no-labels"),
        (*CHAIN[0], *options),
        CHAIN[1],
        ("predict", f"{RUN}/exports/model.tflite", str(first.relative_to(work)), "--json"),
    ):
        code, said = ran(words, work)
        if wrong := ended_oddly(code, said):
            return f"'{words[0]}': {wrong}"
        if code:
            return ""
    return ""


def ended_oddly(code: int, said: str) -> str:
    """How a verb ended, where it was neither well nor by one sentence."""
    sentence = said.count("Error:") == 1 and striking.UNFORESEEN not in said and "Traceback" not in said
    return "" if code == 0 or (code in (1, 2) and sentence) else f"exit code {code}: {said[-300:]}"


def long_names(rng: random.Random, folder: Path) -> str:
    """Classes, pictures and runs whose names have as many bytes as there may be."""
    work, names = folder / "work", rng.sample(LONGEST, 2)
    verbs.drawn(work / "pictures", names, 12)
    for name in names:
        short = name.encode()[:251].decode(errors="ignore")
        (work / "pictures" / name / "0.png").rename(work / "pictures" / name / f"{short}.png")
    return tried(work)


def many_classes(rng: random.Random, folder: Path) -> str:
    """A thousand classes of four pictures."""
    work = folder / "work"
    verbs.drawn(work / "pictures", [f"class {number}" for number in range(1000)], 4)
    return tried(work)


def one_picture(rng: random.Random, folder: Path) -> str:
    """A class of one picture among 300."""
    work = folder / "work"
    verbs.drawn(work / "pictures", ("ant", "bee", "cat"), 100)
    verbs.drawn(work / "pictures", ("rare",), 1)
    return tried(work)


def large_pictures(rng: random.Random, folder: Path) -> str:
    """Pictures of 8,000 pixels a side, in a kind that the seed chooses."""
    work, suffix = folder / "work", rng.choice(("jpg", "png", "webp", "tif"))
    for number, name in enumerate(("ant", "bee")):
        (work / "pictures" / name).mkdir(parents=True)
        for each in range(6):
            shade = np.full((8000, 8000, 3), 60 + 100 * number + each, np.uint8)
            Image.fromarray(shade).save(work / "pictures" / name / f"{each}.{suffix}")
    if wrong := tried(work):
        return wrong
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return f"took {most:,} bytes of memory" if most > MEMORY_BYTES else ""


def many_files(rng: random.Random, folder: Path) -> str:
    """A hundred thousand pictures of a few bytes."""
    work = folder / "work"
    for number in range(10):
        (work / "pictures" / str(number)).mkdir(parents=True)
        for each in range(10_000):
            pixels = np.random.default_rng(each * 10 + number).integers(0, 256, (4, 4, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(work / "pictures" / str(number) / f"{each}.png")
    return tried(work)


KINDS: dict[str, Callable[[random.Random, Path], str]] = {
    "LANG=C": ascii_alone,
    "no home": no_home,
    "no terminal": no_terminal,
    "output closed": output_closed,
    "other folder": other_folder,
    "odd path": odd_path,
    "long names": long_names,
    "many classes": many_classes,
    "one picture": one_picture,
}
SLOW: dict[str, Callable[[random.Random, Path], str]] = {"large pictures": large_pictures, "many files": many_files}


def attempt(kind: str, rng: random.Random, folder: Path) -> str:
    """Bring a circumstance about and run the verbs in it; what was lost, in words."""
    return (KINDS | SLOW)[kind](rng, folder)


if __name__ == "__main__":
    campaigning.main("circumstances", tuple(KINDS), attempt, count=18, slow=tuple(SLOW))
