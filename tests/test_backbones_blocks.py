"""A backbone is cut from its graph into ordered blocks that cover every weight once."""

import keras
import numpy as np
import pytest

from keras_transfer.backbones import features
from keras_transfer.backbones.blocks import cut, taps
from keras_transfer.backbones.registry import backbone, rows
from keras_transfer.errors import UsageError

NAMES = ("EfficientNetLite0", "MobileNetV2")


@pytest.fixture(scope="module", params=NAMES)
def built(request):
    spec = backbone(request.param)
    return spec, features.build(spec, image_size=64, weights="none").model


def weights_of(blocks):
    return [id(weight) for block in blocks for layer in block.layers for weight in getattr(layer, "weights", ())]


def test_every_weight_is_in_exactly_one_block(built):
    spec, model = built
    found = weights_of(cut(model, spec))
    assert len(found) == len(set(found))
    assert set(found) == {id(weight) for weight in model.weights}


def test_blocks_end_where_the_resolution_halves(built):
    spec, model = built
    assert [block.resolution for block in cut(model, spec)] == [32, 16, 8, 4, 2]


def test_the_last_block_gives_the_features(built):
    spec, model = built
    assert cut(model, spec)[-1].output is model.output


def test_what_follows_a_block_needs_its_output_alone(built):
    spec, model = built
    for block in cut(model, spec)[:-1]:
        suffix = keras.Model(block.output, model.output)  # Keras refuses where another tensor is needed
        assert suffix.input.shape == block.output.shape


def test_blocks_end_between_bottlenecks_and_not_in_their_wide_inside(built):
    spec, model = built
    channels = [block.output.shape[-1] for block in cut(model, spec)[:-1]]
    assert channels == sorted(channels)
    assert channels[-1] <= 112


def test_a_classifier_that_was_saved_and_loaded_is_cut_alike(built, tmp_path):
    spec, model = built
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(model.output)
    head = keras.layers.Dense(3, activation="softmax", name="probabilities")(pooled)
    keras.Model(model.input, head).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    before, after = cut(model, spec), cut(loaded, spec, loaded.get_layer("pool").input)
    assert [[layer.name for layer in block.layers] for block in before] == [
        [layer.name for layer in block.layers] for block in after
    ]


def test_a_second_build_in_the_same_process_is_cut_alike(built):
    spec, model = built
    again = features.build(spec, image_size=64, weights="none").model
    assert [block.parameters for block in cut(again, spec)] == [block.parameters for block in cut(model, spec)]


def test_the_saved_features_load_without_this_package(built, tmp_path):
    import subprocess
    import sys

    _, model = built
    model.save(tmp_path / "model.keras")
    picture = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    np.save(tmp_path / "picture.npy", picture)
    code = (
        "import keras, numpy, sys; model = keras.models.load_model(sys.argv[1] + '/model.keras');"
        "numpy.save(sys.argv[1] + '/out.npy', model(numpy.load(sys.argv[1] + '/picture.npy')));"
        "assert 'keras_transfer' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model(picture), atol=1e-6)


def test_taps_are_the_last_blocks_of_their_strides(built):
    spec, model = built
    found = taps(cut(model, spec), (4, 8, 16, 32), 64)
    assert [tensor.shape[1] for tensor in found] == [16, 8, 4, 2]
    assert found[-1] is model.output


def test_a_stride_at_which_no_block_ends_is_one_sentence(built):
    spec, model = built
    with pytest.raises(UsageError, match=r"ends at stride 64: .* that is 1\. Received blocks of 32, 16, 8, 4, 2; take"):
        taps(cut(model, spec), (8, 64), 64)


QUICK = ("MobileNet", "MobileNetV3Small", "EfficientNetLite0", "VGG16", "Xception")


@pytest.mark.parametrize(
    "spec", [pytest.param(row, marks=() if row.name in QUICK else pytest.mark.slow, id=row.name) for row in rows()]
)
def test_every_row_of_the_catalogue_is_tapped_at_the_strides_that_its_traits_do_not_deny(spec):
    keras.backend.clear_session()
    side = 96
    blocks = cut(features.build(spec, image_size=side, weights="none").model, spec)
    for stride in (4, 8, 16, 32):
        if f"no-stride-{stride}" in spec.traits:
            with pytest.raises(UsageError, match=f"No block of this backbone ends at stride {stride}:"):
                taps(blocks, (stride,), side)
        else:
            (tapped,) = taps(blocks, (stride,), side)
            assert tapped.shape[1:3] == (side // stride, side // stride)
