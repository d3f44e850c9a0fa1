"""Pictures of identities: whom validation and test show is never trained on."""

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data import augment, pipeline, sources
from keras_transfer.data.annotations import ANNOTATIONS
from keras_transfer.data.doctor import examine
from keras_transfer.errors import DataError, UsageError
from keras_transfer.order import TOGETHER, of_epoch


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)).save(path)


def people(folder, *, names, pictures=3, start=0):
    for number, name in enumerate(names, start=start):
        for each in range(pictures):
            picture(folder / name / f"{each}.png", 1000 * number + each)
    return folder


def shown(splits, split):
    return {splits.class_names[label] for label in splits[split].labels}


@pytest.fixture
def many(tmp_path):
    return people(tmp_path / "people", names=[f"person-{n:02d}" for n in range(20)])


def test_each_identity_stands_wholly_in_one_split(many):
    splits = sources.load(str(many), annotation="identity")
    sides = [shown(splits, name) for name in ("train", "validation", "test")]
    assert sum(map(len, sides)) == 20 == len(set.union(*sides))
    assert [len(side) for side in sides[1:]] >= [2, 2]


def test_identities_that_training_shows_come_first(many):
    splits = sources.load(str(many), annotation="identity")
    assert set(splits.known_names) == shown(splits, "train")
    assert splits.class_names[: splits.known] == splits.known_names
    assert min(splits.test.labels) >= len(splits.known_names)


def test_more_identities_leave_most_of_the_others_where_they_were(many):
    before = sources.load(str(many), annotation="identity")
    people(many, names=["zoe", "zack"], start=50)
    after = sources.load(str(many), annotation="identity")
    assert shown(before, "test") <= shown(after, "test")


def test_splits_of_the_source_are_kept(tmp_path):
    people(tmp_path / "train", names=["ann", "bob", "cid"])
    people(tmp_path / "validation", names=["dan", "eve"], start=10)
    people(tmp_path / "test", names=["fay", "gus"], start=20)
    splits = sources.load(str(tmp_path), annotation="identity")
    assert splits.known_names == ("ann", "bob", "cid")
    assert shown(splits, "test") == {"fay", "gus"}


def test_an_identity_on_both_sides_is_refused_in_one_sentence(tmp_path):
    people(tmp_path / "train", names=["ann", "bob"])
    people(tmp_path / "test", names=["ann", "cid"], start=20)
    with pytest.raises(DataError, match=r"'ann' in .* stands in (train and test|test and train)"):
        sources.load(str(tmp_path), annotation="identity")


def test_a_single_picture_is_trained_on_and_never_judged_by(many):
    picture(many / "lonely" / "1.png", 99_000)
    splits = sources.load(str(many), annotation="identity")
    assert "lonely" in splits.known_names


def test_a_single_picture_of_a_given_test_split_is_left_out_and_named(tmp_path):
    people(tmp_path / "train", names=["ann", "bob", "dan", "eve"])
    people(tmp_path / "validation", names=["hal", "ida"], start=30)
    people(tmp_path / "test", names=["fay", "gus"], start=20)
    picture(tmp_path / "test" / "lonely" / "1.png", 99_000)
    splits = sources.load(str(tmp_path), annotation="identity")
    assert shown(splits, "test") == {"fay", "gus"}
    assert any("test/lonely/1.png is the one picture of 'lonely'" in each for each in splits.skipped)


def test_too_few_identities_are_refused_with_how_many_it_takes(tmp_path):
    people(tmp_path, names=["ann", "bob", "cid"])
    with pytest.raises(DataError, match="3 of 3 identities have two pictures or more, and 6 are the least"):
        sources.load(str(tmp_path), annotation="identity")


def test_one_picture_of_each_identity_is_refused_in_one_sentence(tmp_path):
    people(tmp_path, names=[f"person-{n:02d}" for n in range(8)], pictures=1)
    with pytest.raises(DataError) as refused:
        sources.load(str(tmp_path), annotation="identity")
    assert str(refused.value) == (
        "0 of 8 identities have two pictures or more, and 6 are the least that can be divided into train and "
        "validation and test. Add pictures of more."
    )


def found(folder, kind):
    return [each.message for each in examine(sources.load(str(folder), annotation="identity")).diagnosis.of(kind)]


def test_the_doctor_finds_nothing_wrong_with_few_pictures_of_many_and_names_of_whom_there_is_one(many):
    assert examine(sources.load(str(many), annotation="identity")).diagnosis.findings == ()
    picture(many / "lonely" / "1.png", 99_000)
    assert found(many, "one picture") == [
        "There is one picture of 'lonely', which can be compared with no other: add one, or leave it out."
    ]


@pytest.mark.parametrize("other", ["train/zoe", "test/fay"], ids=["within a split", "across splits"])
def test_the_doctor_finds_near_copies_under_two_names(tmp_path, other):
    people(tmp_path / "train", names=["ann", "bob", "zoe"])
    people(tmp_path / "validation", names=["hal", "ida"], start=30)
    people(tmp_path / "test", names=["fay", "gus"], start=20)
    pixels = np.asarray(Image.open(tmp_path / "train/ann/1.png"))
    Image.fromarray(np.minimum(pixels, 250) + np.uint8(2)).save(tmp_path / other / "copy.png")
    split, name = other.split("/")
    assert found(tmp_path, "near duplicate across labels") == [
        f"{first} and {second} look the same, and are called ann and {name}. Is it one under two names? "
        "Put both under one, or take the wrong picture out."
        for first, second in [("train: train/ann/1.png", f"{split}: {other}/copy.png")]
    ]
    assert found(tmp_path, "near duplicate across splits") == []


def test_the_doctor_finds_one_picture_under_two_names(many):
    known, others = (sorted(shown(sources.load(str(many), annotation="identity"), name)) for name in ("train", "test"))
    first, second = known[:2]
    (many / first / "copy.png").write_bytes((many / second / "1.png").read_bytes())
    (many / first / "judged.png").write_bytes((many / others[0] / "1.png").read_bytes())
    assert found(many, "duplicate across labels") == [
        f"One picture is called {first} and {second}. Is it one under two names? "
        "Put both under one, or take the wrong picture out."
    ]
    assert found(many, "left out") == [
        f"Left out while loading: {first}/judged.png is also a validation or test picture of '{others[0]}', and here "
        f"of '{first}', so it is not trained on."
    ]


@pytest.mark.parametrize("column", ["identity", "label"])
def test_a_table_says_who_it_is(many, column):
    rows = [f"path,{column}", *(f"{p.relative_to(many)},{p.parent.name}" for p in sorted(many.glob("*/*.png")))]
    (many / "table.csv").write_text("\n".join(rows))
    splits = sources.load(str(many / "table.csv"), annotation="identity")
    assert splits.digest == sources.load(str(many), annotation="identity").digest


def test_targets_are_positions(many):
    splits = sources.load(str(many), annotation="identity")
    feed = pipeline.make_feed(splits)
    _, targets, _ = next(iter(feed("train", image_size=16, batch_size=4)))
    assert targets.shape == (4, 1)
    assert targets.numpy()[:, 0].tolist() == splits.train.labels[:4].tolist()


def test_identities_are_never_mixed():
    with pytest.raises(UsageError, match="'strong' mixes pictures, which those with who or what it is"):
        augment.policy("strong", ANNOTATIONS["identity"])


def test_pairs_lay_pictures_of_one_identity_side_by_side():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 9))
    order = of_epoch(90, seed=0, epoch=0, labels=labels, balance="pairs")
    assert sorted(order.tolist()) == list(range(90))
    changes = np.flatnonzero(np.diff(labels[order])) + 1
    runs = np.diff([0, *changes, 90])
    assert runs.min() >= TOGETHER


def test_pairs_are_a_function_of_seed_and_epoch():
    labels = np.repeat(np.arange(5), 8)
    first, again, next_one = (of_epoch(40, seed=1, epoch=e, labels=labels, balance="pairs") for e in (3, 3, 4))
    assert first.tolist() == again.tolist() != next_one.tolist()


def test_pairs_need_one_class_a_picture():
    with pytest.raises(ValueError, match="Pairs need one class a picture"):
        of_epoch(2, seed=0, epoch=0, labels=np.ones((2, 3), bool), balance="pairs")
