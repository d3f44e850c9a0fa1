"""Masks of files: how they are read, told apart, made square and moved with their pictures."""

import numpy as np
import pytest
from PIL import Image

from keras_transfer import masks, workflow
from keras_transfer.data import augment, cleaning, label_views, mask_labels
from keras_transfer.data.annotations import ANNOTATIONS
from keras_transfer.data.pipeline import make_feed
from keras_transfer.data.sources import load
from keras_transfer.data.squaring import square
from keras_transfer.errors import DataError, UsageError
from keras_transfer.masks import VOID

COLOURS = {0: (128, 0, 0), 1: (0, 128, 0), VOID: (224, 224, 192)}
CLASSES = "name,value\nsky,0\nroad,1\nvoid,255\n"


def _mask(number, width=40, height=30):
    mask = np.zeros((height, width), np.uint8)
    mask[:, 5 + number % 20 :] = 1
    mask[0] = VOID
    return mask


def _folder(root, count=12, save=None, suffix="png"):
    """A folder of pictures that show their own masks, and are all unlike."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(count):
        mask = _mask(number)
        picture = np.stack([mask * 100, np.full_like(mask, 10 * number), mask], -1)
        Image.fromarray(picture).save(root / "images" / f"{number:02d}.png")
        (save or (lambda mask, path: Image.fromarray(mask).save(path)))(mask, root / "masks" / f"{number:02d}.{suffix}")
    return root


def _as_palette(mask, path):
    image = Image.fromarray(mask, mode="P")
    image.putpalette(b"".join(bytes(COLOURS.get(i, (1, 2, 3))) for i in range(256)))
    image.save(path)


def _as_colours(mask, path):
    table = np.array([COLOURS.get(i, (0, 0, 0)) for i in range(256)], np.uint8)
    Image.fromarray(table[mask]).save(path)


def _masks_of(splits):
    return {
        key: masks.unpack(packed)
        for name in splits.counts
        for key, packed in zip(splits[name].keys, splits[name].labels, strict=True)
    }


@pytest.mark.parametrize(
    ("save", "classes"),
    [
        (None, CLASSES),
        (_as_palette, CLASSES),
        (_as_colours, "name,red,green,blue\nsky,128,0,0\nroad,0,128,0\nVoid,224,224,192\n"),
    ],
    ids=["index", "palette", "colours"],
)
def test_masks_say_the_same_however_they_are_written(tmp_path, save, classes):
    root = _folder(tmp_path / "data", save=save)
    (root / "classes.csv").write_text(classes)
    splits = load(str(root), annotation="mask")
    assert splits.class_names == ("sky", "road")
    found = _masks_of(splits)
    assert len(found) == 12
    assert all((found[f"images/{number:02d}.png"] == _mask(number)).all() for number in range(12))


def test_classes_without_names_are_called_by_their_values(tmp_path):
    assert load(str(_folder(tmp_path / "data")), annotation="mask").class_names == ("class 0", "class 1")


def test_classes_keep_the_order_of_their_table(tmp_path):
    root = _folder(tmp_path / "data")
    (root / "classes.csv").write_text("name,value\nroad,1\nsky,0\n")
    splits = load(str(root), annotation="mask")
    assert splits.class_names == ("road", "sky")
    assert (_masks_of(splits)["images/03.png"][1] == 1 - _mask(3)[1]).all()


def _voc(root):
    """The same pictures as VOC lays them out: palette masks, lists of the splits, and one picture that has no mask."""
    _folder(root, save=_as_palette)
    (root / "images").rename(root / "JPEGImages")
    (root / "masks").rename(root / "SegmentationClass")
    (root / "SegmentationClass" / "11.png").unlink()
    (root / "classes.csv").write_text(CLASSES)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    for name, numbers in (("train", range(6)), ("val", range(6, 8)), ("test", range(8, 10)), ("trainval", range(8))):
        text = "\n".join(f"{number:02d}" for number in numbers)
        (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text(text)
    return root


def test_a_folder_of_voc_brings_masks_in_the_splits_of_its_lists(tmp_path):
    splits = load(str(_voc(tmp_path / "voc")), annotation="mask")
    assert splits.counts == {"train": 6, "validation": 2, "test": 2}
    assert splits.class_names == ("sky", "road")
    found = _masks_of(splits)
    assert all((found[f"JPEGImages/{number:02d}.png"] == _mask(number)).all() for number in range(10))
    assert [each for each in splits.skipped if "no list" in each] == [
        "10, which no list in ImageSets/Segmentation names"
    ]


def test_a_folder_of_voc_gives_its_boxes_or_its_masks_as_asked(tmp_path):
    root = _voc(tmp_path / "voc")
    with pytest.raises(UsageError, match=r"holds a class for each pixel.*but was asked for any number of boxes"):
        load(str(root), annotation="boxes")
    (root / "Annotations").mkdir()
    for number in range(12):
        box = f"<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{9 + number}</xmax><ymax>9</ymax></bndbox>"
        objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in ("cat", "dog"))
        (root / "Annotations" / f"{number:02d}.xml").write_text(f"<annotation>{objects}</annotation>")
    assert load(str(root), annotation="boxes").class_names == ("cat", "dog")
    assert load(str(root), annotation="mask").class_names == ("sky", "road")


def test_pictures_of_voc_without_masks_are_told(tmp_path):
    root = _voc(tmp_path / "voc")
    (root / "SegmentationClass" / "03.png").unlink()
    with pytest.raises(DataError, match=r"1 of 10 pictures have no mask in '.*SegmentationClass', the first: 03.png"):
        load(str(root), annotation="mask")


@pytest.mark.parametrize("layout", ["{split}/{kind}", "{kind}/{split}"])
def test_folders_of_splits_are_kept(tmp_path, layout):
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        made = _folder(tmp_path / "made" / split, count=12 if split == "train" else 0)
        for number in range(*{"train": (0, 6), "val": (6, 8), "test": (8, 11)}[split]):
            for kind in ("images", "masks"):
                place = tmp_path / "data" / layout.format(split=split, kind=kind)
                place.mkdir(parents=True, exist_ok=True)
                (tmp_path / "made" / "train" / kind / f"{number:02d}.png").rename(place / f"{number:02d}.png")
        assert made.is_dir()
        assert count
    assert load(str(tmp_path / "data"), annotation="mask").counts == {"train": 6, "validation": 2, "test": 3}


def test_a_table_names_pictures_and_masks_that_share_no_name(tmp_path):
    root = _folder(tmp_path / "data")
    (root / "masks" / "00.png").rename(root / "other.png")
    rows = [f"images/{n:02d}.png,{'other.png' if n == 0 else f'masks/{n:02d}.png'},train" for n in range(12)]
    (root / "all.csv").write_text("path,mask,split\n" + "\n".join(rows) + "\n")
    assert (_masks_of(load(str(root / "all.csv"), annotation="mask"))["images/00.png"] == _mask(0)).all()


def test_a_mask_outside_of_the_tables_folder_is_refused(tmp_path):
    root = _folder(tmp_path / "data")
    (root / "all.csv").write_text("path,mask\nimages/00.png,../else.png\n")
    with pytest.raises(DataError, match=r"images/00.png: a path must stay in the manifest's folder"):
        load(str(root / "all.csv"), annotation="mask")


def test_a_mask_of_another_size_than_its_picture_is_told(tmp_path):
    root = _folder(tmp_path / "data")
    Image.fromarray(_mask(4, width=20)).save(root / "masks" / "04.png")
    with pytest.raises(DataError, match=r"04.png' is 20 x 30 pixels and its picture 'images/04.png' 40 x 30"):
        load(str(root), annotation="mask")


def test_a_value_without_a_class_is_told(tmp_path):
    root = _folder(tmp_path / "data")
    (root / "classes.csv").write_text(CLASSES)
    mask = _mask(4)
    mask[5, :3] = 13
    Image.fromarray(mask).save(root / "masks" / "04.png")
    with pytest.raises(
        DataError, match=r"04.png' has 3 pixels of 13, which is no class. Give it a row in '.*classes.csv'"
    ):
        load(str(root), annotation="mask")


def test_pictures_without_masks_are_told(tmp_path):
    root = _folder(tmp_path / "data")
    (root / "masks" / "07.png").unlink()
    with pytest.raises(DataError, match=r"1 of 12 pictures in '.*images' have no mask .* the first: 07.png"):
        load(str(root), annotation="mask")


def test_a_mask_without_a_picture_is_left_out_and_told(tmp_path):
    root = _folder(tmp_path / "data")
    (root / "images" / "07.png").unlink()
    splits = load(str(root), annotation="mask")
    assert sum(splits.counts.values()) == 11
    assert "the mask masks/07.png, which has no picture" in splits.skipped


def test_a_mask_that_cannot_be_read_is_told(tmp_path):
    root = _folder(tmp_path / "data")
    (root / "masks" / "07.png").write_bytes(b"no mask")
    with pytest.raises(DataError, match=r"The mask '.*07.png' cannot be read: cannot identify image file"):
        load(str(root), annotation="mask")


def test_a_class_that_no_training_picture_shows_is_told(tmp_path):
    root = _folder(tmp_path / "data")
    mask = _mask(11)
    mask[5, :3] = 2
    Image.fromarray(mask).save(root / "masks" / "11.png")
    rows = [f"images/{n:02d}.png,masks/{n:02d}.png,{'test' if n == 11 else 'train'}" for n in range(12)]
    (root / "all.csv").write_text("path,mask,split\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match="Class 'class 2' has test pictures but no training picture"):
        load(str(root / "all.csv"), annotation="mask")


def test_colours_that_nobody_names_are_told(tmp_path):
    with pytest.raises(DataError, match=r"is a mask in colours. Say what they mean in a 'classes.csv'"):
        load(str(_folder(tmp_path / "data", save=_as_colours)), annotation="mask")


def test_a_class_that_is_named_twice_is_told(tmp_path):
    root = _folder(tmp_path / "data")
    (root / "classes.csv").write_text("name,value\nsky,0\nsky,1\n")
    with pytest.raises(DataError, match="gives the name 'sky' to two classes"):
        load(str(root), annotation="mask")


def test_more_classes_than_a_mask_can_tell_apart_are_told(tmp_path):
    root = _folder(tmp_path / "data")
    (root / "classes.csv").write_text("name\n" + "\n".join(f"c{number}" for number in range(300)))
    with pytest.raises(DataError, match="names 300 classes; a mask can tell 255 apart"):
        load(str(root), annotation="mask")


def test_masks_are_refused_where_labels_were_asked_for(tmp_path):
    with pytest.raises(UsageError, match=r"holds a class for each pixel .* but was asked for one label a picture"):
        load(str(_folder(tmp_path / "data")))


def test_shards_bring_masks_back(tmp_path):
    splits = load(str(_folder(tmp_path / "data")), annotation="mask")
    cleaning.write(splits, tmp_path / "shards")
    again = load(str(tmp_path / "shards"), annotation="mask")
    found, expected = _masks_of(again), _masks_of(splits)
    assert all((found[key] == expected[key]).all() for key in expected)
    with pytest.raises(DataError, match=r"holds no masks. Name a folder, and shards are written"):
        cleaning.write(splits, tmp_path / "data" / "clean.csv")


def test_the_doctors_page_draws_masks_over_pictures(tmp_path):
    splits = load(str(_folder(tmp_path / "data")), annotation="mask")
    views = label_views.views(splits)
    key = splits.train.keys[0]
    mask = masks.unsquare(masks.unpack(splits.train.labels[0]), 180, 240, "stretch")
    red = np.where(mask == 1, 0.45 * 100 + 0.55 * 230, 0.55 * 0)  # the picture is as red as its class
    inside = np.isin(mask, (0, 1))
    assert np.abs(views[f"train: {key}"][..., 0] - red)[inside].mean() < 3


def test_a_table_is_refused_for_masks_before_pictures_are_looked_at(tmp_path):
    told = []
    with pytest.raises(DataError, match=r"holds no masks. Name a folder, and shards are written"):
        workflow.doctor(
            str(_folder(tmp_path / "data")), task="segmentation", write=tmp_path / "a.csv", listener=told.append
        )
    assert not any(event.message == "Looking at pictures" for event in told)


@pytest.mark.parametrize("aspect", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [16, 48, 90])
def test_masks_become_square_as_their_pictures_do(aspect, size):
    """Of a mask of two large areas, the picture of it is as bright as it says, but for the pixels along its edges."""
    mask = np.zeros((120, 160), np.uint8)
    mask[30:, 60:] = 1
    made = masks.square(mask, size, aspect)
    picture = square(np.repeat(mask[..., None] * 200 + 40, 3, -1).astype(np.uint8), size, aspect)[..., 0]
    inside = np.isin(picture, (0, 40, 240))
    assert (np.where(made == VOID, 0, made * 200 + 40)[inside] == picture[inside]).all()
    assert inside.mean() > 0.8


def test_a_moved_mask_is_to_the_pixel_what_its_picture_shows():
    """A picture whose every pixel is of its own class is moved by whole pixels, mirrored and turned by quarters."""
    side = 15
    mask = np.arange(side * side, dtype=np.float32).reshape(1, side, side)
    for matrix, moved in (
        ([1, 0, 3, 0, 1, -2, 0, 0], lambda m: _shifted(m, -3, 2)),
        ([-1, 0, side - 1, 0, 1, 0, 0, 0], lambda m: m[:, ::-1]),
        ([0, -1, side - 1, 1, 0, 0, 0, 0], lambda m: np.rot90(m)),
    ):
        found = mask_labels.move(mask, np.array([matrix], np.float32), side)
        np.testing.assert_array_equal(np.asarray(found)[0], moved(mask[0]))


def _shifted(mask, right, down):
    made = np.full_like(mask, VOID)
    height, width = mask.shape
    made[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return made


@pytest.mark.parametrize("policy", ["light", "standard"])
def test_augmentation_moves_masks_with_their_pictures(policy):
    """The picture is bright where its mask says 1: afterwards, too, but for edges and what is covered."""
    mask = np.zeros((4, 64, 64), np.float32)
    mask[:, 20:, 30:] = 1
    pictures = np.repeat(mask[..., None] * 200, 3, -1).astype(np.uint8)
    noise = augment.noise(0, 0, 4)
    images, targets = augment.policy(policy, ANNOTATIONS["mask"])(pictures, mask, noise)
    images, targets = np.asarray(images)[..., 0].astype(int), np.asarray(targets)
    assert set(np.unique(targets)) <= {0.0, 1.0, float(VOID)}
    told = targets != VOID
    assert told.mean() > 0.7
    assert ((images > 100) == (targets == 1))[told & (np.abs(images - 127) > 3)].mean() > 0.97


def test_mixing_pictures_is_refused_for_masks():
    with pytest.raises(UsageError, match="mixes pictures, which those with a class for each pixel"):
        augment.policy("strong", ANNOTATIONS["mask"])


def test_a_feed_gives_masks_of_the_pictures_side():
    feed = make_feed(load("sample:fashion-masks", annotation="mask"))
    images, targets, _ = next(iter(feed("validation", image_size=32, batch_size=4)))
    assert images.shape == (4, 32, 32, 3)
    assert targets.shape == (4, 32, 32)
    assert np.asarray(targets).max() <= 10


def test_the_embedded_masks_show_every_garment_and_cover_a_third_of_the_picture():
    splits = load("sample:fashion-masks", annotation="mask")
    assert splits.class_names[0] == "background"
    assert len(splits.class_names) == 11
    counted = ANNOTATIONS["mask"].counts(splits.train.labels, 11)
    assert counted[0] == len(splits.train)
    assert counted.min() > 100
    assert 0.1 < np.mean([masks.unpack(each) > 0 for each in splits.train.labels[:100]]) < 0.5


def test_a_data_set_of_tensorflow_datasets_brings_its_masks(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")

    class Streets(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            mask = tfds.features.LabeledImage(labels=["sky", "road"], shape=(None, None, 1))
            features = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(30, 40, 3)), "mask": mask})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number in range(12):
                mask = _mask(number)
                picture = np.stack([mask % 2 * 100, np.full_like(mask, 10 * number), mask % 2], -1)
                yield number, {"image": picture, "mask": mask[..., None]}

    builder = Streets(data_dir=str(tmp_path))
    builder.download_and_prepare()
    splits = load(f"tfds:{builder.data_path}", annotation="mask")
    assert splits.class_names == ("sky", "road")
    images, targets, _ = next(iter(make_feed(splits)("train", image_size=32, batch_size=4)))
    inside = np.asarray(targets)[:, 2:-2] != VOID
    shown = np.asarray(images)[:, 2:-2, :, 0] > 50
    assert (shown == (np.asarray(targets)[:, 2:-2] == 1))[inside].mean() > 0.95


def test_a_feed_knows_how_large_masks_are_at_every_size_it_is_asked_for():
    feed = make_feed(load("sample:fashion-masks", annotation="mask"))
    for side in (64, 96, 128):
        targets = feed("train", image_size=side, batch_size=4, augment="light").element_spec[1]
        assert targets.shape.as_list() == [None, side, side]
