"""The largest face of each picture, cut out before anything else looks at it."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data import faces, sources
from keras_transfer.data.pictures import read_pictures
from keras_transfer.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_CACHE", str(tmp_path / "cache"))


def people(folder, names=("ann", "bob", "cid", "dan", "eve", "fay"), pictures=3):
    """Pictures of noise with a bright square of 20 pixels, at another place in each: that is a face here."""
    for name in names:
        (folder / name).mkdir(parents=True)
        for each in range(pictures):
            seed = np.random.default_rng([each, *map(ord, name)])
            pixels = seed.integers(0, 120, (60, 80, 3), np.uint8)
            pixels[10 + each : 30 + each, 40:60] = 250
            Image.fromarray(pixels).save(folder / name / f"{each}.png")
    return folder


def bright(grey):
    rows, columns = np.nonzero(grey > 240)
    if not len(rows):
        return []
    left, top = int(columns.min()), int(rows.min())
    return [(0, 0, 5, 5), (left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)]


def test_the_largest_face_is_cut_out_with_a_margin(tmp_path):
    place = faces.cropped(people(tmp_path / "people"), find=bright)
    with Image.open(place / "ann" / "1.png.png") as picture:
        assert picture.size == (28, 28)
        assert np.asarray(picture)[4:24, 4:24].min() == 250


def test_a_picture_without_a_face_is_left_out_and_named(tmp_path):
    folder = people(tmp_path / "people")
    Image.new("RGB", (60, 60), "black").save(folder / "ann" / "empty.png")
    told = []
    place = faces.cropped(folder, find=bright, listener=told.append)
    assert "1 of 19 pictures show no face and are left out" in told[0].message
    assert told[0].message.endswith("empty.png")
    assert len(list(place.glob("*/*.png"))) == 18


def test_faces_are_looked_for_once_until_a_picture_changes(tmp_path):
    folder, looked = people(tmp_path / "people"), []

    def counted(grey):
        looked.append(1)
        return bright(grey)

    first = faces.cropped(folder, find=counted)
    assert faces.cropped(folder, find=counted) == first
    assert len(looked) == 18
    Image.fromarray(np.full((50, 50, 3), 250, np.uint8)).save(folder / "ann" / "0.png")
    assert faces.cropped(folder, find=counted) != first


def test_what_cannot_be_read_is_passed_on_to_who_says_so(tmp_path):
    folder = people(tmp_path / "people")
    (folder / "ann" / "torn.png").write_bytes(b"no picture")
    assert (faces.cropped(folder, find=bright) / "ann" / "torn.png").read_bytes() == b"no picture"


def test_a_folder_without_a_face_is_refused(tmp_path):
    folder = people(tmp_path / "people", names=("ann",))
    with pytest.raises(
        DataError, match=r"There is no face in any of 3 pictures of '.*people'\. Name it without faces:"
    ):
        faces.cropped(folder, find=lambda grey: [])
    with pytest.raises(DataError, match="There is no folder 'nowhere' to look for faces in"):
        sources.load("faces:nowhere", annotation="identity")


def test_an_opencv_without_cascades_says_what_to_install(monkeypatch):
    import cv2

    monkeypatch.setattr(cv2.data, "haarcascades", "/nowhere/")
    monkeypatch.setattr(faces, "SYSTEM_FOLDERS", ())
    with pytest.raises(DataError, match=r"OpenCV [0-9.]+ does not bring it\. Install it: apt install opencv-data"):
        faces.cascade()


def test_an_opencv_without_its_contributed_modules_says_what_to_install(tmp_path, monkeypatch):
    import cv2

    (tmp_path / faces.CASCADE).write_text("")
    monkeypatch.setattr(faces, "SYSTEM_FOLDERS", (tmp_path,))
    monkeypatch.delattr(cv2, "CascadeClassifier", raising=False)
    with pytest.raises(
        DataError, match=r"as it is installed has none\. Install it: pip install 'keras_transfer\[faces\]'"
    ):
        faces.cascade()


def test_a_face_in_a_file_is_the_picture_that_a_source_of_faces_has_of_it(tmp_path):
    folder = people(tmp_path / "people")
    cut = faces.cropped(folder, find=bright)
    (read,) = faces.read_faces([folder / "ann" / "1.png"], image_size=32, aspect="stretch", find=bright)
    assert (read == read_pictures([cut / "ann" / "1.png.png"], image_size=32, aspect="stretch")[0]).all()


def test_a_file_without_a_face_or_that_is_no_picture_is_named_in_one_sentence(tmp_path):
    Image.new("RGB", (60, 60), "black").save(tmp_path / "empty.png")
    (tmp_path / "torn.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"empty\.png' shows no face that can be found\. .* say so: --crop none"):
        faces.read_faces([tmp_path / "empty.png"], image_size=32, aspect="stretch", find=bright)
    with pytest.raises(DataError, match=r"torn\.png' is not a picture"):
        faces.read_faces([tmp_path / "torn.png"], image_size=32, aspect="stretch", find=bright)


def test_faces_are_cut_out_without_tensorflow():
    code = "import sys; from keras_transfer.data import faces; assert 'tensorflow' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_faces_of_a_folder_are_a_source_of_identities(tmp_path, monkeypatch):
    monkeypatch.setattr(faces, "cascade", lambda: bright)
    source = f"faces:{people(tmp_path / 'people')}"
    assert sources.recognised(source).name == "faces"
    splits = sources.load(source, annotation="identity")
    assert splits.source == source
    assert sum(splits.counts.values()) == 18
    assert splits.typical_size == 28


def test_a_source_of_faces_is_found_from_where_it_was_written(tmp_path):
    people(tmp_path / "people")
    (tmp_path / "runs" / "one").mkdir(parents=True)
    found = sources.located("faces:people", beside=tmp_path / "runs" / "one")
    assert found == f"faces:{tmp_path / 'people'}"
