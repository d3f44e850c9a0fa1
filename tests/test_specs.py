"""Parts of a split."""

import numpy as np
import pytest

from keras_transfer.specs import Split

LABELS, KEYS = np.array([0, 1, 2, 0]), ("a", "b", "c", "d")


def test_a_part_of_a_split_keeps_labels_keys_and_weights_beside_its_pictures():
    files = np.array(["a.png", "b.png", "c.png", "d.png"])
    part = Split("test", files, LABELS, KEYS, np.array([1, 2, 3, 4], np.float32)).take(np.array([3, 1]))
    assert part.pictures.tolist() == ["d.png", "b.png"]
    assert part.labels.tolist() == [0, 1]
    assert part.keys == ("d", "b")
    assert part.weights.tolist() == [4, 2]


def test_a_part_of_a_stream_holds_only_what_is_wanted():
    import tensorflow as tf

    stream = Split("test", lambda: tf.data.Dataset.from_tensor_slices([b"a", b"b", b"c", b"d"]), LABELS, KEYS)
    part = stream.take(np.array([1, 3]))
    assert list(part.pictures().as_numpy_iterator()) == [b"b", b"d"]
    assert part.keys == ("b", "d")


@pytest.mark.parametrize("rows", [[2, 1], [1, 1], []])
def test_positions_in_a_stream_must_rise(rows):
    with pytest.raises(ValueError, match="positions taken of a stream must rise"):
        Split("test", lambda: None, LABELS, KEYS).take(np.array(rows, int))
