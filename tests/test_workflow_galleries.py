"""Galleries without a training: who is known, who is not, and which files are none."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data import faces
from keras_transfer.errors import ArtifactError, DataError, UsageError
from keras_transfer.specs import Answers, Contract, Output, Plan
from keras_transfer.workflow import galleries, using
from keras_transfer.workflow.galleries import Gallery
from keras_transfer.workflow.using import Asked

CONTRACT = Contract(
    class_names=(),
    image_size=16,
    task="embedding",
    outputs=(Output(name="embedding", shape=(3,)),),
    thresholds=(0.9,),
    run_digest="ab" * 32,
)


def colour(images: np.ndarray) -> Answers:
    """The mean colour of each picture as a place of unit length: a network that tells colours apart."""
    means = images.reshape(len(images), -1, 3).mean(axis=1) + 1e-3
    return {"embedding": (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Every model answers by the colour of a picture; no file of one is opened."""
    monkeypatch.setattr(galleries, "located", lambda model: (Path(model), None))
    monkeypatch.setattr(galleries, "asked", lambda path, run, labels: Asked(CONTRACT, colour))
    return tmp_path / "model.tflite"


def people(folder, **colours):
    """A folder for each name, with pictures of its colour, a little darker each."""
    for name, rgb in colours.items():
        (folder / name).mkdir(parents=True)
        for number in range(2):
            pixels = np.full((16, 16, 3), rgb, np.uint8)
            pixels[: number + 2] //= 2
            pixels[0, 0, (number + len(name)) % 3] = 255
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


RED, GREEN, BLUE = (220, 20, 20), (20, 220, 20), (20, 20, 220)


def test_a_gallery_has_a_row_for_each_picture_of_each_name_and_lies_beside_the_model(asked, tmp_path):
    path = galleries.gallery(asked, people(tmp_path / "people", ann=RED, bob=GREEN))
    assert path == tmp_path / "gallery.npz"
    found = galleries.read(path, CONTRACT)
    assert found.names == ("ann", "ann", "bob", "bob")
    assert found.embeddings.shape == (4, 3)
    assert np.linalg.norm(found.embeddings, axis=1) == pytest.approx(1)
    assert (found.threshold, found.digest, found.people) == (0.9, CONTRACT.run_digest, 2)


def test_who_is_near_enough_is_named_and_who_is_not_is_unknown(asked, tmp_path):
    known = galleries.read(galleries.gallery(asked, people(tmp_path / "people", ann=RED, bob=GREEN)), CONTRACT)
    shown = np.stack([np.full((16, 16, 3), rgb, np.uint8) for rgb in (RED, GREEN, BLUE)])
    said = galleries.recognized(known, colour(shown)["embedding"])
    assert [each["name"] for each in said] == ["ann", "bob", galleries.UNKNOWN]
    assert said[2]["nearest"] in ("ann", "bob")
    assert all(each["threshold"] == 0.9 for each in said)
    assert said[2]["cosine"] < 0.9 <= said[0]["cosine"]


def test_whoever_lies_at_the_threshold_is_known():
    known = Gallery(("ann",), np.array([[1, 0]], np.float32), digest="", threshold=0.5)
    (said,) = galleries.recognized(known, np.array([[0.5, 0.75**0.5]]))
    assert said["name"] == "ann"


def test_someone_who_is_added_keeps_everyone_else(asked, tmp_path):
    path = galleries.gallery(asked, people(tmp_path / "people", ann=RED, bob=GREEN))
    before = galleries.read(path, CONTRACT)
    assert galleries.gallery(asked, people(tmp_path / "more", cid=BLUE), add=True) == path
    after = galleries.read(path, CONTRACT)
    assert after.names == (*before.names, "cid", "cid")
    assert (after.embeddings[:4] == before.embeddings).all()


def test_adding_to_a_gallery_that_is_not_there_says_how_one_is_made(asked, tmp_path):
    with pytest.raises(ArtifactError, match=r"There is no gallery at '.*'\. Make one: keras-transfer gallery"):
        galleries.gallery(asked, people(tmp_path / "more", cid=BLUE), add=True)


def test_someone_who_is_known_under_another_name_already_is_refused_and_nothing_is_written(asked, tmp_path):
    path = galleries.gallery(asked, people(tmp_path / "people", ann=RED, bob=GREEN))
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"a picture of 'ann' in the gallery is 'ann' and .* is 'eve'"):
        galleries.gallery(asked, people(tmp_path / "more", eve=RED), add=True)
    assert path.read_bytes() == before


def test_someone_known_by_one_picture_is_told_of(asked, tmp_path):
    folder = people(tmp_path / "people", ann=RED, bob=GREEN)
    (folder / "bob" / "1.png").unlink()
    told = []
    galleries.gallery(asked, folder, listener=told.append)
    assert [event.message for event in told] == ["Known by one picture alone: 1, the first 'bob'. Add others."]


def test_hidden_folders_and_loose_files_are_nobody(asked, tmp_path):
    folder = people(tmp_path / "people", ann=RED, bob=GREEN)
    (folder / ".cache").mkdir()
    (folder / "notes.txt").write_text("nobody")
    assert set(galleries.read(galleries.gallery(asked, folder), CONTRACT).names) == {"ann", "bob"}


def test_a_gallery_goes_where_it_is_told(asked, tmp_path):
    place = tmp_path / "deep" / "who.npz"
    assert galleries.gallery(asked, people(tmp_path / "people", ann=RED, bob=GREEN), file=place) == place
    assert galleries.read(place, CONTRACT).people == 2


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("gone", r"There is no folder '.*gone'\. A gallery is made of a folder for each name: ann/1\.jpg\."),
        ("empty", r"'.*empty' would make an empty gallery\. Put in a folder with pictures for each name"),
    ],
)
def test_a_folder_that_holds_nobody_is_one_sentence(asked, tmp_path, folder, sentence):
    (tmp_path / "empty" / "ann").mkdir(parents=True)
    with pytest.raises(DataError, match=sentence):
        galleries.gallery(asked, tmp_path / folder)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_a_file_that_is_no_gallery_is_one_sentence(tmp_path, content):
    (tmp_path / "gallery.npz").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"gallery\.npz' is not a gallery that can be read"):
        galleries.read(tmp_path / "gallery.npz", CONTRACT)


def test_an_archive_of_other_things_is_no_gallery(tmp_path):
    np.savez(tmp_path / "gallery.npz", names=np.array(["ann"]))
    with pytest.raises(ArtifactError, match="is not a gallery that can be read"):
        galleries.read(tmp_path / "gallery.npz", CONTRACT)


def test_names_and_places_that_do_not_match_are_no_gallery():
    with pytest.raises(ValueError, match="2 names but 1 embeddings"):
        Gallery(("ann", "bob"), np.zeros((1, 3), np.float32), digest="", threshold=0.5)


def test_a_gallery_of_nobody_is_refused(tmp_path):
    empty = Gallery((), np.zeros((0, 3), np.float32), digest=CONTRACT.run_digest, threshold=0.5)
    galleries._write(empty, tmp_path / "gallery.npz")
    with pytest.raises(ArtifactError, match=r"knows nobody\. Make it anew: keras-transfer gallery RUN FOLDER"):
        galleries.read(tmp_path / "gallery.npz", CONTRACT)


def test_a_gallery_of_another_run_names_both(asked, tmp_path):
    path = galleries.gallery(asked, people(tmp_path / "people", ann=RED, bob=GREEN))
    other = CONTRACT.model_copy(update={"run_digest": "cd" * 32})
    with pytest.raises(ArtifactError, match=r"It is of the run abababababab, the model of cdcdcdcdcdcd\. Make it anew"):
        galleries.read(path, other)


def test_a_model_without_a_threshold_is_asked_for_one():
    with pytest.raises(UsageError, match=r"carries no threshold, so nobody could be unknown\. Export its run again\."):
        galleries.check(CONTRACT.model_copy(update={"thresholds": ()}))


def test_a_classifier_says_which_task_makes_galleries():
    contract = Contract(class_names=("cat", "dog"), image_size=32)
    with pytest.raises(UsageError, match=r"this one is of classification\. Train one: keras-transfer train SOURCE"):
        galleries.check(contract)


@pytest.fixture
def learned_faces(asked, monkeypatch):
    """The model belongs to a run whose pictures were faces; whatever is brighter than the rest of a picture is one."""
    run = SimpleNamespace(folder=asked.parent, record=SimpleNamespace(plan=Plan(data="faces:people")))
    for module in (galleries, using):
        monkeypatch.setattr(module, "located", lambda model: (Path(model), run))
        monkeypatch.setattr(module, "asked", lambda path, run, labels: Asked(CONTRACT, colour))
    monkeypatch.setattr(faces, "cascade", lambda: lambda grey: [(20, 20, 20, 20)] if grey.max() > 60 else [])
    monkeypatch.setenv("KERAS_TRANSFER_CACHE", str(asked.parent / "cache"))
    return asked


def photo(path, rgb, seed=0):
    """A blue picture with a face of some colour in it."""
    pixels = np.full((60, 60, 3), (0, 0, 90), np.uint8)
    pixels[16 + seed : 44, 16:44] = rgb
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_a_run_on_faces_cuts_them_out_of_a_gallery_and_of_what_it_is_asked(learned_faces, tmp_path):
    for name, rgb in (("ann", RED), ("bob", GREEN)):
        for number in range(2):
            photo(tmp_path / "people" / name / f"{number}.png", rgb, seed=number)
    path = galleries.gallery(learned_faces, tmp_path / "people")
    asked_of = photo(tmp_path / "photo.png", (200, 40, 40))
    (said,) = using.predict(learned_faces, [asked_of], gallery=path)
    assert (said.name, said.cosine > 0.99) == ("ann", True)
    (whole,) = using.predict(learned_faces, [asked_of], gallery=path, crop="none")
    assert whole.cosine < said.cosine


def test_a_picture_without_a_face_is_named_where_the_run_learned_faces(learned_faces, tmp_path):
    Image.new("RGB", (60, 60), "black").save(tmp_path / "wall.png")
    with pytest.raises(DataError, match=r"wall\.png' shows no face that can be found"):
        using.predict(learned_faces, [tmp_path / "wall.png"])


@pytest.mark.parametrize(
    ("crop", "frames", "sentence"),
    [
        ("faces", 0, "Unknown crop 'faces'. Did you mean 'face'?"),
        ("face", 8, "Faces are cut out of pictures, and this model takes videos: leave --crop out."),
    ],
)
def test_what_cannot_be_cut_out_is_one_sentence(crop, frames, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        using.cuts_faces(CONTRACT.model_copy(update={"frames": frames}), None, crop)
