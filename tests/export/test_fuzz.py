"""Damaged files by a fixed seed: only the documented exceptions, whatever the damage."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import export
from export.contract import Contract
from export.onnx_file import check_onnx_file
from sharedkeras.files import parse_json

ALLOWED = (ValueError, ImportError, FileNotFoundError)
SHAPE = (6, 5, 3)


def mutated(data, rng):
    """Flip bits, cut, double or overwrite a few places."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        place, kind = int(rng.integers(len(data))), rng.integers(5)
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place] = int(rng.choice([0, 1, 127, 128, 255]))
        elif kind == 2:
            del data[place : place + int(rng.integers(1, 9))]
        elif kind == 3:
            data[place:place] = data[place : place + int(rng.integers(1, 9))]
        else:
            data = data[: max(place, 1)]
    return bytes(data)


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    """A classifier of other origin with a convolution, a computed shape, a slice and a dense layer."""
    rng = np.random.default_rng(0)
    constants = {
        "k": rng.normal(size=(4, 3, 3, 3)).astype("float32"),
        "start": np.array([1]),
        "stop": np.array([3]),
        "axis": np.array([1]),
        "rest": np.array([0, -1]),
        "w": rng.normal(size=(24, 4)).astype("float32"),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "k"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Slice", ["r", "start", "stop", "axis"], ["s"]),
        helper.make_node("Reshape", ["s", "rest"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    path = tmp_path_factory.mktemp("fuzz") / "good.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    assert export.from_onnx(path, input_shape=SHAPE).output_shape == (None, 4)
    return path


def test_onnx_files(small_file, tmp_path):
    good, rng, refused = small_file.read_bytes(), np.random.default_rng(11), 0
    path = tmp_path / "damaged.onnx"
    for _ in range(300):
        path.write_bytes(mutated(good, rng))
        try:
            export.from_onnx(path, input_shape=SHAPE)
        except ALLOWED as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 100


def test_bytes_without_a_runtime(small_file, tmp_path):
    good, rng = small_file.read_bytes(), np.random.default_rng(12)
    path = tmp_path / "damaged.onnx"
    for _ in range(3000):
        path.write_bytes(mutated(good, rng))
        try:
            check_onnx_file(path)
        except ValueError as error:
            assert str(path) in str(error)


def _changed(tree, rng):
    """Replace or drop one value somewhere in a tree of JSON."""
    odd = [None, 0, -1, 1.5, 10**30, "", "abc", [], {}, [1, 2], True, {"a": 1}, [[]]]
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.2:
        return odd[int(rng.integers(len(odd)))]
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key = keys[int(rng.integers(len(keys)))]
    tree = tree.copy()
    if rng.random() < 0.2:
        del tree[key]
    else:
        tree[key] = _changed(tree[key], rng)
    return tree


def test_metadata():
    names = ("a", "b", "c")
    good = Contract("n", SHAPE, 3, names, {"keras": "3"}).to_dict() | {"digest": "0" * 64}
    assert Contract.from_dict(good, "file").class_names == names
    rng, text, taken = np.random.default_rng(13), json.dumps(good).encode(), []
    for number in range(2000):
        try:
            if number % 2:
                values = _changed(good, rng)
            else:
                text_of_it = mutated(text, rng).decode("latin-1")
                values = parse_json(text_of_it, where="some/file", what="metadata", root=None)
            taken.append((values, Contract.from_dict(values, "some/file")))
        except ValueError as error:
            assert "some/file" in str(error)
    # What is taken says what the good one says, but for names and versions, which are free.
    for values, contract in taken:
        assert (contract.input_shape[2], contract.num_classes) == (3, 3), values
        assert len(contract.class_names or names) == 3
