"""Tells in a sentence what a limit of memory (`ulimit -v`) does to a verb: libraries hang or end the process there."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys

from keras_transfer.cli.ending import STOPS, fail
from keras_transfer.errors import REFUSALS, RunError

LOADING_BYTES = 2**31 + 2**28 * (os.cpu_count() or 1)
"""Of addresses that TensorFlow takes until it has computed anything: 2.3 GB on two cores, each of which has threads."""

ENDS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS)
"""What C++ and its threads end by where they get no memory."""

NO_ROOM_FOR_THREADS = 127
"""With which the loader of libraries ends a process whose threads get no memory of their own (glibc, dl-tls.c)."""

_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def outlive() -> None:
    """Where addresses are limited, let a child do the work; this process only waits and says what ended it.

    The caller goes on in the child. There is nothing to do where nothing is limited.
    """
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most == resource.RLIM_INFINITY:
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # none comes until it is clear what it does
    child = os.fork()
    if not child:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _die_with_parent()
        sys.meta_path.insert(0, _Room(most))
        return
    for each in (signal.SIGINT, signal.SIGHUP):  # a terminal gives them to the child, too
        signal.signal(each, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if -code in ENDS or code == NO_ROOM_FOR_THREADS:
        fail(_ended(signal.Signals(-code).name if code < 0 else f"exit code {code}", most), 1)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def _ended(how: str, most: int) -> str:
    return (
        f"A library ended the work ({how}), as they do where they get no memory: the limit is {most / 2**30:.1f} GB of "
        f"addresses (ulimit -v). {REFUSALS[errno.ENOMEM]} Then run the same command again: what was finished is saved."
    )


def _die_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


class _Room:
    """Refuses to load TensorFlow where it cannot even be loaded.

    OpenBLAS, which SciPy brings along, there asks for the same 32 MB for ever, deaf to all signals but SIGKILL.
    """

    def __init__(self, most: int) -> None:
        self.most = most

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise RunError where TensorFlow is asked for and has no room, and say nothing otherwise."""
        if name in ("tensorflow", "keras") and self.most < LOADING_BYTES:
            raise RunError(
                f"TensorFlow takes {LOADING_BYTES / 2**30:.1f} GB of addresses to be loaded, and the limit is "
                f"{self.most / 2**30:.1f} GB. Raise it: ulimit -v unlimited"
            )
