"""Two workers of one thread each beside one process of two threads: pictures/s, and the bytes they send each other.

    scripts/bench many [SOURCE] [--rounds 3] [--only full,stored,new] [--side 96] [--plain]

Both share the two cores of one machine, so the most that can be reached is 1.0 of what one process does; what is
missing to it is what workers cost. Bytes are those of the loopback device, so nothing else may use it meanwhile:
`unshare -n sh -c 'ip link set lo up; scripts/bench many'` has one of its own. Where something else computes meanwhile,
the time of the processors still tells what is computed more, though not who waits.
`--plain` measures one process beside one whose steps run without a `tf.distribute.Strategy` around them, instead.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras

import keras_transfer as kt
from keras_transfer.specs import Stage
from keras_transfer.training.strategy import Strategy

BATCH, CORES = 32, 2
SETTLING = 3
"""Steps that are not timed: the first builds the graph, the second takes its memory."""

STAGES = {
    "full": Stage(name="timed", blocks="all", epochs=1, learning_rate=1e-4, batch_norm="frozen"),
    "new": Stage(name="timed", blocks="all", epochs=1, learning_rate=1e-4, batch_norm="train"),
    "stored": Stage(name="timed", blocks=(-2, -1), epochs=3, learning_rate=1e-4, batch_norm="frozen"),
}
"""Everything learns from pictures with the batch norms' statistics as they are, or with new ones that workers share at
each layer; or the last two blocks learn from stored features."""


class Watch(keras.callbacks.Callback):
    """Notes when each step ends, and what the loopback device had sent and the process computed by then."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((time.perf_counter(), sent(), time.process_time()))

    def figures(self):
        gradients = sum(variable.shape.num_elements() for variable in self.model.trainable_variables) * 4
        steps = [after[0] - before[0] for before, after in zip(self.seen, self.seen[1:], strict=False)][SETTLING:]
        first, last, timed = self.seen[SETTLING], self.seen[-1], len(self.seen) - SETTLING - 1
        (a_step, cpu) = ((after - before) / timed for before, after in zip(first[1:], last[1:], strict=True))
        return {"rate": BATCH / statistics.median(steps), "bytes": a_step, "cpu": cpu, "gradients": gradients}


def sent():
    (line,) = (each for each in Path("/proc/net/dev").read_text().splitlines() if each.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[8])


def learn(source, name, side, folder, plain):
    if plain:
        Strategy.run = lambda self, of_a_part, *batch: of_a_part(*batch)
    watch = Watch()
    plan = kt.Plan(data=source, image_size=side, batch_size=BATCH, stages=(STAGES[name],))
    kt.train(plan, folder=folder, name=name, callbacks=[watch], cache_folder=Path(folder) / "cache")
    if watch.seen:
        print("FIGURES", json.dumps(watch.figures()))


def ports(count):
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [f"127.0.0.1:{door.getsockname()[1]}" for door in doors]
    finally:
        for door in doors:
            door.close()


def measured(source, name, side, workers, *more):
    """Figures of a stage on so many workers, which share the cores; more: arguments of each."""
    with tempfile.TemporaryDirectory() as folder:
        addresses = ports(workers)
        processes = []
        for index in range(workers):
            own = {"TF_NUM_INTRAOP_THREADS": str(CORES // workers), "TF_CPP_MIN_LOG_LEVEL": "3"}
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            told = ("--learn", name, "--side", str(side), "--folder", folder, *more)
            command = [sys.executable, __file__, source, *told]
            environment = {**os.environ, **own, "TF_CONFIG": json.dumps(task)}
            processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        said = [process.communicate()[0] for process in processes]
    (line,) = (line for each in said for line in each.splitlines() if line.startswith("FIGURES"))
    return json.loads(line.removeprefix("FIGURES"))


def beside_plain(source, name, side, rounds):
    """Print what one process does, with a strategy of one device and without any, which take turns."""
    pairs = [[measured(source, name, side, 1, *more)["rate"] for more in ((), ("--plain",))] for _ in range(rounds)]
    own, plain = (statistics.median(each) for each in zip(*pairs, strict=True))
    print(f"{name}: {own:.1f} pictures/s, without a strategy {plain:.1f}: {own / plain:.2f} of it", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="sample:fashion")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(STAGES))
    parser.add_argument("--side", type=int, default=96, help="of the pictures, in pixels")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--learn", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.learn:
        learn(asked.source, asked.learn, asked.side, asked.folder, asked.plain)
        return
    for name in asked.only.split(","):
        if asked.plain:
            beside_plain(asked.source, name, asked.side, asked.rounds)
            continue
        rounds = [
            [measured(asked.source, name, asked.side, workers) for workers in (1, 2)] for _ in range(asked.rounds)
        ]
        one, two = (statistics.median(each[at]["rate"] for each in rounds) for at in (0, 1))
        print(f"{name}: one process {one:.1f} pictures/s, two workers {two:.1f}: {two / one:.2f} of it")
        alone, shared = (statistics.median(each[at]["cpu"] for each in rounds) for at in (0, 1))
        print(
            f"{name}: {1000 * alone:.0f} ms of the processors a step, of two workers {2000 * shared:.0f} in all: "
            f"{alone / (2 * shared):.2f} of the pictures for each of them"
        )
        figures = rounds[-1][1]
        least = 2 * figures["gradients"]  # a ring of n sends 2 (n - 1) times the gradients in all
        print(
            f"{name}: {figures['bytes'] / 1e6:.2f} MB a step for gradients of {figures['gradients'] / 1e6:.2f} MB: "
            f"{figures['bytes'] / least:.2f} of what a ring must send",
            flush=True,
        )


if __name__ == "__main__":
    main()
