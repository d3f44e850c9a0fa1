"""Verbs as processes: what became of each, also for a studio that did not start it."""

import errno
import os
import sys
import time

import psutil
import pytest

from keras_transfer.errors import UsageError
from keras_transfer.studio import jobs as running
from keras_transfer.studio.jobs import Jobs

PROGRAM = (sys.executable, "-c")
"""In place of `keras-transfer`, because what becomes of a process does not depend on what it does."""
SAYS = "print('{\"said\": NaN}')"
WAITS = "import time; print('waiting', flush=True); time.sleep(600)"
FAILS = "import sys; sys.exit('Error: Pictures are missing.')"
HEEDS = (
    "import signal, sys, time\n"
    "def stop(*given): sys.exit('Error: Stopped. What was finished is saved.')\n"
    "signal.signal(signal.SIGTERM, stop)\n"
    "print(flush=True)\n"
    "time.sleep(600)"
)


@pytest.fixture
def jobs(tmp_path):
    made = Jobs(tmp_path / "jobs", PROGRAM)
    yield made
    for each in made.all():
        if each.state == "running":
            psutil.Process(each.record.pid).kill()


def ended(jobs, job):
    while (now := jobs.get(job.record.id)).state == "running":
        time.sleep(0.02)
    return now


def begun(job):
    """Wait until its process has said something."""
    while not (job.folder / running.SAID).stat().st_size:
        time.sleep(0.02)
    return job


def test_what_a_verb_says_is_read(jobs):
    job = ended(jobs, jobs.start("doctor", [SAYS]))
    assert (job.state, job.said()) == ("finished", {"said": None})
    assert jobs.latest("doctor") == job
    assert jobs.latest("doctor", run="another") is None


def test_a_verb_that_fails_says_why_in_its_own_words(jobs):
    job = ended(jobs, jobs.start("train", [FAILS]))
    assert (job.state, job.sentence) == ("failed", "Pictures are missing.")


def test_a_verb_is_stopped_as_by_a_person(jobs):
    job = begun(jobs.start("train", [HEEDS]))
    jobs.stop(job.record.id)
    job = ended(jobs, job)
    assert (job.state, job.sentence) == ("stopped", "Stopped. What was finished is saved.")


def test_a_verb_goes_on_where_its_studio_is_gone_and_the_next_one_knows_it(jobs, tmp_path):
    job = begun(jobs.start("train", [HEEDS]))
    later = Jobs(tmp_path / "jobs", PROGRAM)
    assert later.get(job.record.id).state == "running"
    later.stop(job.record.id)
    jobs._started[job.record.id].wait()
    assert ended(later, job).state == "stopped"


def test_a_verb_that_was_cut_off_is_given_again(jobs):
    job = begun(jobs.start("train", [WAITS]))
    psutil.Process(job.record.pid).kill()
    job = ended(jobs, job)
    assert job.state == "interrupted"
    assert job.sentence == "It was ended from outside. The same command goes on from what was saved."
    again = jobs.again(job.record.id)
    assert again.record.words == job.record.words
    with pytest.raises(UsageError, match=r"This is still running\."):
        jobs.again(again.record.id)


def test_a_number_of_a_process_that_was_given_again_is_not_taken_for_it(jobs, tmp_path):
    job = begun(jobs.start("train", [WAITS]))
    record = job.record.model_copy(update={"born": job.record.born - 100})
    (job.folder / running.RECORD).write_text(record.model_dump_json())
    assert Jobs(tmp_path / "jobs", PROGRAM).get(job.record.id).state == "interrupted"


def test_there_is_one_training_and_not_any_number_of_verbs(jobs):
    jobs.start("train", [WAITS])
    with pytest.raises(UsageError, match=r"A training is under way\. Stop it, or wait for its end\."):
        jobs.start("train", [WAITS])
    jobs.start("doctor", [WAITS])
    jobs.start("predict", [WAITS])
    with pytest.raises(UsageError, match=r"3 commands are running\. Wait for one of them to end\."):
        jobs.start("export", [WAITS])


def test_a_verb_that_cannot_be_noted_is_ended(jobs, monkeypatch):
    def full(path, content):  # stands for a disk that fills up between the two
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = psutil.Process().children()
    monkeypatch.setattr(running, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        jobs.start("train", [WAITS])
    assert jobs.all() == []
    assert set(psutil.Process().children()) <= set(before)


def test_words_are_given_as_they_are_and_no_shell_reads_them(jobs, tmp_path):
    told = "import json, sys; print(json.dumps(sys.argv[1:]))"
    words = ["$(touch x)", "; touch y", "a b", "`z`", "*"]
    job = ended(jobs, jobs.start("doctor", [told, *words]))
    assert job.said() == words
    assert "'$(touch x)'" in job.command


def test_a_record_that_cannot_be_read_is_no_job(tmp_path):
    (tmp_path / "jobs" / "broken").mkdir(parents=True)
    (tmp_path / "jobs" / "broken" / running.RECORD).write_text("{")
    assert Jobs(tmp_path / "jobs", PROGRAM).all() == []
