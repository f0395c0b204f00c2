"""Files that this package did not write, as functions from images to logits."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from support import onnx_files

import export

SHAPE = (5, 6, 3)


def images(n, shape=SHAPE):
    return np.random.default_rng(1).random((n, *shape)).astype("float32")


KINDS = {
    "as ours": {},
    "channels first": {"channels_first": True},
    "any size": {"declared": ["h", "w", "c"]},
    "channels first, any size": {"channels_first": True, "declared": [3, "h", "w"]},
    "one image at a time": {"batch": 1},
    "four at a time, channels first": {"batch": 4, "channels_first": True},
    "label before scores": {"label_first": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_files_of_other_origin(kind, tmp_path):
    path = tmp_path / "other.onnx"
    onnx_files.write(path, SHAPE, **KINDS[kind])
    served = export.load_onnx(path, input_shape=SHAPE, batch_size=4)
    x = images(7)
    logits, probabilities = served.run(x)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, onnx_files.logits(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(served(x[:1])[0].argmax(), logits[0].argmax())
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)
    assert (served.name, served.input_shape, len(served.class_names)) == ("other", SHAPE, 10)
    with pytest.raises(ValueError, match="divide by 255"):
        served(200 * x)


def test_the_shape_must_be_told(tmp_path):
    path = tmp_path / "other.onnx"
    onnx_files.write(path, SHAPE)
    with pytest.raises(ValueError, match=r"not written by.*input_shape"):
        export.load_onnx(path)
    with pytest.raises(ValueError, match=r"other images than those of shape \(6, 6, 3\).*x float32"):
        export.load_onnx(path, input_shape=(6, 6, 3))


def test_an_export_tells_its_shape_itself(tmp_path):
    path = tmp_path / "ours.onnx"
    onnx_files.write_export(path, SHAPE, classes=2, class_names=("cat", "dog"))
    served = export.load_onnx(path, input_shape=SHAPE)
    assert served.class_names == ("cat", "dog") and served.name == "linear"
    np.testing.assert_allclose(served(images(3)), onnx_files.logits(images(3), 2), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"images of shape \(5, 6, 3\).*input_shape=\(28, 28, 1\)"):
        export.load_onnx(path, input_shape=(28, 28, 1))


def test_the_digest_is_that_of_the_content(tmp_path):
    for name, shape in (("a", SHAPE), ("b", SHAPE), ("c", (5, 5, 3))):
        onnx_files.write_export(tmp_path / f"{name}.onnx", shape)
    a, b, c = (export.load_onnx(tmp_path / f"{name}.onnx").sha256 for name in "abc")
    assert a == b != c and len(a) == 64


def test_no_image_classifiers(tmp_path):
    path = tmp_path / "other.onnx"
    onnx_files.write(path, SHAPE, dtype=TensorProto.UINT8)
    with pytest.raises(ValueError, match=r"one float32 tensor.*x uint8 \('n', 5, 6, 3\)"):
        export.load_onnx(path, input_shape=SHAPE)

    onnx_files.write(path, SHAPE, label_first=True)
    model = onnx.load(path)
    del model.graph.output[1]
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"must be logits of shape \(batch, K\).*label int64"):
        export.load_onnx(path, input_shape=SHAPE)


def test_a_file_that_does_not_run(tmp_path):
    path = tmp_path / "other.onnx"
    onnx_files.write(path, SHAPE, declared=["h", "w", "c"])
    with pytest.raises(ValueError, match="cannot be run"):
        export.load_onnx(path, input_shape=(9, 9, 3))


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """A linear classifier that plain TensorFlow saved, with features beside its logits."""
    tf = pytest.importorskip("tensorflow")
    path = tmp_path_factory.mktemp("saved") / "other"
    module = tf.Module()
    module.matrix = tf.Variable(onnx_files.weights(SHAPE).reshape(-1, 10))

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32, name="pictures")])
    def serve(pictures):
        flat = tf.reshape(pictures, (-1, np.prod(SHAPE)))
        return {"features": flat, "logits": flat @ module.matrix}

    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return path


def test_saved_models_of_other_origin(saved_model):
    served = export.load_saved_model(saved_model, input_shape=SHAPE)
    np.testing.assert_allclose(served(images(5)), onnx_files.logits(images(5)), rtol=1e-4, atol=1e-5)
    assert served.name == "other" and len(served.sha256) == 64
    with pytest.raises(ValueError, match=r"not written by.*input_shape"):
        export.load_saved_model(saved_model)
    with pytest.raises(ValueError, match="other images"):
        export.load_saved_model(saved_model, input_shape=(28, 28, 1))


def test_damaged_saved_model(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"not a protobuf")
    with pytest.raises(ValueError, match="cannot be read"):
        export.load_saved_model(tmp_path, input_shape=SHAPE)
