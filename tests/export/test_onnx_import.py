"""ONNX files as Keras networks: each operator against onnxruntime, gradients against the original."""

import keras
import numpy as np
import onnx
import pytest
from keras import layers, ops
from onnx import TensorProto, helper, numpy_helper

import export
from export.onnx_import import elementwise
from sharedkeras import evaluation, losses
from sharedkeras.attacks import APGD
from sharedkeras.models import FrozenClassifier
from sharedkeras.models.classifiers.gradients import input_gradient

SHAPE = (9, 8, 3)
CHANNELS = 6


def images(n=6):
    return np.random.default_rng(1).random((n, *SHAPE)).astype("float32")


def gradient(network, x, y):
    def compute(view, x, y, state):
        return input_gradient(view, losses.cross_entropy, y, x, state)[2]

    classifier = FrozenClassifier(network)
    given = (ops.convert_to_tensor(v) for v in (x, y))
    return ops.convert_to_numpy(classifier.apply("gradient", compute, *given, classifier.state))


def write(path, nodes, constants=None, opset=17, result="logits", batch="n"):
    """Write images, channels first -> a convolution "c" -> the nodes, ending in "e" -> four logits."""
    rng = np.random.default_rng(0)
    constants = dict(constants or {})
    constants["kernel"] = rng.normal(size=(CHANNELS, SHAPE[2], 3, 2)).astype("float32")
    constants["bias"] = rng.normal(size=CHANNELS).astype("float32")
    head = helper.make_node("Conv", ["x", "kernel", "bias"], ["c"], "first/conv", strides=[1, 2])
    whole = [head, *nodes, helper.make_node("Flatten", ["e"], ["flat"])]
    sizes = [1, SHAPE[2], *SHAPE[:2]]
    opsets = [helper.make_opsetid("", opset)]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *sizes[1:]])]

    def model(nodes, outputs):
        stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
        graph = helper.make_graph(nodes, "classifier", given, outputs, stored)
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    import onnxruntime

    probe = model(whole, [helper.make_empty_tensor_value_info("flat")]).SerializeToString()
    flat = onnxruntime.InferenceSession(probe, providers=["CPUExecutionProvider"]).run(
        None, {"x": np.zeros(sizes, "float32")}
    )[0]
    constants["matrix"] = rng.normal(size=(4, flat.shape[1])).astype("float32") / flat.shape[1] ** 0.5
    constants["offset"] = rng.normal(size=4).astype("float32")
    end = helper.make_node("Gemm", ["flat", "matrix", "offset"], ["logits"], "last", transB=1, alpha=2.0)
    tail = [] if result == "logits" else [helper.make_node("Softmax", ["logits"], [result], axis=1)]
    outputs = [helper.make_tensor_value_info(result, TensorProto.FLOAT, [batch, 4])]
    onnx.save(model([*whole, end, *tail], outputs), path)


def chain(*nodes, **constants):
    """Strings nodes, each `(kind, further inputs, attributes)`, from "c" to "e"."""
    made, before = [], "c"
    for number, (kind, further, attributes) in enumerate(nodes):
        after = "e" if number == len(nodes) - 1 else f"t{number}"
        made.append(helper.make_node(kind, [before, *further], [after], **attributes))
        before = after
    return made, constants


RNG = np.random.default_rng(5)
F = lambda *shape: RNG.normal(size=shape).astype("float32")  # noqa: E731
I = lambda *values: np.array(values, "int64")  # noqa: E731, E741

GRAPHS = {
    "depthwise": chain(("Conv", ["w"], {"group": 6, "pads": [1, 0, 1, 1]}), w=F(12, 1, 3, 3)),
    "groups": chain(("Conv", ["w", "b"], {"group": 2, "dilations": [2, 1]}), w=F(4, 3, 2, 2), b=F(4)),
    "same upper": chain(("Conv", ["w"], {"auto_pad": "SAME_UPPER", "strides": [2, 3]}), w=F(2, 6, 4, 4)),
    "same lower": chain(("Conv", ["w"], {"auto_pad": "SAME_LOWER", "strides": [2, 3]}), w=F(2, 6, 4, 4)),
    "normalised": chain(
        ("BatchNormalization", ["g", "b", "m", "v"], {"epsilon": 1e-3}),
        ("LeakyRelu", [], {"alpha": 0.3}),
        g=F(6),
        b=F(6),
        m=F(6),
        v=F(6) ** 2,
    ),
    "normalised features": chain(
        ("GlobalMaxPool", [], {}),
        ("Flatten", [], {}),
        ("BatchNormalization", ["g", "b", "m", "v"], {}),
        g=F(6),
        b=F(6),
        m=F(6),
        v=F(6) ** 2,
    ),
    "max pool": chain(
        ("MaxPool", [], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]})
    ),
    "max pool, ceil": chain(
        ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1})
    ),
    "average pool": chain(("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]})),
    "average pool, pads counted": chain(
        ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 0, 0], "count_include_pad": 1})
    ),
    "constants": chain(
        ("Sub", ["a"], {}),
        ("Div", ["b"], {}),
        ("Mul", ["c3"], {}),
        ("PRelu", ["s"], {}),
        a=F(1, 6, 1, 1),
        b=F(6, 1, 1) ** 2 + 1,
        c3=F(4),  # Along the width.
        s=F(6, 1, 1),
    ),
    "mean of places": chain(("ReduceMean", [], {"axes": [2, 3], "keepdims": 0})),
    "mean of channels": chain(("ReduceMean", [], {"axes": [1], "keepdims": 0})),
    "shape computed": (
        [
            helper.make_node("Shape", ["c"], ["s"]),
            helper.make_node("Gather", ["s", "zero"], ["batch"], axis=0),
            helper.make_node("Unsqueeze", ["batch", "axes"], ["first"]),
            helper.make_node("Concat", ["first", "rest"], ["target"], axis=0),
            helper.make_node("Reshape", ["c", "target"], ["e"]),
        ],
        {"zero": np.array(0), "axes": I(0), "rest": I(-1)},
    ),
    "reshape and back": chain(("Reshape", ["t"], {}), ("Tanh", [], {}), t=I(-1, 3, 2, 28)),
    "transposed": chain(
        ("Transpose", [], {"perm": [0, 2, 3, 1]}),
        ("MatMul", ["w"], {}),
        ("Transpose", [], {"perm": [0, 3, 1, 2]}),
        w=F(6, 5),
    ),
    "transposed otherwise": chain(("Transpose", [], {"perm": [0, 3, 2, 1]}), ("Sigmoid", [], {})),
    "branches": (
        [
            helper.make_node("Split", ["c", "sizes"], ["p", "q"], axis=1),
            helper.make_node("Relu", ["p"], ["r"]),
            helper.make_node("Concat", ["r", "q", "q"], ["j"], axis=1),
            helper.make_node("Sum", ["j", "j", "shift"], ["e"]),
        ],
        {"sizes": I(2, 4), "shift": F(1)},
    ),
    "cut": chain(
        ("Slice", ["start", "stop", "axes"], {}),
        ("Gather", ["order"], {"axis": 1}),
        ("Pad", ["pads", "value"], {}),
        start=I(1, -3),
        stop=I(6, 100),
        axes=I(1, 3),
        order=I(4, 0, 2),
        pads=I(0, 1, 0, 2, 0, 0, 3, 0),
        value=np.float32(0.5),
    ),
    "attention over channels": (
        [
            helper.make_node("GlobalAveragePool", ["c"], ["m"]),
            helper.make_node("Clip", ["m", "low", "high"], ["k"]),
            helper.make_node("Mul", ["c", "k"], ["e"]),
        ],
        {"low": np.float32(-0.1), "high": np.float32(0.2)},
    ),
    "squeezed": chain(
        ("GlobalAveragePool", [], {}),
        ("Squeeze", ["axes"], {}),
        ("Softmax", [], {"axis": 1}),
        ("Unsqueeze", ["axes"], {}),
        ("Dropout", [], {}),
        axes=I(2, 3),
    ),
    "transposed convolution": chain(
        (
            "ConvTranspose",
            ["w", "b"],
            {"strides": [2, 3], "pads": [1, 0, 1, 2], "output_padding": [1, 2]},
        ),
        w=F(6, 4, 3, 4),
        b=F(4),
    ),
    "transposed convolution in groups": chain(
        ("ConvTranspose", ["w"], {"group": 2, "dilations": [2, 1]}), w=F(6, 2, 2, 3)
    ),
    "transposed convolution to a size": chain(
        ("ConvTranspose", ["w"], {"strides": [2, 2], "output_shape": [13, 9]}), w=F(6, 3, 3, 3)
    ),
    "transposed convolution, same": chain(
        ("ConvTranspose", ["w"], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}), w=F(6, 3, 3, 3)
    ),
    "transposed convolution with gaps": chain(
        ("ConvTranspose", ["w", "b"], {"strides": [3, 4]}), w=F(6, 3, 2, 2), b=F(3)
    ),
    "depthwise, dilated and strided": chain(
        ("Conv", ["w"], {"group": 6, "dilations": [2, 2], "strides": [2, 2], "pads": [2, 2, 2, 2]}),
        w=F(6, 1, 3, 3),
    ),
    "resized, nearest": chain(
        (
            "Resize",
            ["", "scales"],
            {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        ),
        scales=np.float32([1, 1, 2, 3]),
    ),
    "resized, linear": chain(
        (
            "Resize",
            ["", "scales"],
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        ),
        scales=np.float32([1, 1, 1.5, 0.75]),
    ),
    "resized, cubic": chain(
        ("Resize", ["", "scales"], {"mode": "cubic", "cubic_coeff_a": -0.5}),
        scales=np.float32([1, 1, 1.7, 0.6]),
    ),
    "padded by the edge": chain(("Pad", ["pads"], {"mode": "edge"}), pads=I(0, 0, 1, 2, 0, 0, 3, 0)),
    "padded by reflection": chain(
        ("Pad", ["pads"], {"mode": "reflect"}), pads=I(0, 0, 1, 2, 0, 0, 3, 0)
    ),
    "layers normalised": chain(
        ("LayerNormalization", ["g", "b"], {"axis": 2, "epsilon": 1e-3}), g=F(7, 4), b=F(7, 4)
    ),
    "instances normalised": chain(("InstanceNormalization", ["g", "b"], {}), g=F(6), b=F(6)),
    "compared and chosen": (
        [
            helper.make_node("Greater", ["c", "zero"], ["p"]),
            helper.make_node("Not", ["p"], ["q"]),
            helper.make_node("Exp", ["c"], ["power"]),
            helper.make_node("Where", ["q", "power", "along"], ["y"]),
            helper.make_node("Cast", ["p"], ["z"], to=TensorProto.FLOAT),
            helper.make_node("Mean", ["y", "z"], ["e"]),
        ],
        {"zero": np.float32(0), "along": F(4)},
    ),
    "summed up and sorted": (
        [
            helper.make_node("CumSum", ["c", "axis"], ["s"]),
            helper.make_node("TopK", ["s", "two"], ["e", "which"], axis=-1),
        ],
        {"axis": np.array(1), "two": I(2)},
    ),
    "summed by letters": chain(("Einsum", ["w"], {"equation": "nchw,cd->nhd"}), w=F(6, 3)),
    "blocks to places": chain(
        ("ConvTranspose", ["w"], {}),
        ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
        ("SpaceToDepth", [], {"blocksize": 2}),
        ("DepthToSpace", [], {"blocksize": 2}),
        w=F(6, 8, 1, 1),
    ),
    "repeated and backwards": chain(
        ("Tile", ["times"], {}),
        ("Slice", ["start", "stop", "axes", "steps"], {}),
        times=I(1, 1, 2, 3),
        start=I(-1, 0),
        stop=I(-100, 9),
        axes=I(2, 3),
        steps=I(-2, 3),
    ),
    "a table of rows and columns": chain(
        ("Gather", ["which"], {"axis": 3}), which=I(0, 3, -1, 2).reshape(2, 2)
    ),
    "norms": (
        [
            helper.make_node("ReduceL2", ["c"], ["p"], axes=[1], keepdims=1),
            helper.make_node("ReduceLogSumExp", ["c"], ["q"], axes=[1], keepdims=1),
            helper.make_node("ReduceL1", ["c"], ["r"], axes=[-1], keepdims=1),
            helper.make_node("Sum", ["p", "q", "r"], ["e"]),
        ],
        {},
    ),
    "the batch joined with another axis": (
        [
            helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", ["t", "rows"], ["r"]),
            helper.make_node("Gemm", ["r", "w"], ["g"]),
            helper.make_node("Shape", ["c"], ["s"]),
            helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
            helper.make_node("Concat", ["n", "places"], ["target"], axis=0),
            helper.make_node("Reshape", ["g", "target"], ["b"]),
            helper.make_node("Transpose", ["b"], ["back"], perm=[2, 1, 0]),
            helper.make_node("Transpose", ["back"], ["e"], perm=[2, 1, 0]),
        ],
        {"rows": I(-1, 6), "w": F(6, 5), "zero": I(0), "places": I(28, 5)},
    ),
    "a token for each image": (
        [
            helper.make_node("Flatten", ["c"], ["f"]),
            helper.make_node("Unsqueeze", ["f", "one"], ["u"]),
            helper.make_node("Shape", ["c"], ["s"]),
            helper.make_node("Slice", ["s", "zero", "one"], ["n"]),
            helper.make_node("Concat", ["n", "sizes"], ["target"], axis=0),
            helper.make_node("Expand", ["token", "target"], ["k"]),
            helper.make_node("Concat", ["k", "u"], ["e"], axis=1),
        ],
        {"zero": I(0), "one": I(1), "sizes": I(1, 168), "token": F(1, 1, 168)},
    ),
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_logits_are_those_of_onnxruntime(kind, tmp_path):
    nodes, constants = GRAPHS[kind]
    path = tmp_path / "other.onnx"
    write(path, nodes, constants)
    network = export.from_onnx(path, input_shape=SHAPE)
    x = images()
    wanted = export.load_onnx(path, input_shape=SHAPE)(x)
    assert np.ptp(wanted, axis=0).min() > 1e-3  # They depend on the image.
    np.testing.assert_allclose(network.predict(x, verbose=0), wanted, rtol=1e-4, atol=1e-4)
    assert network.input_shape == (None, *SHAPE) and network.output_shape == (None, 4)


ACTIVATIONS = (
    "Elu Softplus Exp Abs HardSigmoid HardSwish Erf Celu Selu Mish ThresholdedRelu Shrink Softsign Sign "
    "Sin Cos Atan Sinh Cosh Floor Ceil Round Neg LogSoftmax LeakyRelu"
)


@pytest.mark.parametrize("kind", ACTIVATIONS.split())
def test_activations(kind, tmp_path):
    nodes = [helper.make_node(kind, ["c"], ["a"]), helper.make_node("Add", ["a", "c"], ["e"])]
    path = tmp_path / "other.onnx"
    write(path, nodes, opset=18)
    found = export.from_onnx(path, input_shape=SHAPE).predict(images(), verbose=0)
    wanted = export.load_onnx(path, input_shape=SHAPE)(images())
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_attributes_of_old_files(tmp_path):
    nodes, constants = chain(
        ("Clip", [], {"min": -0.5, "max": 0.7}),
        ("Pad", [], {"pads": [0, 0, 1, 1, 0, 0, 0, 0], "value": 0.3}),
        ("ReduceMean", [], {"axes": [3]}),
        ("Squeeze", [], {"axes": [3]}),
    )
    path = tmp_path / "old.onnx"
    write(path, nodes, constants, opset=10)
    assert export.from_onnx(path, input_shape=SHAPE).output_shape == (None, 4)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    keras.utils.set_random_seed(3)
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(4.0, -2.0)(inputs)
    x = layers.Conv2D(8, 3, padding="same", strides=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(8, 3, padding="same")(x) + x
    network = keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)), name="small")
    path = tmp_path_factory.mktemp("exported") / "small.onnx"
    export.onnx(network, path)
    return network, path


def test_an_export_comes_back_with_its_gradients(exported, tmp_path):
    network, path = exported
    found = export.from_onnx(path)
    x, y = images(), np.arange(6, dtype="int32") % 5
    wanted = network.predict(x, verbose=0)
    np.testing.assert_allclose(found.predict(x, verbose=0), wanted, rtol=1e-5, atol=1e-5)
    wanted = gradient(network, x, y)
    assert np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(gradient(found, x, y), wanted, rtol=1e-3, atol=1e-6)
    assert found.name == "small"
    found.save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), found.predict(x, verbose=0))


def test_it_is_attacked_like_any_network(exported):
    network, path = exported
    x = images()
    y = network.predict(x, verbose=0).argmax(axis=1)
    attacks = {"apgd-ce": APGD(epsilon=0.1, steps=10)}
    reports = [
        evaluation.autoattack(n, x, y, epsilon=0.1, version="custom", attacks=attacks)
        for n in (network, export.from_onnx(path))
    ]
    assert reports[0].robust < 1
    np.testing.assert_array_equal(*(r.robust_flags for r in reports))


def test_another_output(tmp_path):
    path = tmp_path / "other.onnx"
    write(path, *chain(("Relu", [], {})), result="probabilities")
    odds, logits = (
        export.from_onnx(path, input_shape=SHAPE, output=name).predict(images(), verbose=0)
        for name in (None, "logits")
    )
    np.testing.assert_allclose(odds.sum(axis=1), 1.0, rtol=1e-5)
    odds_of = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(odds_of, odds, rtol=1e-4)
    with pytest.raises(ValueError, match=r"no such tensor.*output='kernel'"):
        export.from_onnx(path, input_shape=SHAPE, output="kernel")


def test_a_network_with_other_logits_is_not_returned(tmp_path, monkeypatch):
    path = tmp_path / "other.onnx"
    write(path, *chain(("Relu", [], {})))
    monkeypatch.setitem(elementwise._ACTIVATIONS, "Relu", lambda _: layers.ReLU(negative_slope=0.01))
    with pytest.raises(ValueError, match="does not give the file's logits"):
        export.from_onnx(path, input_shape=SHAPE)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            chain(("LRN", [], {"size": 3}), ("LpNormalization", [], {}), g=F(6)),
            "operators that cannot be imported: LRN, LpNormalization",
        ),
        (
            chain(("MaxPool", [], {"kernel_shape": [2, 2], "dilations": [2, 2]})),
            "MaxPool.*dilated pools",
        ),
        (
            chain(("CumSum", ["a"], {"reverse": 1}), a=np.array(2)),
            "CumSum.*run backwards",
        ),
        (
            chain(("Pad", ["pads"], {"mode": "edge"}), pads=I(0, 0, 1, -1, 0, 0, 0, 0)),
            "Pad.*'edge' with",
        ),
    ],
)
def test_what_cannot_be_imported_is_named(nodes, message, tmp_path):
    path = tmp_path / "other.onnx"
    write(path, *nodes)
    with pytest.raises(ValueError, match=message):
        export.from_onnx(path, input_shape=SHAPE)


def test_a_batch_that_its_writer_froze_is_freed(tmp_path):
    path = tmp_path / "other.onnx"
    write(path, *chain(("Reshape", ["t"], {}), t=I(1, -1)), batch=1)
    network = export.from_onnx(path, input_shape=SHAPE)
    assert network.predict(images(6), verbose=0).shape == (6, 4)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such ONNX file"):
        export.from_onnx(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no protobuf")
    with pytest.raises(ValueError, match="cannot be read"):
        export.from_onnx(tmp_path / "broken.onnx")
