"""Python functions that a data set calls: kept as long as the data set is, and no longer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

_LIST = "_py_funcs_used_in_graph"


@tf.autograph.experimental.do_not_convert
def numpy_function(function: Callable[..., Any], inputs: Sequence[Any], dtypes: Any, **how: Any) -> Any:
    """Return what `tf.numpy_function` does; `function` lives as long as the graph that calls it.

    >>> data = tf.data.Dataset.range(3).map(lambda each: numpy_function(lambda number: number * 2, [each], tf.int64))
    >>> [int(each) for each in data]
    [0, 2, 4]

    TensorFlow keeps such functions in a list of the graph around all others, which ends with the process: with them
    every view that was read from the disk stayed open, and every picture that was decoded stayed in memory. Here the
    graph of the data set keeps them, which an iterator of it holds as well.
    """
    outputs = tf.numpy_function(function, inputs, dtypes, **how)
    below, graph = None, tf.compat.v1.get_default_graph()
    while (outer := getattr(graph, "outer_graph", None)) is not None:
        below, graph = graph, outer
    kept = getattr(graph, _LIST, None)
    if below is not None and kept:
        setattr(below, _LIST, [*getattr(below, _LIST, ()), kept.pop()])
    return outputs
