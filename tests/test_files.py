"""Only files are read, and no more of them than they may hold: what never ends or never answers is refused at once."""

import errno
import io
import json
import os
import socket
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_transfer import files, plan, runs
from keras_transfer.data import clips, coco, manifests, mask_files, pairs, sources, voc, yolo
from keras_transfer.data.decoding import stored_size, upright_rgb, upright_size
from keras_transfer.data.files import facts_of
from keras_transfer.data.pictures import read_pictures
from keras_transfer.errors import ArtifactError, DataError, RunError, UsageError
from keras_transfer.export import runtime
from keras_transfer.training import checkpoints


def device(path):
    path.symlink_to("/dev/zero")


def pipe(path):
    os.mkfifo(path)


def unix_socket(path):
    home = os.getcwd()
    os.chdir(path.parent)  # such names may have 108 bytes
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(home)


def endless(path):
    with path.open("wb") as file:
        file.truncate(2**40)


ODD = {"a device": device, "a pipe": pipe, "a socket": unix_socket, "1,099,511,627,776 bytes": endless}
every_odd_file = pytest.mark.parametrize("said", ODD)


@every_odd_file
def test_what_is_no_file_to_be_read_is_refused_at_once(said, tmp_path):
    ODD[said](tmp_path / "odd")
    with pytest.raises(OSError, match=said):
        files.read_bytes(tmp_path / "odd", 2**20)


def test_a_link_to_a_file_and_a_file_of_exactly_so_many_bytes_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("file")
    assert files.read_bytes(tmp_path / "link", 4) == b"1234"
    with pytest.raises(OSError, match=r"it holds 4 bytes, and at most 3 are read") as caught:
        files.read_bytes(tmp_path / "link", 3)
    assert caught.value.errno == errno.EFBIG


def classes(folder):
    """Two class folders of readable pictures."""
    for number, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for each in range(8):
            pixels = np.random.default_rng(8 * number + each).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{each}.png")
    return folder


@every_odd_file
def test_doctor_and_train_leave_out_what_is_no_file_and_name_it(said, tmp_path):
    root = classes(tmp_path / "pictures")
    ODD[said](root / "cat" / "odd.jpg")
    (skipped,) = sources.load(str(root)).skipped
    assert skipped.startswith("cat/odd.jpg cannot be read: ")
    assert said in skipped


@every_odd_file
def test_predict_names_what_is_no_file(said, tmp_path):
    ODD[said](tmp_path / "odd.jpg")
    with pytest.raises(DataError, match=rf"odd.jpg' cannot be read: it .*{said}"):
        read_pictures([tmp_path / "odd.jpg"], image_size=16, aspect="stretch")
    assert upright_size(str(tmp_path / "odd.jpg")) is None
    assert stored_size(str(tmp_path / "odd.jpg")) is None


@pytest.mark.parametrize("said", ["a device", "a pipe", "a socket"])
def test_videos_are_files_too_but_may_be_larger(said, tmp_path):
    ODD[said](tmp_path / "odd.mp4")
    assert said in facts_of([str(tmp_path / "odd.mp4")], videos=True)[0].problem
    with pytest.raises(DataError, match=rf"cannot be read: it is {said}"):
        clips.facts_of(tmp_path / "odd.mp4")
    (tmp_path / "large.mp4").write_bytes(b"")
    os.truncate(tmp_path / "large.mp4", files.MOST_PICTURE_BYTES + 1)
    (fact,) = facts_of([str(tmp_path / "large.mp4")], videos=True)
    assert (fact.size_bytes, fact.problem) == (files.MOST_PICTURE_BYTES + 1, "")


def as_table(odd, root):
    path = root / "table.csv"
    odd(path)
    manifests.load(str(path))


def as_parquet(odd, root):
    path = root / "table.parquet"
    odd(path)
    manifests.load(str(path))


def as_coco(odd, root):
    odd(root / "instances.json")
    coco.load(str(root))


def as_pairs(odd, root):
    odd(root / "pairs.txt")
    pairs.read(str(root / "pairs.txt"))


def as_yolo_card(odd, root):
    odd(root / "data.yaml")
    yolo.load(str(root))


def as_yolo_boxes(odd, root):
    (root / "data.yaml").write_text("names: [cat, dog]\ntrain: images/train")
    for each in ("images", "labels"):
        (root / each / "train").mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(root / "images" / "train" / "a.png")
    odd(root / "labels" / "train" / "a.txt")
    yolo.load(str(root))


def as_voc_boxes(odd, root):
    for each in ("JPEGImages", "Annotations"):
        (root / each).mkdir()
    Image.new("RGB", (16, 16)).save(root / "JPEGImages" / "a.jpg")
    odd(root / "Annotations" / "a.xml")
    voc.load(str(root))


def as_voc_list(odd, root):
    for each in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / each).mkdir(parents=True)
    odd(root / "ImageSets" / "Main" / "train.txt")
    voc.load(str(root))


def as_mask(odd, root):
    odd(root / "mask.png")
    mask_files.read_mask(str(root / "mask.png"), mask_files.Classes(("a", "b"), {0: 0, 1: 1}, False, None))


def as_classes(odd, root):
    odd(root / "classes.csv")
    mask_files.read_classes(root / "classes.csv")


@pytest.mark.parametrize("said", ["a device", "a pipe"])
@pytest.mark.parametrize(
    "read",
    [
        as_table,
        as_parquet,
        as_coco,
        as_pairs,
        as_yolo_card,
        as_yolo_boxes,
        as_voc_boxes,
        as_voc_list,
        as_mask,
        as_classes,
    ],
)
def test_annotations_are_read_from_files_alone(read, said, tmp_path):
    with pytest.raises((DataError, UsageError)):
        read(ODD[said], tmp_path)


@every_odd_file
def test_a_model_is_a_file_or_a_folder_of_files(said, tmp_path):
    (tmp_path / "saved_model" / "variables").mkdir(parents=True)
    (tmp_path / "saved_model" / "saved_model.pb").write_bytes(b"")
    ODD[said](tmp_path / "saved_model" / "variables" / "variables.index")
    for place in (tmp_path / "saved_model", tmp_path / "model.tflite"):
        if not place.exists():
            ODD[said](place)
        with pytest.raises(ArtifactError, match=rf"'{place}' cannot be read: it .*{said}"):
            runtime.load(place)


@every_odd_file
def test_records_plans_and_checkpoints_are_read_from_files_alone(said, tmp_path):
    for name in (runs.RECORD, "plan.toml", "weights.npz"):
        ODD[said](tmp_path / name)
    with pytest.raises(RunError, match=rf"run.json' is not a run record that can be read: it .*{said}"):
        runs.open_run(tmp_path)
    with pytest.raises(UsageError, match=r"is not a TOML file that can be read"):
        plan.read(tmp_path / "plan.toml")
    with pytest.raises(RunError, match=r"cannot be read"):
        checkpoints.load(tmp_path / "weights.npz")


def test_arrays_come_back_as_they_were_written(tmp_path):
    np.savez(tmp_path / "some.npz", a=np.arange(6).reshape(2, 3), name=np.array("ann"), none=np.zeros((0, 3)))
    found = files.read_arrays(tmp_path / "some.npz")
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert str(found["name"]) == "ann"
    assert found["none"].shape == (0, 3)


def npz(path, header, content=b"", how=zipfile.ZIP_STORED):
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, header)
    with zipfile.ZipFile(path, "w", how) as packed:
        packed.writestr("a.npy", member.getvalue() + content)
    return path


def test_arrays_take_no_more_memory_than_their_file_holds(tmp_path):
    vast = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    with pytest.raises(ValueError, match=r"'a.npy' declares .1000000000000,. of float64, more than the file holds"):
        files.read_arrays(npz(tmp_path / "declared.npz", vast))
    small = {"descr": "|u1", "fortran_order": False, "shape": (10**6,)}
    with pytest.raises(ValueError, match=r"'a.npy' is compressed"):
        files.read_arrays(npz(tmp_path / "packed.npz", small, bytes(10**6), zipfile.ZIP_DEFLATED))


def test_arrays_of_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "objects.npz", a=np.array([print], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"more than the file holds|allow_pickle"):
        files.read_arrays(tmp_path / "objects.npz")


def png(width, height):
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    encoded = bytearray(content.getvalue())
    encoded[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    encoded[29:33] = zlib.crc32(bytes(encoded[12:29])).to_bytes(4, "big")
    return bytes(encoded)


@pytest.mark.parametrize("size", [(13_378, 13_378), (65_535, 65_535), (2**31 - 1, 2**31 - 1)])
def test_a_mask_or_a_picture_that_declares_more_pixels_than_any_photograph_is_refused_before_memory_is_taken(
    size, tmp_path
):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(*size))
    with pytest.raises(DataError, match=r"declares .* more than any photograph|declares more pixels than any"):
        upright_rgb(path.read_bytes())
    with pytest.raises(DataError, match=r"The mask '.*mask\.png' declares .* than any photograph"):
        as_mask(lambda place: place.symlink_to(path), tmp_path)


def test_a_file_that_ghostscript_would_run_is_no_picture(tmp_path):
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "EPS")
    with pytest.raises(DataError, match=r"it begins as no known kind of picture does"):
        upright_rgb(content.getvalue())


def thing(tmp_path, segmentation, height=8, width=8):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    annotations = [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}]
    image = {"id": 1, "file_name": "a.png", "height": height, "width": width}
    content = {"images": [image], "categories": categories, "annotations": annotations}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    coco.load(str(tmp_path), annotation="mask")


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ({"size": [10**6, 10**6], "counts": [10**12]}, "its size is"),
        ({"size": [8, 8], "counts": "0PPPPPP4"}, "its runs cover"),
        ({"size": [8, 8], "counts": [60, 60]}, "its runs cover 120 pixels of 64"),
        ([[0, 0, 1e12, 0, 0, 1e12]], "a corner lies at 1e[+]12, far outside of the picture"),
        ([[0, 0, float("nan"), 0, 5, 5]], "a corner lies at nan"),
    ],
)
def test_a_shape_of_coco_takes_no_memory_by_its_own_word(segmentation, said, tmp_path):
    with pytest.raises(DataError, match=said):
        thing(tmp_path, segmentation)


def test_an_image_of_coco_that_declares_more_pixels_than_any_photograph_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"image 1 declares 100000 x 100000 pixels, more than any photograph"):
        thing(tmp_path, [[0, 0, 4, 0, 4, 4]], 100_000, 100_000)


def test_a_card_of_yolo_cannot_expand(tmp_path):
    (tmp_path / "data.yaml").write_text("a: &a [x, x]\nnames: [*a, *a]\ntrain: images")
    with pytest.raises(DataError, match=r"data.yaml' refers to its own parts \(\*name\)"):
        yolo.load(str(tmp_path))


def test_a_parquet_table_that_declares_more_cells_than_are_read_is_refused(tmp_path, monkeypatch):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"path": ["a.png"] * 9, "label": ["cat"] * 9}), tmp_path / "table.parquet")
    monkeypatch.setattr(manifests, "MOST_CELLS", 17)
    with pytest.raises(DataError, match=r"declares 18 cells, and at most 17 are read"):
        manifests.load(str(tmp_path / "table.parquet"))


@pytest.mark.parametrize("stem", ["../outside", "/etc/passwd", "a/../../b"])
def test_a_list_of_voc_names_no_picture_outside_of_its_folder(stem, tmp_path):
    for each in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / each).mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text(stem)
    with pytest.raises(DataError, match=r"the pictures it names must stay in the folder"):
        voc.load(str(tmp_path))


def test_a_list_of_pairs_names_no_picture_outside_of_its_folder(tmp_path):
    (tmp_path / "pairs.txt").write_text("2 1\n.. 1 2\na 1 b 2\na 1 2\na 1 b 2\n")
    with pytest.raises(DataError, match=r"Line 2 of"):
        pairs.read(str(tmp_path / "pairs.txt"))


def test_a_user_without_a_home_has_a_cache_for_as_long_as_the_process_lasts(monkeypatch):
    for name in ("KERAS_TRANSFER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a mock: whoever runs this has a home
    assert files.cache_folder().is_dir()
    assert files.cache_folder() == files.cache_folder()


def test_a_folder_named_like_somebodys_home_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~nobody-of-that-name").mkdir()
    with pytest.raises(DataError, match="nobody-of-that-name"):
        sources.load("~nobody-of-that-name")
