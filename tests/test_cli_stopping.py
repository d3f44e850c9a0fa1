"""Ctrl-C is never lost: neither where Python would drop it, nor for a command that goes on afterwards."""

import os
import signal

import pytest

from keras_transfer.cli.progress import progress
from keras_transfer.errors import StoppedError
from keras_transfer.specs import Event


@pytest.fixture(autouse=True)
def hang_ups_are_heeded():
    """Whoever runs the tests may have them ignored, as `nohup` does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class Deleted:
    """Python writes an exception out of here to standard error and goes on."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_ends_the_verb_at_its_next_event():
    seen = []

    def verb():
        with progress() as listener:
            gone = Deleted()
            del gone
            seen.append("went on")
            listener(Event("note", "next"))
            seen.append("lost")

    with pytest.raises(StoppedError, match="the same command goes on from there"):
        verb()
    assert seen == ["went on"]


def test_the_handler_of_the_caller_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    with progress():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_kill_and_a_closed_terminal_stop_as_an_interrupt_does(number):
    with pytest.raises(StoppedError, match="the same command goes on from there"), progress():
        os.kill(os.getpid(), number)


def test_a_signal_that_the_caller_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with progress():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
