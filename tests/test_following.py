"""What a journal tells of a training while it runs, after it was stopped, and to whom nothing can be told."""

import json

import pytest
from colours import trained

from keras_transfer import journal
from keras_transfer.cli.progress import progress
from keras_transfer.following import Seen, after, seconds_left
from keras_transfer.specs import Event

EPOCH = {"loss": 0.5, "validation_loss": 0.6, "validation_merit": 0.7, "seconds": 4.0}


def told(path, *events):
    heard = []
    with journal.keeping(path, heard.append) as listener:
        for event in events:
            listener(event)
    return heard


def seen_in(path, now=0.0):
    seen = Seen()
    for each in journal.Reader(path).new():
        seen = after(seen, each.event, each.at)
    return seen


def epoch(number, **changes):
    return Event("epoch", "head", number, 3, {"epoch": float(number), **EPOCH, **changes})


BEGUN = (Event("stages", "head", total=1, values={"head": 3}), Event("stage", "head: the head learns", done=0))


def test_what_is_kept_is_what_was_told(tmp_path):
    events = (*BEGUN, epoch(1), Event("warning", "careful"))
    assert told(tmp_path / "events.jsonl", *events) == list(events)
    assert [each.event for each in journal.Reader(tmp_path / "events.jsonl").new()] == list(events)


def test_of_steps_that_come_by_the_hundred_few_are_kept_and_the_last_always(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "APART", 3600)
    told(tmp_path / "events.jsonl", *(Event("progress", "head, epoch 1", step, 500) for step in range(1, 501)))
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["done"] for line in lines] == [1, 500]


def test_a_reader_gives_each_event_once_and_waits_for_the_end_of_a_line(tmp_path):
    path = tmp_path / "events.jsonl"
    reader = journal.Reader(path)
    assert reader.new() == []
    told(path, epoch(1))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    assert [each.event.done for each in reader.new()] == [1]
    path.write_bytes(whole + whole)
    assert [each.event.done for each in reader.new()] == [1]


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"at": 1}', '{"at": 1, "kind": "note", "message": "", "values": []}', "\0"]
)
def test_a_line_that_is_none_is_passed_over(line, tmp_path):
    (tmp_path / "events.jsonl").write_text(f"{line}\n")
    assert journal.Reader(tmp_path / "events.jsonl").new() == []


def test_epochs_before_a_stop_stand_beside_those_after_it(tmp_path):
    path = tmp_path / "events.jsonl"
    told(path, *BEGUN, epoch(1), epoch(2, loss=0.9))
    told(path, *BEGUN, epoch(2), epoch(3))
    rows = seen_in(path).stages["head"].rows
    assert [(row["epoch"], row["loss"]) for row in rows] == [(1, 0.5), (2, 0.5), (3, 0.5)]


def test_half_a_line_of_a_killed_process_takes_nothing_of_the_next_with_it(tmp_path):
    path = tmp_path / "events.jsonl"
    told(path, epoch(1))
    path.write_bytes(path.read_bytes()[:-9])
    told(path, epoch(2))
    assert [each.event.done for each in journal.Reader(path).new()] == [2]


def test_the_time_left_counts_the_epochs_to_come(tmp_path):
    told(tmp_path / "events.jsonl", *BEGUN, epoch(1))
    assert seconds_left(seen_in(tmp_path / "events.jsonl").stages["head"], 0.0) == 8.0


def test_a_journal_that_cannot_be_written_ends_nothing(tmp_path):
    assert told(tmp_path / "nowhere" / "events.jsonl", epoch(1)) == [epoch(1)]


def test_a_verb_keeps_its_events_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv(journal.VARIABLE, str(tmp_path / "events.jsonl"))
    with progress() as listener:
        listener(Event("note", "something"))
    assert [each.event.message for each in journal.Reader(tmp_path / "events.jsonl").new()] == ["something"]


def test_a_run_keeps_how_its_training_went():
    run = trained()
    stages = seen_in(run.folder / journal.JOURNAL).stages
    for stage in run.record.stages:
        assert stages[stage.name].state == ("kept" if stage.kept else "rolled back")
        assert [row["loss"] for row in stages[stage.name].rows] == [row["loss"] for row in stage.history]
