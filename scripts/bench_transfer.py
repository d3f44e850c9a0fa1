"""What labels are worth with transfer: what `keras-transfer bench transfer` measures, by its name in scripts/bench."""

import sys

from keras_transfer.__main__ import main

if __name__ == "__main__":
    sys.argv[1:1] = ["bench", "transfer"]
    main()
