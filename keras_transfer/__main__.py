"""Starts the command line and turns every deliberate error into one sentence and an exit code."""

from __future__ import annotations

import logging
import os
import sys
import warnings


def main() -> None:
    """Run `keras-transfer`; exit 0, 1 (the work failed), 2 (bad arguments) or 130 (interrupted)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would look for some among all that is installed
    debug = "--debug" in sys.argv
    _open_streams()
    if not debug:
        _hush_runtimes()
    sys.meta_path.insert(0, _NotForKeras)
    from keras_transfer.errors import KerasTransferError, first_line, of_system

    try:
        from keras_transfer import cli
        from keras_transfer.cli.ending import fail, stoppable
        from keras_transfer.cli.limited import outlive
    except (ImportError, OSError, MemoryError) as error:  # and so nothing that tells of it is there
        sys.exit(f"Error: {of_system(error) or error}")
    try:
        outlive()
        with stoppable():  # while it loads, too
            cli.app(args=[argument for argument in sys.argv[1:] if argument != "--debug"])
    except KerasTransferError as error:
        if debug:
            raise
        fail(str(error), error.exit_code)
    except Exception as error:
        if debug:
            raise
        if refused := of_system(error):
            fail(refused, 1)
        where = f"{type(error).__name__}: {first_line(error)}"
        fail(f"Something unforeseen went wrong ({where[:300]}). Run it again with --debug to see where.", 1)


def _open_streams() -> None:
    """Open what the caller has closed (`>&-`): a file would take its number, and whatever is printed would go in there.

    Python has None for such a stream.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


class _NotForKeras:
    """Keeps from Keras what it imports just in case while it is loaded: 2.8 instead of 3.9 CPU seconds for all imports.

    Its wrappers for scikit-learn and its galleries of pictures, drawn by matplotlib, are not used by any verb.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Say that there is no such package where Keras asks, and nothing otherwise."""
        keras = sys.modules.get("keras")
        if name in ("matplotlib", "sklearn") and keras and not hasattr(keras, "Model"):  # it is being loaded
            raise ModuleNotFoundError(name)


def _hush_runtimes() -> None:
    """Keep the runtimes' own chatter from people; Python's standard error still reaches them.

    TensorFlow, LiteRT and XNNPACK write to file descriptor 2 from C++, whatever Python's logging is told.
    """
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a pipe may know ASCII alone
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="replace")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


if __name__ == "__main__":
    main()
