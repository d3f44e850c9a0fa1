"""A function that a data set calls lives as long as somebody can ask for it."""

import gc
import weakref

import numpy as np
import tensorflow as tf

from keras_transfer.calling import numpy_function


class Doubled:
    def __call__(self, number):
        return number * 2


def made(branch):
    """A data set that asks for what is doubled, in a branch of its graph or not, and what tells whether that lives."""
    function = Doubled()

    def ask(number):
        def call():
            return numpy_function(function, [number], tf.int64)

        return tf.cond(number >= 0, call, lambda: number) if branch else call()

    return tf.data.Dataset.range(4).map(ask).prefetch(1), weakref.ref(function)


def gone(lives):
    """Whether it ends: functions and graphs hold each other, so it takes more than one look for what nobody holds."""
    return any(gc.collect() + 1 and lives() is None for _ in range(5))


def test_it_ends_with_the_data_set():
    for branch in (False, True):
        data, lives = made(branch)
        assert [int(each) for each in data] == [0, 2, 4, 6]
        assert lives()
        del data
        assert gone(lives), branch


def test_an_iterator_holds_it():
    for branch in (False, True):
        data, lives = made(branch)
        batches = iter(data.batch(2))
        del data
        gc.collect()
        np.testing.assert_array_equal(np.concatenate([each.numpy() for each in batches]), [0, 2, 4, 6])
        del batches
        assert gone(lives), branch


def test_outside_of_a_graph_it_is_called_at_once():
    assert int(numpy_function(Doubled(), [tf.constant(3)], tf.int32)) == 6
