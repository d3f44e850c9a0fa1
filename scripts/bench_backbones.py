"""How long a row takes to build, as a ratio to Keras building the same network: scripts/bench backbones [NAME ...].

Processor time, not the clock's, so that neighbours on the machine matter less; ours and Keras' take turns.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable

import keras

from keras_transfer.backbones import features, registry

SIDE = 224


def seconds(build: Callable[[], object]) -> float:
    keras.backend.clear_session()
    gc.collect()
    began = time.process_time()
    build()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="every Keras Application where left out")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rows = [spec for spec in registry.rows() if hasattr(keras.applications, spec.name)]
    keras.applications.MobileNet(weights=None)  # the first build of a process pays for TensorFlow's own start
    print("| backbone | Keras, CPU s | here, CPU s | ratio |\n| --- | --- | --- | --- |")
    for spec in rows:
        if options.names and spec.name not in options.names:
            continue
        application = getattr(keras.applications, spec.name)

        def theirs(application=application) -> object:
            return application(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))

        def ours(spec=spec) -> object:
            return features.build(spec, image_size=SIDE, weights="none")

        pairs = [(seconds(theirs), seconds(ours)) for _ in range(options.repeats)]
        keras_s, here_s = (statistics.median(each) for each in zip(*pairs, strict=True))
        print(f"| {spec.name} | {keras_s:.2f} | {here_s:.2f} | {here_s / keras_s:.2f} |", flush=True)


if __name__ == "__main__":
    main()
