"""Starts the command line and turns every deliberate error into one sentence and an exit code."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run `keras-transfer`; exit 0, 1 (the work failed), 2 (bad arguments) or 130 (interrupted)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    from keras_transfer.cli import app, fail
    from keras_transfer.errors import KerasTransferError

    debug = "--debug" in sys.argv
    try:
        app(args=[argument for argument in sys.argv[1:] if argument != "--debug"])
    except KerasTransferError as error:
        if debug:
            raise
        fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        fail("Interrupted; what was finished is saved, and the same command goes on from there.", 130)
    except Exception as error:
        if debug:
            raise
        where = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        fail(f"Something unforeseen went wrong ({where[:300]}). Run it again with --debug to see where.", 1)


if __name__ == "__main__":
    main()
