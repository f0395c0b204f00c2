"""What is refused before a file is written, and the pieces that need no network."""

import os

import keras
import numpy as np
import onnx
import pytest
from export_networks import CLASSES, SHAPE, Doubled, conv_network
from onnx import TensorProto, helper

import export
from export.contract import DIGEST, Contract, from_properties, to_properties
from export.writing.determinism import check_onnx, check_tensorflow, layer_of
from export.writing.placement import check_target, placing, size_of
from sharedkeras import files


@pytest.fixture(params=["onnx", "saved_model"])
def write(request):
    return getattr(export, request.param)


def test_names():
    assert set(export.__all__) <= set(dir(export))
    for name in export.__all__:
        assert getattr(export, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        export.nothing  # noqa: B018


def test_probabilities_are_refused(write, tmp_path):
    with pytest.raises(ValueError, match="returns probabilities; logits are expected"):
        write(conv_network(softmax=True), tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_what_is_no_classifier_is_refused(write, tmp_path):
    path = tmp_path / "file"
    with pytest.raises(TypeError, match="Received: network=3 of type int"):
        write(3, path)
    with pytest.raises(ValueError, match="built functional model"):
        write(keras.Sequential([keras.layers.Dense(3)]), path)
    with pytest.raises(ValueError, match="one tensor of shape"):
        write(keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]), path)
    with pytest.raises(ValueError, match="all but the batch known"):
        open_size = [keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]
        write(keras.Sequential(open_size), path)
    with pytest.raises(ValueError, match="leave the batch size open"):
        fixed = [keras.Input(batch_shape=(2, 4, 4, 3)), keras.layers.GlobalAveragePooling2D()]
        write(keras.Sequential(fixed), path)
    with pytest.raises(ValueError, match=r"logits of shape \(batch, K\)"):
        write(keras.Sequential([keras.Input(SHAPE), keras.layers.Dense(3)]), path)
    with pytest.raises(ValueError, match="one output only"):
        write(conv_network(), path, select="logits")
    assert not list(tmp_path.iterdir())


def test_nan_is_refused(write, tmp_path):
    network = conv_network()
    network.get_layer("logits").bias.assign([np.nan, 0, 0])
    with pytest.raises(ValueError, match="NaN or infinity"):
        write(network, tmp_path / "file")


def test_arguments_are_checked(write, tmp_path):
    with pytest.raises(ValueError, match="one name for each of the 3 logits"):
        write(conv_network(), tmp_path / "file", class_names=["cat"])
    with pytest.raises(ValueError, match="255"):
        write(conv_network(), tmp_path / "file", x=np.zeros((2, *SHAPE), "uint8"))
    with pytest.raises(ValueError, match=r"one of \[15, 16, 17, 18\]. Received: opset=19"):
        export.onnx(conv_network(), tmp_path / "file", opset=19)


def test_missing_package_is_named(write, tmp_path, monkeypatch):
    from export import requirements

    monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install tensorflow"):
        write(conv_network(), tmp_path / "file")


def test_layers_of_a_script_are_refused_where_a_process_is_started(tmp_path, monkeypatch):
    from export.writing.worker import write_in_subprocess

    monkeypatch.setattr(Doubled, "__module__", "__main__")
    with pytest.raises(ValueError, match="put them into a module"):
        write_in_subprocess(conv_network(), tmp_path / "file", tmp_path, form="onnx")


def test_contract_round_trip():
    contract = Contract("n", (4, 5, 1), 3, CLASSES, {"keras": "3"})
    properties = to_properties(contract.to_dict())
    assert all(isinstance(v, str) for v in properties.values())
    properties = {**properties, "author": "me", DIGEST: "0" * 64}
    assert Contract.from_dict(from_properties(properties, "f"), "f") == contract
    assert contract.channels == "grey"
    assert Contract("n", (4, 5, 7), 3).channels == "7 channels"


def graph_of(*nodes, initializers=()):
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", "y")]
    return helper.make_graph(list(nodes), "g", value[:1], value[1:], list(initializers))


@pytest.mark.parametrize("op", ["RandomNormal", "RandomUniform", "RandomNormalLike", "Bernoulli"])
def test_random_onnx_is_found(op):
    node = helper.make_node(op, ["x"], ["y"], name="net/noisy_1/draw")
    with pytest.raises(ValueError, match=f"{op} in layer 'noisy'"):
        check_onnx(graph_of(node), ["noisy"])
    branch = graph_of(node)
    outer = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    with pytest.raises(ValueError, match=f"{op} at 'net/noisy_1/draw'"):
        check_onnx(graph_of(outer))


def test_dropout_counts_in_training_only():
    check_onnx(graph_of(helper.make_node("Dropout", ["x"], ["y"])))
    check_onnx(graph_of(helper.make_node("Dropout", ["x", "ratio"], ["y"])))
    off = onnx.numpy_helper.from_array(np.array(False), "mode")
    on = onnx.numpy_helper.from_array(np.array(True), "mode")
    node = helper.make_node("Dropout", ["x", "", "mode"], ["y"])
    check_onnx(graph_of(node, initializers=[off]))
    with pytest.raises(ValueError, match="Dropout"):
        check_onnx(graph_of(node, initializers=[on]))
    with pytest.raises(ValueError, match="Dropout"):
        check_onnx(graph_of(node))


def test_random_tensorflow_is_found():
    tf = pytest.importorskip("tensorflow")
    draws = {
        "RandomUniform": lambda x: tf.random.uniform(tf.shape(x)),
        "StatelessRandomUniformV2": lambda x: tf.random.stateless_uniform(tf.shape(x), [1, 2]),
        "Multinomial": lambda x: tf.random.categorical(x[None], 1),
        "RandomShuffle": tf.random.shuffle,
        "TruncatedNormal": lambda x: tf.random.truncated_normal(tf.shape(x)),
    }
    for op, draw in draws.items():
        inner = tf.function(draw)  # A graph of its own, so that the library is searched too.
        graph = tf.function(lambda x, inner=inner: inner(x)).get_concrete_function(tf.ones(3)).graph
        with pytest.raises(ValueError, match=op):
            check_tensorflow(graph.as_graph_def())


def test_changing_variables_is_found():
    tf = pytest.importorskip("tensorflow")
    variable = tf.Variable(0.0)

    @tf.function
    def count(x):
        variable.assign_add(1.0)
        return x + variable

    graph = count.get_concrete_function(tf.ones(3)).graph.as_graph_def()
    with pytest.raises(ValueError, match=r"changes its own variables.*AssignAddVariableOp"):
        check_tensorflow(graph)
    check_tensorflow(graph, allow_state=True)


def test_layer_names():
    assert layer_of("cnn_1/latent_1/normal", ["latent", "other"]) == "latent"
    assert layer_of("cnn/conv_1/add", ["conv", "conv_1"]) == "conv_1"
    assert layer_of("add", ["conv"]) is None


def test_placing_a_directory(tmp_path):
    path = tmp_path / "model"

    def write(text, overwrite):
        with placing(path, directory=True, overwrite=overwrite) as temporary:
            assert not temporary.exists() and temporary.parent == path.parent
            temporary.mkdir()
            (temporary / "saved_model.pb").write_text(text)
            if text == "bad":
                raise RuntimeError("parity")

    write("one", False)
    with pytest.raises(FileExistsError):
        write("two", False)
    with pytest.raises(RuntimeError, match="parity"):
        write("bad", True)
    assert (path / "saved_model.pb").read_text() == "one"
    write("two", True)
    assert (path / "saved_model.pb").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert size_of(path) == 3


def test_litter_of_a_killed_export_goes_with_the_next_one(tmp_path, monkeypatch):
    path = tmp_path / "model"
    # A number that no process has.
    litter = tmp_path / files.temporary(path).name.replace(f"-{os.getpid()}-", "-4194305-")
    litter.mkdir()
    (litter / "saved_model.pb").write_text("half")
    with placing(path, directory=True, overwrite=False) as temporary:
        temporary.mkdir()
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_dangling_link_is_something(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(FileExistsError):
        check_target(tmp_path / "link", directory=False, overwrite=False)


def test_full_precision_is_restored():
    from export.precision import full_precision

    x = keras.ops.ones((2, 2))
    with pytest.raises(KeyError), full_precision():
        keras.ops.matmul(x, x)
        raise KeyError
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        assert tf.config.experimental.tensor_float_32_execution_enabled()
