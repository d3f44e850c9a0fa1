"""What the system refuses, and streams that the caller closed: a sentence, or nothing at all."""

import errno
import os
import subprocess
import sys

import pytest

from keras_transfer.errors import REFUSALS, of_system


@pytest.mark.parametrize("number", REFUSALS)
def test_what_the_system_refuses_is_one_sentence_that_says_what_to_do(number):
    said = of_system(OSError(number, os.strerror(number), "run.json"))
    assert said.startswith(f"The system refuses to go on at 'run.json': {os.strerror(number)}. {REFUSALS[number]}")
    assert said.endswith("Then run the same command again: what was finished is saved.")


def test_too_little_memory_is_a_sentence():
    said = of_system(MemoryError())
    assert said.startswith("The system refuses to go on: Cannot allocate memory. Free some memory, raise the limit")


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("libcudart.so: failed to map segment from shared object", errno.ENOMEM),
        ("libtensorflow_cc.so.2: cannot open shared object file: Too many open files", errno.EMFILE),
        ("can't start new thread", errno.EAGAIN),
        ("Operation received an exception:Status: 1, message: could not create a primitive", errno.ENOMEM),
        ("Can't synchronously write data (errno = 27, error message = 'File too large')", errno.EFBIG),
    ],
)
def test_what_libraries_tell_in_words_is_the_same_sentence(said, number):
    assert of_system(ImportError(said)) == of_system(OSError(number, os.strerror(number))) != ""


def test_other_errors_are_left_to_whoever_looks_for_them():
    assert of_system(OSError(errno.ENOENT, "gone")) == of_system(ValueError("no")) == ""


def typed(shell, *words):
    """Run the command line behind what a shell does with its streams."""
    command = ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-m", "keras_transfer", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shell", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_caller_closed_take_nothing_down(shell, tmp_path):
    done = typed(shell, "runs", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert ("There are no runs" in done.stdout) == (">&-" not in shell.split())


def test_a_file_never_takes_the_number_of_a_stream_that_the_caller_closed(tmp_path):
    code = """
import os, sys
from keras_transfer.__main__ import _open_streams
_open_streams()
with open(sys.argv[1], "w") as file:
    assert file.fileno() > 2
    os.write(1, b"printed")
"""
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code, str(tmp_path / "file")]
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_whoever_reads_may_go_early():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        command = [sys.executable, "-m", "keras_transfer", "licences"]
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode in (0, 1)
    assert done.stderr == ""


def limited(code, before=""):
    """Run Python under a limit of addresses that is never met, behind what watches over a verb there."""
    begin = "import os, resource, signal, sys, time\nresource.setrlimit(resource.RLIMIT_AS, (2**44, 2**44))\n" + before
    begin += "from keras_transfer.cli.limited import outlive\noutlive()\n"
    return subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("code", "how"),
    [("os.abort()", "SIGABRT"), ("os._exit(127)", "exit code 127"), ("os.kill(os.getpid(), 11)", "SIGSEGV")],
)
def test_where_memory_is_limited_an_end_without_an_exception_is_a_sentence(code, how):
    done = limited(code)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: A library ended the work ({how}), as they do where they get no memory: ")
    assert done.stderr.endswith("Then run the same command again: what was finished is saved.\n")


def test_where_memory_is_limited_a_verb_ends_as_it_does_anywhere():
    assert limited("print('done'); sys.exit(2)").stdout == "done\n"
    assert limited("sys.exit(2)").returncode == 2
    assert limited("os.kill(os.getpid(), signal.SIGKILL)").returncode == -9


OF_VERB = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))\nos.kill(os.getppid(), {}); time.sleep(60)"


def test_where_memory_is_limited_whoever_ends_the_one_that_waits_ends_the_verb():
    assert limited(OF_VERB.format("signal.SIGTERM")).returncode == 130
    assert limited(OF_VERB.format("signal.SIGKILL")).returncode == -9  # and nothing holds the streams any longer


def test_where_memory_is_limited_a_verb_may_be_ended_before_the_one_that_waits_does_so():
    late = "fork = os.fork\nos.fork = lambda: (child := fork()) and (time.sleep(1) or child)\n"  # as on a busy machine
    assert limited(OF_VERB.format("signal.SIGTERM"), before=late).returncode == 130


def test_tensorflow_is_not_loaded_where_it_would_wait_for_memory_for_ever():
    command = [sys.executable, "-m", "keras_transfer", "backbones", "MobileNetV2", "--blocks"]
    limit = ["sh", "-c", 'ulimit -v 2000000; exec "$@"', "sh"]
    done = subprocess.run([*limit, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: TensorFlow takes ")
    assert done.stderr.endswith(
        " GB of addresses to be loaded, and the limit is 1.9 GB. Raise it: ulimit -v unlimited\n"
    )
