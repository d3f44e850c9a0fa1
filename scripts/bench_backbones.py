"""How long a row takes to build, as a ratio to Keras building the same network: scripts/bench backbones [NAME ...].

Processor time, not the clock's, so that neighbours on the machine matter less; ours and Keras' take turns, and the
median of the ratios of each turn is what counts. Exit code 1 where that is above 1.2.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable

import keras

from keras_transfer.backbones import features, registry

SIDE = 224
LIMIT = 1.2


def seconds(build: Callable[[], object]) -> float:
    keras.backend.clear_session()
    gc.collect()
    began = time.process_time()
    build()
    return time.process_time() - began


def ends_of_families() -> list[str]:
    """The smallest and the largest row of each family of Keras."""
    families: dict[str, list] = {}
    for spec in registry.select(sort="parameters"):
        if hasattr(keras.applications, spec.name):
            families.setdefault(spec.family, []).append(spec.name)
    return [name for names in families.values() for name in dict.fromkeys((names[0], names[-1]))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="the smallest and the largest of each family where left out")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    keras.applications.MobileNet(weights=None)  # the first build of a process pays for TensorFlow's own start
    print("| backbone | Keras, CPU s | here, CPU s | ratio |\n| --- | --- | --- | --- |")
    ratios = []
    for name in options.names or ends_of_families():
        spec, application = registry.backbone(name), getattr(keras.applications, name)

        def theirs(application=application) -> object:
            return application(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))

        def ours(spec=spec) -> object:
            return features.build(spec, image_size=SIDE, weights="none")

        theirs(), ours()  # the first build of a network pays for the kernels that make its random weights
        turns = [(seconds(theirs), seconds(ours)) for _ in range(options.repeats)]
        keras_s, here_s = (statistics.median(each) for each in zip(*turns, strict=True))
        ratios.append(statistics.median(here / theirs_s for theirs_s, here in turns))
        print(f"| {name} | {keras_s:.2f} | {here_s:.2f} | {ratios[-1]:.2f} |", flush=True)
    print(f"\n{sum(ratio <= LIMIT for ratio in ratios)} of {len(ratios)} rows take at most {LIMIT} times as long.")
    return int(max(ratios) > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
