"""`keras-transfer backbones`: a table to sort and filter, the cut of one row, weights fetched ahead."""

import json

import pytest
from typer.testing import CliRunner

from keras_transfer.cli import app
from keras_transfer.errors import UsageError


def run(*arguments):
    return CliRunner().invoke(app, ["backbones", *arguments], catch_exceptions=False)


def names(*arguments):
    return [row["name"] for row in json.loads(run(*arguments, "--json").stdout)]


def test_all_rows_are_listed():
    assert len(names()) == 45


def test_rows_are_filtered_by_trait_and_sorted_by_a_column():
    assert names("--with", "mobilenet", "--without", "squeeze-excite", "--sort", "top1") == ["MobileNetV2", "MobileNet"]


def test_rows_are_filtered_by_licence():
    assert names("--with", "cc-by-4.0") == ["VGG16", "VGG19"]


def test_a_filter_that_nothing_passes_is_an_error():
    with pytest.raises(UsageError, match="No backbone is 'vgg without vgg'"):
        run("--with", "vgg", "--without", "vgg")


def test_an_unknown_column_is_an_error():
    with pytest.raises(UsageError, match=r"Unknown column 'size'\. Known: name, input, parameters, top1"):
        run("--sort", "size")


def test_blocks_are_shown_with_their_share_of_the_compute():
    shapes = json.loads(run("MobileNetV2", "--blocks", "--image-size", "96", "--json").stdout)
    assert [shape["resolution"] for shape in shapes] == [48, 24, 12, 6, 3]
    assert sum(shape["share"] for shape in shapes) == pytest.approx(1)


def test_blocks_without_a_name_are_an_error():
    with pytest.raises(UsageError, match="about one backbone"):
        run("--blocks")
