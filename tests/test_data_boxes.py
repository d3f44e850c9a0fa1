"""Boxes of files: how they are read, refused, made square and moved with their pictures."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_transfer import drawing
from keras_transfer.data import augment, box_labels, cleaning, doctor_page, label_views
from keras_transfer.data.annotations import ANNOTATIONS
from keras_transfer.data.box_files import MOST_BOXES
from keras_transfer.data.doctor import examine
from keras_transfer.data.pipeline import make_feed
from keras_transfer.data.sources import load, recognised
from keras_transfer.errors import DataError, UsageError
from keras_transfer.tasks import detection

WIDTH, HEIGHT, COUNT = 40, 30, 12
BOXES = [(4, 3, 20, 15, "cat"), (10, 9, 38, 27, "dog")]


def boxes_of(number):
    """Cats in all pictures but the last, dogs in every second one."""
    return [] if number == COUNT - 1 else BOXES[: 1 + number % 2]


def draw(folder):
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(COUNT):
        Image.fromarray(random.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(folder / f"{number:02d}.png")


def xml(boxes, size=(WIDTH, HEIGHT)):
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        "</bndbox></object>"
        for x1, y1, x2, y2, name in boxes
    )
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation>{sides}{objects}</annotation>"


def as_voc(root):
    draw(root / "JPEGImages")
    (root / "Annotations").mkdir()
    for number in range(COUNT):
        (root / "Annotations" / f"{number:02d}.xml").write_text(xml(boxes_of(number)))
    return root


def as_coco(root):
    draw(root / "images")
    rows = [(number, box) for number in range(COUNT) for box in boxes_of(number)]
    content = {
        "images": [{"id": n, "file_name": f"{n:02d}.png", "width": WIDTH, "height": HEIGHT} for n in range(COUNT)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [
            {"id": i, "image_id": n, "category_id": {"cat": 3, "dog": 7}[name], "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for i, (n, (x1, y1, x2, y2, name)) in enumerate(rows)
        ],
    }
    (root / "instances.json").write_text(json.dumps(content))
    return root / "instances.json"


def as_yolo(root):
    draw(root / "images" / "train")
    (root / "labels" / "train").mkdir(parents=True)
    for number in range(COUNT):
        lines = [
            f"{('cat', 'dog').index(name)} {(x1 + x2) / 2 / WIDTH} {(y1 + y2) / 2 / HEIGHT} "
            f"{(x2 - x1) / WIDTH} {(y2 - y1) / HEIGHT}"
            for x1, y1, x2, y2, name in boxes_of(number)
        ]
        if lines:
            (root / "labels" / "train" / f"{number:02d}.txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n")
    return root


def as_table(root):
    draw(root / "pictures")
    lines = ["path,label,x1,y1,x2,y2"]
    for number in range(COUNT):
        path = f"pictures/{number:02d}.png"
        rows = [f"{path},{name},{x1},{y1},{x2},{y2}" for x1, y1, x2, y2, name in boxes_of(number)]
        lines += rows or [f"{path},,,,,"]
    (root / "boxes.csv").write_text("\n".join(lines))
    return root / "boxes.csv"


LAYOUTS = {"voc": as_voc, "coco": as_coco, "yolo": as_yolo, "manifest": as_table}


def by_key(splits):
    return {
        key[-6:]: box_labels.from_stored(label, splits.class_names)
        for name in splits.counts
        for key, label in zip(splits[name].keys, splits[name].labels, strict=True)
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_tells_the_same_boxes_and_pictures_without_any(tmp_path, layout):
    source = str(LAYOUTS[layout](tmp_path / layout))
    assert recognised(source).name == layout
    splits = load(source, annotation="boxes")
    found = by_key(splits)
    assert splits.class_names == ("cat", "dog")
    assert len(found) == COUNT
    for number in range(COUNT):
        label = found[f"{number:02d}.png"]
        assert label[:2] == (HEIGHT, WIDTH)
        wanted = [(y1 / HEIGHT, x1 / WIDTH, y2 / HEIGHT, x2 / WIDTH) for x1, y1, x2, y2, _ in boxes_of(number)]
        assert [name for *_, name in label.boxes] == [name for *_, name in boxes_of(number)]
        np.testing.assert_allclose([box[:4] for box in label.boxes], wanted, atol=1e-5)


def test_lists_of_voc_divide_its_pictures_and_one_in_none_is_told(tmp_path):
    root = as_voc(tmp_path / "voc")
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for name, numbers in (("train", range(8)), ("val", range(8, 10)), ("test", (10,)), ("trainval", range(10))):
        text = "\n".join(f"{number:02d}" for number in numbers)
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    splits = load(str(root), annotation="boxes")
    assert splits.counts == {"train": 8, "validation": 2, "test": 1}
    assert any("11, which no list" in each for each in splits.skipped)


def test_a_box_without_area_is_left_out_and_told(tmp_path):
    root, told = as_voc(tmp_path / "voc"), []
    (root / "Annotations" / "00.xml").write_text(xml([*BOXES, (5, 5, 5, 9, "dog")]))
    splits = load(str(root), annotation="boxes", listener=told.append)
    assert len(by_key(splits)["00.png"].boxes) == 2
    assert any("00.xml', box 3 (dog) has no area" in each for each in splits.skipped)
    assert any("Left out 1 boxes without area" in event.message for event in told)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (xml([(20, 3, 4, 15, "cat")]), r"00.xml', box 1 \(cat\): its corners are reversed.* Received: x 20 to 4"),
        (xml([(20, 3, 60, 15, "cat")]), r"box 1 \(cat\) reaches outside its picture of 40 x 30 pixels. Cut it"),
        (xml([("nan", 3, 60, 15, "cat")]), r"box 1 \(cat\): corners must be numbers"),
        (xml([("left", 3, 60, 15, "cat")]), r"every object needs a name and a bndbox with xmin, ymin, xmax, ymax"),
        (xml(BOXES, size=(400, 300)), r"says its picture is 400 x 300 pixels, but it is 40 x 30"),
        (xml(BOXES * MOST_BOXES), r"has 2,000 boxes in one picture; at most 1,000 are taken"),
        ("<annotation>", r"00.xml' is not XML that can be read"),
        (
            '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotation>&b;</annotation>',
            r"00.xml' declares entities, which can expand to fill the memory",
        ),
    ],
)
def test_boxes_that_cannot_be_meant_are_one_sentence(tmp_path, written, said):
    root = as_voc(tmp_path / "voc")
    (root / "Annotations" / "00.xml").write_text(written)
    with pytest.raises(DataError, match=said):
        load(str(root), annotation="boxes")


def test_a_box_that_reaches_a_pixel_over_the_edge_is_cut_there(tmp_path):
    root = as_voc(tmp_path / "voc")
    (root / "Annotations" / "00.xml").write_text(xml([(20, 3, WIDTH + 1, HEIGHT + 1, "cat")]))
    assert by_key(load(str(root), annotation="boxes"))["00.png"].boxes[0][2:4] == (1.0, 1.0)


def test_a_picture_without_its_xml_is_one_sentence(tmp_path):
    root = as_voc(tmp_path / "voc")
    (root / "Annotations" / "03.xml").unlink()
    with pytest.raises(DataError, match=r"'03' has no boxes: '.*03.xml' is missing"):
        load(str(root), annotation="boxes")


def test_a_class_that_one_split_alone_names_is_one_sentence(tmp_path):
    root = as_voc(tmp_path / "voc")
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for name, numbers in (("train", range(0, COUNT, 2)), ("test", range(1, COUNT, 2))):  # cats alone, and both
        text = "\n".join(f"{number:02d}" for number in numbers)
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    (root / "Annotations" / "00.xml").write_text(xml([(4, 3, 20, 15, "fox")]))
    said = r"Class 'dog' has test pictures but no training picture. Add some or remove the class."
    with pytest.raises(DataError, match=said):
        load(str(root), annotation="boxes")


def test_a_picture_of_a_table_in_two_splits_is_one_sentence(tmp_path):
    source = as_table(tmp_path / "table")
    lines = source.read_text().splitlines()
    lines = [f"{lines[0]},split", *(f"{line},{'test' if ',dog,' in line else 'train'}" for line in lines[1:])]
    source.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"'pictures/01.png' stands in two splits. Give all its rows one."):
        load(str(source), annotation="boxes")


def test_a_hundred_thousand_boxes_in_a_picture_are_one_sentence(tmp_path):
    root = as_yolo(tmp_path / "yolo")
    (root / "labels" / "train" / "00.txt").write_text("0 0.5 0.5 0.1 0.1\n" * 100_000)
    with pytest.raises(DataError, match=r"00.txt' has 100,000 boxes in one picture; at most 1,000 are taken. Cut"):
        load(str(root), annotation="boxes")


@pytest.mark.parametrize(
    "row", ["pictures/00.png,cat,1,2,3,", "pictures/00.png,,1,2,3,4", "pictures/00.png,cat,1,b,3,4"]
)
def test_half_a_box_in_a_table_is_one_sentence(tmp_path, row):
    source = as_table(tmp_path / "table")
    source.write_text(f"{source.read_text()}\n{row}")
    with pytest.raises(DataError, match=r"a box needs a label and x1, y1, x2, y2 in pixels"):
        load(str(source), annotation="boxes")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("5 0.5 0.5 0.1 0.1", r"line 1: class 5 has no name. There are 2, from 0 on"),
        ("0 0.5 0.5 0.1", r"line 1: a box is a class number and x y width height. Received: '0 0.5 0.5 0.1'"),
    ],
)
def test_a_line_of_yolo_that_is_no_box_is_one_sentence(tmp_path, line, said):
    root = as_yolo(tmp_path / "yolo")
    (root / "labels" / "train" / "00.txt").write_text(line)
    with pytest.raises(DataError, match=said):
        load(str(root), annotation="boxes")


def test_a_coco_annotation_without_a_box_is_one_sentence(tmp_path):
    source = as_coco(tmp_path / "coco")
    content = json.loads(source.read_text())
    del content["annotations"][0]["bbox"]
    source.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"an annotation of image 0 has no bbox of left, top, width and height"):
        load(str(source), annotation="boxes")


def test_coco_annotations_of_one_id_are_one_sentence(tmp_path):
    source = as_coco(tmp_path / "coco")
    content = json.loads(source.read_text())
    content["annotations"][1]["id"] = content["annotations"][3]["id"] = content["annotations"][2]["id"]
    source.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"instances.json': 3 annotations have the id 2. Give each its own."):
        load(str(source), annotation="boxes")


def test_a_coco_picture_that_is_missing_is_left_out_and_told(tmp_path):
    source = as_coco(tmp_path / "coco")
    (tmp_path / "coco" / "images" / "02.png").unlink()
    splits = load(str(source), annotation="boxes")
    assert sum(splits.counts.values()) == COUNT - 1
    assert any("02.png" in each for each in splits.skipped)


def test_a_folder_of_boxes_asked_for_classes_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"holds any number of boxes a picture.*but was asked for one label a picture"):
        load(str(as_voc(tmp_path / "voc")))


def test_boxes_go_to_shards_and_come_back(tmp_path):
    splits = load(str(as_voc(tmp_path / "voc")), annotation="boxes")
    cleaning.write(splits, tmp_path / "shards")
    again = load(str(tmp_path / "shards"), annotation="boxes")
    assert again.digest == splits.digest
    assert sorted(again.train.labels) == sorted(splits.train.labels)


def test_a_table_holds_no_boxes_and_says_so(tmp_path):
    with pytest.raises(DataError, match=r"holds no boxes. Name a folder, and shards are written"):
        cleaning.write(load(str(as_voc(tmp_path / "voc")), annotation="boxes"), tmp_path / "table.csv")


def test_the_doctors_page_draws_boxes_over_pictures(tmp_path):
    splits = load(str(as_voc(tmp_path / "voc")), annotation="boxes")
    views = label_views.views(splits, [f"test: {splits.test.keys[0]}"])
    assert len(views) == len(splits.train) + 1
    pixels = views[f"train: {splits.train.keys[0]}"]
    assert pixels.shape == (180, 240, 3)
    (y1, x1, _, x2, name), *_ = box_labels.from_stored(splits.train.labels[0], splits.class_names).boxes
    edge = pixels[round(y1 * 179), round(x1 * 239) : round(x2 * 239)]
    assert (edge == drawing.colour(splits.class_names.index(name))).all()
    page = doctor_page.write(examine(splits), tmp_path / "page.html", views=views).read_text()
    assert f"pictures under their labels ({len(splits.train)})" in page
    assert "background: rgb(0, 114, 178)" in page


def test_letterbox_and_crop_take_boxes_where_the_pixels_go():
    from keras_transfer.data.squaring import square

    picture = np.zeros((60, 100, 3), np.uint8)
    picture[12:48, 30:70] = 255
    (label,) = box_labels.stored([box_labels.listed(60, 100, [(12 / 60, 0.3, 48 / 60, 0.7, 0)])], {0: 0})
    for aspect in ("stretch", "letterbox", "crop"):
        (box,) = box_labels.squared([label], 200, aspect)[0]
        rows, columns = (np.flatnonzero((square(picture, 200, aspect)[..., 0] > 127).any(axis)) for axis in (1, 0))
        edges = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
        assert box[:4] * 200 == pytest.approx(edges, abs=1.01)


def test_a_crop_drops_boxes_that_it_mostly_cuts_away():
    boxes = [(0.2, 0.0, 0.8, 0.3, 0), (0.2, 0.1, 0.8, 0.4, 1)]
    (label,) = box_labels.stored([box_labels.listed(50, 100, boxes)], {0: 0, 1: 1})
    (seen,) = box_labels.squared([label], 96, "crop")
    assert seen[:, 4].tolist() == [1]
    assert seen[0, 1] == 0


def green(pixels):
    """The box around what is green, in shares."""
    side, green = pixels.shape[0], pixels[..., 1].astype(int) - pixels[..., 0] > 50
    rows, columns = (np.flatnonzero(green.any(axis)) for axis in (1, 0))
    return [rows[0] / side, columns[0] / side, (rows[-1] + 1) / side, (columns[-1] + 1) / side]


@pytest.mark.parametrize("name", ["light", "scenes"])
def test_moved_boxes_stay_around_what_they_are_of(name):
    side, count = 64, 12
    rng, images, targets = np.random.default_rng(0), np.zeros((12, 64, 64, 3), np.uint8), []
    line = np.arange(side) + 0.5
    for image in images:
        y, x, high, wide = rng.uniform([28, 28, 8, 8], [36, 36, 12, 12])
        image[((line[:, None] - y) / high) ** 2 + ((line[None] - x) / wide) ** 2 < 1] = (40, 255, 40)
        targets.append([[y - high, x - wide, y + high, x + wide, 3 * side], [0, 0, 0, 0, -side]])
    noise = tf.constant(augment.noise(0, 0, count))
    policy = augment.policy(name, ANNOTATIONS["boxes"])
    seen, moved = policy(tf.constant(images), tf.constant(np.array(targets, np.float32) / side), noise)
    for pixels, boxes in zip(seen.numpy(), moved.numpy(), strict=True):
        assert boxes[0, :4] * side == pytest.approx(np.array(green(pixels)) * side, abs=1.6)
        assert boxes[:, 4].tolist() == [3, -1]


def test_a_box_that_leaves_its_picture_is_no_target_any_more():
    targets = tf.constant([[[0.4, 0.0, 0.6, 0.2, 2.0], [0.4, 0.5, 0.6, 0.7, 1.0]]])
    shift = tf.constant([[1.0, 0, 16, 0, 1, 0, 0, 0]])  # 16 of 100 pixels to the left
    moved = box_labels.move(targets, shift, 100.0).numpy()[0]
    assert moved[:, 4].tolist() == [-1, 1]
    assert moved[1, :4] == pytest.approx([0.4, 0.34, 0.6, 0.54])


def test_what_a_moved_picture_uncovers_shows_no_second_thing():
    images = np.full((4, 32, 32, 3), 255, np.uint8)
    targets = np.full((4, 1, 5), -1, np.float32)
    noise = tf.constant(augment.noise(3, 0, 4))
    seen, _ = augment.policy("light", ANNOTATIONS["boxes"])(tf.constant(images), tf.constant(targets), noise)
    assert (seen.numpy() == 127).any()


def test_every_batch_of_a_feed_has_rows_for_the_picture_with_the_most_boxes(tmp_path):
    splits = load(str(as_voc(tmp_path / "voc")), annotation="boxes")
    feed = make_feed(splits)
    shapes = {
        tuple(targets.shape[1:]) for name in splits.counts for _, targets, _ in feed(name, image_size=32, batch_size=3)
    }
    assert shapes == {(2, 5)}


def test_the_sample_of_boxes_is_the_same_for_the_same_seed_and_boxes_are_tight():
    splits = load("sample:fashion-boxes", annotation="boxes")
    assert splits.counts == {"train": 1000, "validation": 300, "test": 1000}
    assert splits.digest == load("sample:fashion-boxes", annotation="boxes").digest
    counts = np.array([len(box_labels.unpacked(each)[2]) for each in splits.train.labels])
    assert (counts.min(), counts.max()) == (1, 5)
    alone = np.flatnonzero(counts == 1)[:20]
    for row in alone:
        _, _, boxes = box_labels.unpacked(splits.train.labels[row])
        assert boxes[0, :4].min() >= 0
        assert boxes[0, :4].max() <= 1


COLOURS = np.array([[bool(number & bit) for bit in (1, 2, 4)] for number in range(1, 8)], np.float32) * 255
"""Of seven things, none of which is a darker one of another."""


def coloured(side=64):
    """A picture with a box of each colour, float32, and targets with an empty second row."""
    random = np.random.default_rng(3)
    images, targets = np.zeros((7, side, side, 3), np.float32), np.zeros((7, 2, 5), np.float32)
    targets[..., 4] = box_labels.NOTHING
    for number, colour in enumerate(COLOURS):
        y1, x1 = random.integers(4, 28, 2)
        y2, x2 = np.array([y1, x1]) + random.integers(16, 32, 2)
        images[number, y1:y2, x1:x2] = colour
        targets[number, 0] = [y1 / side, x1 / side, y2 / side, x2 / side, number]
    return images, targets


def tiled(images, targets, seed):
    """Pictures and boxes after the mosaic, and which pictures were left alone."""
    columns = np.random.default_rng(seed).random((3, len(images)), np.float32)
    following = iter(columns)
    made = augment.MIXING(ANNOTATIONS["boxes"])(images, targets, lambda low, high: low + (high - low) * next(following))
    return *(np.asarray(each) for each in made), columns[0] < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_boxes_of_a_mosaic_are_where_their_things_are(seed):
    images, targets, alone = tiled(*coloured(), seed)
    found = 0
    for image, boxes in zip(images[~alone], targets[~alone], strict=True):
        for *sides, kind in boxes[boxes[:, 4] >= 0]:
            rows, columns = np.nonzero(np.abs(image - COLOURS[int(kind)]).max(-1) < 100)
            seen = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
            np.testing.assert_allclose(np.array(sides) * 64, seen, atol=1.01)
            found += 1
    assert found > (~alone).sum()


def test_a_picture_that_a_mosaic_leaves_alone_keeps_its_pixels_and_boxes():
    before, wanted = coloured()
    images, targets, alone = tiled(before, wanted, 1)
    assert 0 < alone.sum() < 7
    np.testing.assert_allclose(images[alone], before[alone], atol=1e-3)
    np.testing.assert_allclose(targets[alone, :2], wanted[alone], atol=1e-6)
    assert (targets[alone, 2:, 4] == box_labels.NOTHING).all()


def test_a_mosaic_leaves_nothing_grey_or_black():
    images, targets = np.full((8, 48, 48, 3), 200, np.float32), np.zeros((8, 1, 5), np.float32)
    np.testing.assert_allclose(tiled(images, targets, 2)[0], 200, atol=1e-3)


def test_boxes_without_area_do_not_survive_a_mosaic():
    images, targets = coloured()
    targets[:, 0, 2] = targets[:, 0, 0]
    assert (tiled(images, targets, 0)[1][..., 4] == box_labels.NOTHING).all()


def test_strong_gives_targets_of_boxes_that_the_loss_takes():
    images, targets = coloured()
    moved, made = augment.policy("strong", ANNOTATIONS["boxes"])(
        images.astype(np.uint8), targets, augment.noise(0, 0, len(images))
    )
    assert (moved.shape, moved.dtype, made.shape) == (images.shape, tf.uint8, (7, 8, 5))
    losses = detection.task_aligned((tf.zeros((7, 84, 7)), tf.zeros((7, 84, 4))), made, 0.0)
    assert np.isfinite(losses).all()


def test_a_feed_knows_the_rows_of_a_mosaic_beforehand():
    feed = make_feed(load("sample:fashion-boxes", annotation="boxes"))
    rows = {
        name: feed("train", image_size=64, batch_size=4, augment=name).element_spec[1].shape[1]
        for name in ("none", "strong")
    }
    assert rows["strong"] == 4 * rows["none"]
