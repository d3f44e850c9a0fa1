"""Data sets of TensorFlow Datasets: prepared on disk, as image folders, and mocked ones that were never downloaded."""

import gzip
import shutil
import subprocess

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from keras_transfer.data.pipeline import make_feed  # noqa: E402
from keras_transfer.data.samples import load as load_sample  # noqa: E402
from keras_transfer.data.sources import load  # noqa: E402
from keras_transfer.data.tfds_builders import load_builder  # noqa: E402
from keras_transfer.errors import DataError  # noqa: E402
from tests.test_data_sources import write_picture  # noqa: E402


class SmallFashion(tfds.core.GeneratorBasedBuilder):
    """Grey pictures and labels given to it, written by TensorFlow Datasets as one of its own."""

    VERSION = tfds.core.Version("1.0.0")
    pictures: dict = {}

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(28, 28, 1)),
                "label": tfds.features.ClassLabel(names=load_sample("sample:fashion").class_names),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(*arrays) for name, arrays in self.pictures.items()}

    def _generate_examples(self, images, labels):
        for position, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield position, {"image": image, "label": int(label)}


def prepared(folder, pictures):
    SmallFashion.pictures = pictures
    builder = SmallFashion(data_dir=str(folder))
    builder.download_and_prepare()
    return str(builder.data_path)


def sample(splits, name, count):
    return splits[name].pictures[:, :, :, :1][::count], splits[name].labels[::count]


def test_a_prepared_data_set_comes_in_its_own_splits_and_the_rest_in_ours(tmp_path):
    fashion = load_sample("sample:fashion")
    path = prepared(tmp_path, {"train": sample(fashion, "train", 2), "test": sample(fashion, "test", 10)})
    splits = load(f"tfds:{path}")
    assert splits.class_names == fashion.class_names
    assert splits.counts["test"] == 100
    assert splits.counts["train"] + splits.counts["validation"] == 500
    assert 40 <= splits.counts["validation"] <= 110
    assert splits.typical_size == 28
    images, targets, _ = next(iter(make_feed(splits)("validation", image_size=28, batch_size=1000)))
    assert (targets.numpy().argmax(1) == splits.validation.labels).all()
    by_content = {
        picture.tobytes(): label for picture, label in zip(fashion.train.pictures, fashion.train.labels, strict=True)
    }
    assert [by_content[image.tobytes()] for image in images.numpy()] == splits.validation.labels.tolist()


def test_the_same_prepared_data_set_gives_the_same_digest(tmp_path):
    fashion = load_sample("sample:fashion")
    path = prepared(tmp_path, {"train": sample(fashion, "train", 10)})
    assert load(f"tfds:{path}").digest == load(f"tfds:{path}").digest
    assert load(f"tfds:{path}").digest != load(f"tfds:{path}", seed=1).digest


def test_an_image_folder_of_tfds_is_a_source_like_any_builder(tmp_path):
    for split, start in (("train", 0), ("test", 500)):
        for label, name in enumerate(("ant", "bee")):
            for number in range(10):
                write_picture(tmp_path / split / name / f"{number}.png", start + 1000 * label + number)
    builder = tfds.folder_dataset.ImageFolder(str(tmp_path))
    splits = load_builder(builder, source="tfds:folder")
    assert splits.class_names == ("ant", "bee")
    assert splits.counts["test"] == 20
    images, _, _ = next(iter(make_feed(splits)("test", image_size=16, batch_size=20)))
    assert images.shape == (20, 16, 16, 3)


@pytest.mark.parametrize("name", ["cifar10", "mnist", "beans"])
def test_data_sets_that_were_never_downloaded_load_the_same_way(name):
    with tfds.testing.mock_data(num_examples=200):
        splits = load_builder(tfds.builder(name), source=f"tfds:{name}")
    assert sum(splits.counts.values()) == 200


def test_a_data_set_without_class_labels_is_refused(tmp_path):
    with (
        tfds.testing.mock_data(num_examples=4),
        pytest.raises(DataError, match=r"'tfds:coco' is not for image classification"),
    ):
        load_builder(tfds.builder("coco/2017"), source="tfds:coco")


def test_a_name_that_tfds_does_not_have_is_one_sentence():
    with pytest.raises(DataError, match=r"'tfds:fashon_mnist' cannot be had: .*fashon_mnist"):
        load("tfds:fashon_mnist")


def unlabelled(images, labels, every):
    """Forget each so manieth label: -1, as data sets of TensorFlow Datasets write it."""
    return images, np.where(np.arange(len(labels)) % every == 0, -1, labels)


def test_pictures_without_a_label_are_left_out_and_told(tmp_path):
    fashion = load_sample("sample:fashion")
    train, test = sample(fashion, "train", 2), sample(fashion, "test", 10)
    events = []
    splits = load(f"tfds:{prepared(tmp_path, {'train': unlabelled(*train, 5), 'test': test})}", listener=events.append)
    assert splits.counts["train"] + splits.counts["validation"] == 400
    assert all(splits[name].labels.min() >= 0 for name in splits.counts)
    assert len(splits.skipped) == 100
    assert splits.skipped[0].endswith("has no label")
    assert any("Left out 100 of 600 pictures" in event.message for event in events)


def test_a_split_without_any_label_is_taken_out_of_training_instead(tmp_path):
    fashion = load_sample("sample:fashion")
    train, test = sample(fashion, "train", 2), sample(fashion, "test", 10)
    splits = load(f"tfds:{prepared(tmp_path, {'train': train, 'test': unlabelled(*test, 1)})}")
    assert splits.counts["test"] > 0
    assert sum(splits.counts.values()) == 500


@pytest.fixture(scope="module")
def debian_fashion(tmp_path_factory):
    """The whole of Fashion-MNIST, from Debian's package."""
    if not shutil.which("apt-get"):
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    folder = tmp_path_factory.mktemp("debian")
    fetched = subprocess.run(["apt-get", "download", "dataset-fashion-mnist"], cwd=folder, capture_output=True)
    if fetched.returncode:
        pytest.skip("Debian's package dataset-fashion-mnist cannot be reached")
    subprocess.run(["dpkg", "-x", str(next(folder.glob("*.deb"))), str(folder)], check=True)
    files = folder / "usr/share/datasets/fashion-mnist"

    def idx(name, header_bytes):
        return np.frombuffer(gzip.decompress((files / name).read_bytes()), np.uint8, offset=header_bytes)

    return {
        split: (
            idx(f"{origin}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1),
            idx(f"{origin}-labels-idx1-ubyte.gz", 8),
        )
        for split, origin in (("train", "train"), ("test", "t10k"))
    }


@pytest.mark.slow
def test_the_whole_of_fashion_mnist_as_a_tfds_data_set(debian_fashion, tmp_path):
    splits = load(f"tfds:{prepared(tmp_path, debian_fashion)}")
    assert splits.counts["test"] == 10_000
    assert splits.counts["train"] + splits.counts["validation"] + len(splits.skipped) == 60_000
    assert abs(splits.counts["validation"] - 9_000) < 300
    seen = sum(len(images) for images, _, _ in make_feed(splits)("train", image_size=28, batch_size=256))
    assert seen == splits.counts["train"]
