"""ONNX files of unknown origin: what they name, how deep and how large they are."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import onnx_files

import export

SHAPE = (5, 6, 3)
FLOAT = TensorProto.FLOAT
X = np.random.default_rng(0).random((3, *SHAPE)).astype("float32")


def value(name, *sizes):
    return helper.make_tensor_value_info(name, FLOAT, sizes or None)


def model_of(nodes, constants=None, functions=(), order=1):
    """Return a linear classifier with some nodes from "flat" to "more" before its end."""
    constants = {"w": onnx_files.weights(SHAPE).reshape(-1, 10), **(constants or {})}
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        *nodes,
        helper.make_node("MatMul", ["more", "w"], ["logits"]),
    ][::order]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", "n", *SHAPE)],
        [value("logits", "n", 10)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8, functions=functions)


def both(path):
    """Return the logits that the file's runtime and the network made of it give."""
    served = export.load_onnx(path, input_shape=SHAPE)
    network = export.from_onnx(path, input_shape=SHAPE)
    return served(X), network.predict(X, verbose=0)


PASS = helper.make_node("Identity", ["flat"], ["more"])


@pytest.mark.parametrize("order", [1, -1])
def test_operators_in_any_order(order, tmp_path):
    onnx.save(model_of([PASS], order=order), tmp_path / "m.onnx")
    served, network = both(tmp_path / "m.onnx")
    np.testing.assert_allclose(served, onnx_files.logits(X), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(network, served, rtol=1e-4, atol=1e-4)


def outside(path, location, **more):
    """Write a model whose weights lie in another file."""
    model = model_of([PASS])
    tensor = model.graph.initializer[0]
    raw = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(text))
    path.write_bytes(model.SerializeToString())
    return raw


def test_weights_beside_the_file(tmp_path):
    (tmp_path / "a" / "deeper").mkdir(parents=True)
    raw = outside(tmp_path / "a" / "m.onnx", "deeper/weights.bin")
    (tmp_path / "a" / "deeper" / "weights.bin").write_bytes(raw)
    served, network = both(tmp_path / "a" / "m.onnx")
    np.testing.assert_allclose(served, onnx_files.logits(X), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(network, served, rtol=1e-4, atol=1e-4)
    before = export.load_onnx(tmp_path / "a" / "m.onnx", input_shape=SHAPE).sha256
    (tmp_path / "a" / "deeper" / "weights.bin").write_bytes(raw[4:] + raw[:4])
    assert export.load_onnx(tmp_path / "a" / "m.onnx", input_shape=SHAPE).sha256 != before


@pytest.mark.parametrize(
    ("location", "more"),
    [
        ("../weights.bin", {}),
        ("deeper/../../weights.bin", {}),
        ("{folder}/weights.bin", {}),
        ("link.bin", {}),
        ("", {}),
        (".", {}),
        ("..\\weights.bin", {}),
        ("C:weights.bin", {}),
        ("gone.bin", {}),
        ("short.bin", {"offset": 0, "length": 10**6}),
        ("short.bin", {"offset": -8}),
        ("short.bin", {"offset": "many"}),
    ],
)
@pytest.mark.parametrize("load", [export.load_onnx, export.from_onnx])
def test_weights_elsewhere(load, location, more, tmp_path):
    (tmp_path / "a" / "deeper").mkdir(parents=True)
    path = tmp_path / "a" / "m.onnx"
    raw = outside(path, location.format(folder=tmp_path), **more)
    (tmp_path / "weights.bin").write_bytes(raw)
    (tmp_path / "a" / "short.bin").write_bytes(raw)
    (tmp_path / "a" / "link.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ValueError, match="weights 'w' lie in") as caught:
        load(path, input_shape=SHAPE)
    assert str(path) in str(caught.value)


def branch():
    then = helper.make_graph([helper.make_node("Identity", ["flat"], ["t"])], "t", [], [value("t")])
    other = helper.make_graph([helper.make_node("Neg", ["flat"], ["o"])], "o", [], [value("o")])
    return model_of(
        [helper.make_node("If", ["yes"], ["more"], then_branch=then, else_branch=other)],
        {"yes": np.array(True)},
    )


def loop():
    whole = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    truth = [helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("c", "d")]
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Identity", ["s"], ["r"])],
        "body",
        [whole, truth[0], value("s")],
        [truth[1], value("r")],
    )
    return model_of(
        [helper.make_node("Loop", ["many", "yes", "flat"], ["more"], body=body)],
        {"yes": np.array(True), "many": np.array(10**15)},
    )


def function():
    inner = helper.make_function(
        "own",
        "Same",
        ["a"],
        ["b"],
        [helper.make_node("Identity", ["a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    return model_of([helper.make_node("Same", ["flat"], ["more"], domain="own")], functions=[inner])


@pytest.mark.parametrize(
    ("make", "message"),
    [(branch, "loop or a branch, If"), (loop, "loop or a branch, Loop"), (function, "functions of its")],
)
def test_loops_branches_and_functions(make, message, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(make().SerializeToString())
    for load in (export.load_onnx, export.from_onnx):
        with pytest.raises(ValueError, match=message) as caught:
            load(path, input_shape=SHAPE)
        assert str(path) in str(caught.value)
    if make is not loop:  # Which would run for days.
        served = export.load_onnx(path, input_shape=SHAPE, trust=True)
        np.testing.assert_allclose(served(X), onnx_files.logits(X), rtol=1e-4, atol=1e-4)


def graphs_in_graphs(depth):
    graph = helper.make_graph([helper.make_node("Identity", ["flat"], ["t"])], "g", [], [value("t")])
    for _ in range(depth):
        node = helper.make_node("If", ["yes"], ["t"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "g", [], [value("t")])
    node = helper.make_node("If", ["yes"], ["more"], then_branch=graph, else_branch=graph)
    return model_of([node], {"yes": np.array(True)})


def test_depth_is_bounded_with_trust_too(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(graphs_in_graphs(4).SerializeToString())
    assert export.load_onnx(path, input_shape=SHAPE, trust=True)(X).shape == (3, 10)
    graph = helper.make_graph([], "g", [], []).SerializeToString()
    for _ in range(2000):  # By hand: the library itself gives up at a depth of 100.
        attribute = field(5, field(1, b"a") + field(6, graph))
        graph = field(1, field(4, b"If") + attribute)
    path.write_bytes(field(7, graph))
    with pytest.raises(ValueError, match="nested deeper than 16"):
        export.load_onnx(path, input_shape=SHAPE, trust=True)


def field(number, data):
    """Return a field of Protocol Buffers that holds bytes."""
    size, length = b"", len(data)
    while True:
        size += bytes([length & 127 | (128 if length > 127 else 0)])
        length >>= 7
        if not length:
            return bytes([number << 3 | 2]) + size + data


HUGE = np.array([2**20, 2**20], "int64")
LARGE = {
    "filled": [
        helper.make_node("ConstantOfShape", ["huge"], ["h"]),
        helper.make_node("ReduceMax", ["h"], ["m"], keepdims=0),
        helper.make_node("Add", ["flat", "m"], ["more"]),
    ],
    "repeated": [
        helper.make_node("Tile", ["flat", "huge"], ["h"]),
        helper.make_node("Add", ["flat", "h"], ["more"]),
    ],
    "grown": [
        helper.make_node("Expand", ["flat", "huge"], ["h"]),
        helper.make_node("Add", ["flat", "h"], ["more"]),
    ],
    "padded": [
        helper.make_node("Unsqueeze", ["flat", "ends"], ["u"]),
        helper.make_node("MaxPool", ["u"], ["p"], kernel_shape=[2, 2], pads=[2**30] * 4),
        helper.make_node("Flatten", ["p"], ["more"]),
    ],
}


@pytest.mark.parametrize("kind", LARGE)
def test_tensors_beyond_all_measure(kind, tmp_path):
    path = tmp_path / "m.onnx"
    model = model_of(LARGE[kind], {"huge": HUGE, "ends": np.array([1, 2])})
    path.write_bytes(model.SerializeToString())
    for load in (export.load_onnx, export.from_onnx):
        with pytest.raises(ValueError, match=r"elements are expected|is expected") as caught:
            load(path, input_shape=SHAPE)
        assert str(path) in str(caught.value)


def test_impossible_weights(tmp_path):
    path = tmp_path / "m.onnx"
    for sizes, message in (
        ([-1, 10], "impossible sizes"),
        ([2**40, 10], "impossible"),
        ([9**7], "hold"),
    ):
        model = model_of([PASS])
        model.graph.initializer[0].dims[:] = sizes
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ValueError, match=message):
            export.load_onnx(path, input_shape=SHAPE)


def test_files_cut_off(tmp_path):
    whole, path = model_of([PASS]).SerializeToString(), tmp_path / "m.onnx"
    for size in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        for load in (export.load_onnx, export.from_onnx):
            with pytest.raises(ValueError, match="cannot be read") as caught:
                load(path, input_shape=SHAPE)
            assert str(path) in str(caught.value)


def change(path, key, text):
    model = onnx.load(path)
    next(p for p in model.metadata_props if p.key == key).value = text
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("digest", "0" * 64, "changed after its metadata"),
        ("digest", "short", "SHA-256"),
        ("class_names", "abc", "Expected the metadata of an export in JSON"),
        ("class_names", '"abc"', "list of texts"),
        ("class_names", '["a"]', "one name for each"),
        ("format_version", '"3"', "format_version"),
        ("input", "{}", "'shape' must be there"),
        ("outputs", "[]", "damaged"),
        (
            "outputs",
            json.dumps([{"name": n, "shape": ["batch", 7]} for n in ("logits", "probabilities")]),
            "changed after its metadata",
        ),
        ("versions", "null", "versions"),
        ("versions", '{"keras": "9"}', "changed after its metadata"),
        ("class_names", json.dumps([f"another {i}" for i in range(10)]), "changed after its metadata"),
    ],
)
def test_metadata_must_fit(key, text, message, tmp_path):
    path = tmp_path / "m.onnx"
    onnx_files.write_export(path, SHAPE)
    assert export.load_onnx(path).contract.num_classes == 10
    change(path, key, text)
    for load in (export.load_onnx, export.from_onnx):
        with pytest.raises(ValueError, match=message) as caught:
            load(path)
        assert str(path) in str(caught.value)


def test_metadata_of_other_weights(tmp_path):
    path = tmp_path / "m.onnx"
    onnx_files.write_export(path, SHAPE)
    model = onnx.load(path)
    model.metadata_props.add(key="author", value="me")  # Others may add to the metadata.
    onnx.save(model, path)
    assert export.load_onnx(path).name == "linear"
    matrix = numpy_helper.to_array(model.graph.initializer[0]) * np.float32(1.5)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(matrix, "matrix"))
    onnx.save(model, path)
    with pytest.raises(ValueError, match="changed after its metadata"):
        export.load_onnx(path)
