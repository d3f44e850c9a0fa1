"""The live table: what it knows after the events of a training, and what a person reads."""

import io

import pytest
from rich.console import Console

from keras_transfer.cli import live
from keras_transfer.errors import StoppedError
from keras_transfer.specs import Event


def epoch(stage, number, of, **changes):
    values = {
        "epoch": number,
        "loss": 0.9 / number,
        "validation_loss": 1.0,
        "validation_merit": 0.5 + number / 100,
        "seconds": 4.0,
        "waiting_share": 0.07,
        "pictures_per_second": 1234.0,
    }
    return Event("epoch", stage, number, of, values | changes)


def step(stage, number, done, total):
    return Event("progress", f"{stage}, epoch {number}", done, total, {"epoch": float(number)})


BEGUN = [
    Event("stages", "head, top", total=2, values={"head": 20, "top": 8}),
    Event("stage", "head: the head learns", done=0),
    Event("progress", "features of train, view 1", 30, 60),
]
HEAD_DONE = Event(
    "finished",
    "head",
    1,
    values={"epochs": 20, "loss": 0.4, "validation_merit": 0.84, "pictures_per_second": 5000, "kept": True},
)


def shown(events, now=100.0, merit_name="accuracy"):
    seen = live.Seen()
    for event in events:
        seen = live.after(seen, event, 60.0)
    console = Console(file=io.StringIO(), width=110, force_terminal=False)
    console.print(live.table(seen, now, merit_name))
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_stages_to_come_stand_there_before_anything_is_known_of_them():
    lines = shown(BEGUN)
    assert lines[0] == ["stage", "epoch", "loss", "validation", "pictures/s", "waiting", "left"]
    assert lines[1:3] == [["head", "0/20"], ["top", "0/8", "to", "come"]]
    assert lines[3][:5] == ["features", "of", "train,", "view", "1"]
    assert lines[3][-4:] == ["then", "top", "(8", "epochs)"]


def test_the_running_stage_shows_its_best_epoch_its_last_ones_and_the_time_left():
    events = [*BEGUN, *(epoch("head", number, 20) for number in range(1, 9)), step("head", 9, 1, 2)]
    lines = shown([*events, epoch("head", 9, 20, validation_merit=0.4), step("head", 10, 1, 2)])
    assert lines[1] == ["head", "9/20", "0.113", "58.0%", "1,234", "7%", "0:42"]
    assert [line[0] for line in lines[2:7]] == ["5", "6", "7", "8", "9"]
    assert lines[6] == ["9", "0.100", "40.0%", "1,234", "7%"]
    assert " ".join(lines[8]).endswith("head: 0:42 left, then top (8 epochs)")


def test_what_validation_and_waiting_mean_stands_below():
    said = [" ".join(line) for line in shown(BEGUN, merit_name="mean IoU")]
    assert "validation: mean IoU on pictures that are not trained on" in said
    assert "waiting: share of the time spent waiting for pictures" in said


def test_a_finished_stage_is_one_line_and_the_last_stage_tells_the_time_of_the_run():
    rolled_back = Event("finished", "top", 2, values={**HEAD_DONE.values, "epochs": 8, "kept": False})
    events = [*BEGUN[:1], HEAD_DONE, Event("stage", "top: the head and blocks 3, 4 learn", done=1)]
    lines = shown([*events, epoch("top", 4, 8), step("top", 5, 0, 9)])
    assert lines[1] == ["head", "20/20", "0.400", "84.0%", "5,000", "kept"]
    assert " ".join(lines[-3]).endswith("0:16 left")
    assert shown([*events, rolled_back])[2] == ["top", "8/8", "0.400", "84.0%", "5,000", "rolled", "back"]


def test_a_stage_that_goes_on_after_a_resume_counts_the_epochs_of_the_process_before():
    events = [*BEGUN[:2], step("head", 13, 1, 4), epoch("head", 13, 20)]
    lines = shown([*events, step("head", 14, 2, 4)])
    assert lines[1][:2] == ["head", "13/20"]
    assert lines[1][-1] == "0:26"


def test_a_stage_that_seconds_decide_shows_what_is_left_of_them():
    events = [
        Event("stages", "scratch", total=1, values={"scratch": 0}),
        Event("stage", "scratch: everything learns", done=0, values={"budget_seconds": 3700.0}),
        epoch("scratch", 3, None),
    ]
    assert shown(events)[1] == ["scratch", "3", "0.300", "53.0%", "1,234", "7%", "1:01:00"]


def test_notes_stay_above_the_table_on_a_terminal_and_ctrl_c_is_one_sentence():
    console = Console(file=io.StringIO(), width=100, force_terminal=True)

    def stopped():
        with live.live(console=console) as listener:
            for event in (*BEGUN, Event("note", "12 MB of features stored once"), epoch("head", 1, 20)):
                listener(event)
            raise KeyboardInterrupt

    with pytest.raises(StoppedError, match="the same command goes on from there"):
        stopped()
    text = console.file.getvalue()
    assert "12 MB of features stored once" in text
    assert "1/20" in text
