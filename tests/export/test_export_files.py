import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import onnx
import pytest
from export_networks import CLASSES, SHAPE, conv_network, images, keras_logits

import export

FORMS = ("onnx", "saved_model")
LOADERS = {"onnx": export.load_onnx, "saved_model": export.load_saved_model}


@pytest.fixture(scope="module")
def network():
    return conv_network()


@pytest.fixture(scope="module")
def files(network, tmp_path_factory):
    """Each form written once, since on other backends than TensorFlow a process is started for it."""
    directory = tmp_path_factory.mktemp("exports")
    written = {}
    for form in FORMS:
        path = directory / "deeper" / form
        report = getattr(export, form)(network, path, class_names=CLASSES)
        written[form] = path, report, LOADERS[form](path)
    return written


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


def run_python(code, *args):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_report(files, form):
    path, report, _ = files[form]
    assert report.passed
    assert (report.n, report.argmax_equal, report.format) == (8, 8, form)
    assert report.max_logit_difference < 1e-5 * max(1, report.largest_logit)
    assert report.path == str(path)
    assert json.loads(json.dumps(report.to_dict()))["passed"] is True


@pytest.mark.parametrize("n", [1, 7, 64])
def test_any_batch_size(files, form, network, n):
    x = images(n, seed=n)
    reference = keras_logits(network, x)
    logits, probabilities = files[form][2].run(x)
    assert logits.shape == (n, 3) and logits.dtype == probabilities.dtype == np.float32
    np.testing.assert_allclose(logits, reference, rtol=1e-4, atol=1e-5)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(reference))
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4, atol=1e-6)


def test_batches_do_not_change_the_result(files, form):
    path, _, served = files[form]
    x = images(11)
    np.testing.assert_allclose(LOADERS[form](path, batch_size=4)(x), served(x), rtol=1e-5, atol=1e-6)


def test_same_answer_twice(files, form):
    served, x = files[form][2], images(5)
    np.testing.assert_array_equal(served(x), served(x))


def test_metadata(files, form):
    served = files[form][2]
    metadata = served.metadata
    assert metadata["format_version"] == 3
    assert metadata["name"] == "tiny"
    assert metadata["class_names"] == list(CLASSES)
    assert metadata["input"] == {"name": "images", "shape": ["batch", *SHAPE], "dtype": "float32"}
    assert metadata["preprocessing"] == {
        "layout": "NHWC",
        "channels": "RGB",
        "range": [0.0, 1.0],
        "divide_uint8_by": 255,
    }
    assert [o["name"] for o in metadata["outputs"]] == ["logits", "probabilities"]
    assert metadata["versions"]["keras"] == keras.__version__
    assert {"tensorflow", "sharedkeras"} <= metadata["versions"].keys()
    assert served.class_names == CLASSES and served.input_shape == SHAPE


def test_predict_names_the_class(files, form):
    served, x = files[form][2], images(4)
    logits = served(x)
    for (name, probability), row in zip(served.predict(x), logits, strict=True):
        assert name == CLASSES[row.argmax()]
        assert 1 / 3 <= probability <= 1


def test_weights_are_stored_once(files, network):
    weights = 4 * (network.count_params() - 2)  # Two numbers are the state of the random layer.
    path = files["saved_model"][0]
    stored = sum(f.stat().st_size for f in (path / "variables").glob("*.data-*"))
    assert weights <= stored < 1.05 * weights
    assert weights * 0.9 < files["onnx"][0].stat().st_size < 1.2 * weights


def test_onnx_graph(files):
    model = onnx.load(files["onnx"][0])
    onnx.checker.check_model(model, full_check=True)
    for value, name in zip(
        (*model.graph.input, *model.graph.output),
        ("images", "logits", "probabilities"),
        strict=True,
    ):
        assert value.name == name
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [o.version for o in model.opset_import if o.domain == ""] == [17]
    assert not {n.op_type for n in model.graph.node} & {"Dropout", "BatchNormalization"}


def test_saved_model_loads_without_keras(files, network):
    x = images(3)
    np.save(files["saved_model"][0].parent / "x.npy", x)
    code = """
import sys
sys.modules["keras"] = sys.modules["tf_keras"] = None  # Importing them now fails.
import numpy as np, tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
assert serve.structured_input_signature[1]["images"].shape.as_list() == [None, 8, 8, 3]
print(serve(images=tf.constant(np.load(sys.argv[2])))["logits"].numpy().tolist())
"""
    path = files["saved_model"][0]
    logits = json.loads(run_python(code, path, path.parent / "x.npy"))
    np.testing.assert_allclose(logits, keras_logits(network, x), rtol=1e-4, atol=1e-5)


def test_onnx_runs_without_any_framework(files):
    code = """
import sys
import export
assert not {"keras", "tensorflow", "jax", "onnx", "onnxruntime"} & set(sys.modules)
import numpy as np
print(export.load_onnx(sys.argv[1])(np.zeros((1, 8, 8, 3), "float32")).shape)
assert not {"keras", "tensorflow", "jax", "onnx", "tf2onnx"} & set(sys.modules)
"""
    assert run_python(code, files["onnx"][0]).strip() == "(1, 3)"


def test_parity_notices_other_weights(files, form):
    path, x = files[form][0], images(20)
    network = conv_network()
    assert export.check_parity(network, path, x).passed
    bias = network.get_layer("logits").bias
    bias.assign(bias + np.float32([0, 0, 0.5]))
    report = export.check_parity(network, path, x)
    assert not report.passed
    np.testing.assert_allclose(report.max_logit_difference, 0.5, atol=1e-4)
    assert export.check_parity(network, path, x, tolerance=0.6).passed


def test_parity_on_one_image(files, form, network):
    report = export.check_parity(network, files[form][0], images(1))
    assert report.passed and report.n == 1


def test_parity_refuses_another_network(files, form):
    inputs = keras.Input((4, 4, 1))
    other = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    with pytest.raises(ValueError, match="another network"):
        export.check_parity(other, files[form][0], images(2))
    with pytest.raises(ValueError, match="tolerance"):
        export.check_parity(other, files[form][0], images(2), tolerance=0)


def test_images_are_checked(files, form):
    served = files[form][2]
    with pytest.raises(ValueError, match=r"astype\('float32'\) / 255.*Received: dtype=uint8"):
        served(np.zeros((1, *SHAPE), "uint8"))
    with pytest.raises(ValueError, match=r"divide by 255.*maximum=200"):
        served(np.full((1, *SHAPE), 200.0, "float32"))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        served(np.full((1, *SHAPE), np.nan, "float32"))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        served(np.full((1, *SHAPE), -0.1, "float32"))
    with pytest.raises(ValueError, match=r"images\[None\]"):
        served(np.zeros(SHAPE, "float32"))
    with pytest.raises(ValueError, match=r"\(batch, 8, 8, 3\), RGB.*Received: shape=\(1, 3, 8, 8\)"):
        served(np.zeros((1, 3, 8, 8), "float32"))
    with pytest.raises(ValueError, match="At least one image"):
        served(np.zeros((0, *SHAPE), "float32"))
    assert served(np.full((1, *SHAPE), 1.0 + 1e-7)).shape == (1, 3)  # float64, one rounding above.


def test_existing_path_is_refused_before_any_work(files, form):
    with pytest.raises(FileExistsError, match="overwrite=True"):
        getattr(export, form)(None, files[form][0])


def test_overwrite_replaces_only_exports(form, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").write_bytes(b"")
    with pytest.raises(FileExistsError, match="kept"):
        getattr(export, form)(None, tmp_path / "photos", overwrite=True)


def test_missing_and_foreign_files(files, tmp_path):
    for load in LOADERS.values():
        with pytest.raises(FileNotFoundError, match="Received: path"):
            load(tmp_path / "nothing")
    (tmp_path / "broken.onnx").write_bytes(b"not a protobuf")
    with pytest.raises(ValueError, match="cannot be read"):
        export.load_onnx(tmp_path / "broken.onnx")
    model = onnx.load(files["onnx"][0])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(ValueError, match="not written by"):
        export.load_onnx(tmp_path / "foreign.onnx")
    model = onnx.load(files["onnx"][0])
    next(p for p in model.metadata_props if p.key == "format_version").value = "4"
    onnx.save(model, tmp_path / "newer.onnx")
    with pytest.raises(ValueError, match="which is newer"):
        export.load_onnx(tmp_path / "newer.onnx")


def test_failed_parity_leaves_nothing(files, form, tmp_path, monkeypatch):
    from export.writing import pipeline

    def write_earlier_weights(network, path, **job):
        copy = shutil.copytree if form == "saved_model" else shutil.copy
        copy(files[form][0], path)

    monkeypatch.setattr(pipeline, "_write", write_earlier_weights)
    network, path = conv_network(), tmp_path / "file"
    bias = network.get_layer("logits").bias
    bias.assign(bias + 0.25)
    with pytest.raises(RuntimeError, match=r"max_logit_difference=0\.25.*equal argmax 8 of 8"):
        getattr(export, form)(network, path)
    assert list(tmp_path.iterdir()) == []

    bias.assign(bias - 0.25)
    getattr(export, form)(network, path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    bias.assign(bias + 0.25)
    with pytest.raises(RuntimeError, match="deleted"):
        getattr(export, form)(network, path, overwrite=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_random_network_is_refused(tmp_path):
    network = conv_network(sample_at_inference=True)
    with pytest.raises(ValueError, match=r"not be deterministic.* in layer 'latent'"):
        export.saved_model(network, tmp_path / "random")
    assert list(tmp_path.iterdir()) == []


def test_one_of_several_outputs(tmp_path):
    network = conv_network()
    taps = {"logits": network.output, "features": network.get_layer("dense").output}
    both = keras.Model(network.inputs, taps, name="both")
    with pytest.raises(ValueError, match=r"'features', 'logits'.*select=None"):
        export.onnx(both, tmp_path / "both.onnx")
    report = export.onnx(both, tmp_path / "both.onnx", select="logits", opset=15, x=images(3))
    assert report.passed and report.n == 3
    report = export.check_parity(both, tmp_path / "both.onnx", images(9), select="logits")
    assert report.passed
    pair = keras.Model(network.inputs, list(taps.values()), name="pair")
    assert export.check_parity(pair, tmp_path / "both.onnx", images(9), select=0).passed
