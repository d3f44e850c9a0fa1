"""What the command line loads, and what it keeps from being loaded."""

import subprocess
import sys


def test_keras_is_loaded_without_what_no_verb_uses_and_the_rest_still_finds_it():
    code = (
        "import sys; from keras_transfer.__main__ import _NotForKeras; sys.meta_path.insert(0, _NotForKeras)\n"
        "import keras\n"
        "print([name for name in ('sklearn', 'matplotlib') if name in sys.modules])\n"
        "import sklearn, matplotlib\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
