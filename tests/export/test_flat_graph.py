"""Operations that stand in for others, against the ones they replace."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from export.writing.flat_graph import flat_graph  # noqa: E402
from export.writing.replacements import REPLACEMENTS, static_value  # noqa: E402


def both(function, x):
    """Return a function's values as TensorFlow gives them and from its flat graph."""
    spec = tf.TensorSpec((None, *x.shape[1:]), tf.float32, name="images")
    traced = tf.function(lambda images: {"logits": function(images)}, input_signature=[spec])
    graph_def = flat_graph(traced.get_concrete_function(), ["images"], ["logits"])
    left = {node.op for node in graph_def.node} & {*REPLACEMENTS, "ReadVariableOp", "PartitionedCall"}
    assert not left, left
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.import_graph_def(graph_def, name="")
        found = session.run("logits:0", {"images:0": x})
    return found, function(tf.constant(x)).numpy()


FUNCTIONS = {
    "erfc": (tf.math.erfc, np.linspace(-6, 6, 4001)),
    "expm1": (
        tf.math.expm1,
        np.concatenate([np.geomspace(1e-12, 80, 3001), -np.geomspace(1e-12, 80, 3001)]),
    ),
    "log1p": (
        tf.math.log1p,
        np.concatenate([np.geomspace(1e-12, 1e30, 3001), -np.geomspace(1e-12, 0.99, 999)]),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_mathematics(name):
    function, x = FUNCTIONS[name]
    found, wanted = both(function, x.astype("float32").reshape(-1, 1))
    # Around 0 too the error is one of the last digits, not of 1.
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=3e-7 if name == "erfc" else 0)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("method", ["bicubic", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"])
def test_resizing(method, antialias):
    x = np.random.default_rng(0).random((2, 9, 11, 3)).astype("float32")
    found, wanted = both(lambda i: tf.image.resize(i, (5, 17), method, antialias=antialias), x)
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_variables_constants_calls_and_branches():
    kernel, shift = (
        tf.Variable(tf.random.normal((3, 3, 2, 4))),
        tf.constant(np.arange(400.0, dtype="float32")),
    )

    @tf.function(jit_compile=True)
    def grouped(x):
        return tf.nn.conv2d(x, kernel, 1, "SAME")

    def function(x):
        large = tf.shape(x)[1] > 5
        y = tf.cond(large, lambda: grouped(x), lambda: grouped(-x))
        return tf.reverse(y, [1])[:, :, :, :2] + tf.reshape(shift[:98], (1, 7, 7, 2))

    x = np.random.default_rng(0).random((3, 7, 7, 4)).astype("float32")
    found, wanted = both(function, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_what_depends_on_the_images_is_not_static():
    with tf.Graph().as_default():
        images = tf.compat.v1.placeholder(tf.float32, (None, 4, 6, 1))
        assert static_value(tf.shape(images)[1] / 2) == 2
        assert static_value(tf.reduce_sum(images)) is None
