"""ONNX files, of this package and of strangers."""

import json

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import export
from damage.case import Case
from damage.files import damaged_bytes

_SHAPE, _CLASSES = (6, 6, 1), ("a", "b", "c")


def _network():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input(_SHAPE)
    x = keras.layers.Conv2D(2, 3, activation="relu", data_format="channels_last")(x)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)), name="small")


def _images():
    return np.random.default_rng(0).random((5, *_SHAPE)).astype("float32")


def _changed(data, change):
    model = onnx.load_from_string(data)
    change(model)
    return model.SerializeToString()


def _set(model, key, value):
    for prop in model.metadata_props:
        if prop.key == key:
            prop.value = value


def _drop(model, key):
    kept = [prop for prop in model.metadata_props if prop.key != key]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)


def _external(model, location):
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)


def _weights(model, value):
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    array = numpy_helper.to_array(tensor).copy()
    array.flat[0] = value
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _loop(model):
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_in"], ["go_out"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("go_out", TensorProto.BOOL, [])],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(2**62), "trips"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "go"))
    model.graph.node.append(helper.make_node("Loop", ["trips", "go"], [], body=body))


def _huge(model):
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**40]), "size"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["huge"]))


def _recursion(model):
    model.opset_import.append(helper.make_opsetid("own", 1))
    node = helper.make_node("again", ["x"], ["y"], domain="own")
    function = helper.make_function("own", "again", ["x"], ["y"], [node], model.opset_import)
    model.functions.append(function)
    model.graph.node.append(helper.make_node("again", [model.graph.input[0].name], ["z"], domain="own"))


def _unknown_operator(model):
    model.graph.node.append(helper.make_node("NoSuchOperator", [model.graph.input[0].name], ["z"]))


def _dangling(model):
    model.graph.node[0].input[0] = "nowhere"


def _no_opset(model):
    del model.opset_import[:]


def _later_opset(model):
    model.opset_import[0].version = 9999


def _two_inputs(model):
    other = helper.make_tensor_value_info("more", TensorProto.FLOAT, [None, 3])
    model.graph.input.append(other)


def _fixed_batch(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def _integers(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64


_CHANGES = {
    "weights beside the file that are not there": lambda m: _external(m, "weights.bin"),
    "weights in a folder above": lambda m: _external(m, "../weights.bin"),
    "weights of an absolute path": lambda m: _external(m, "/etc/passwd"),
    "a weight of NaN": lambda m: _weights(m, np.nan),
    "a weight of infinity": lambda m: _weights(m, np.inf),
    "another weight": lambda m: _weights(m, 3.0),
    "a loop of 2^62 turns": _loop,
    "a tensor of a terabyte": _huge,
    "a function that calls itself": _recursion,
    "an unknown operator": _unknown_operator,
    "a node without its input": _dangling,
    "no operator set": _no_opset,
    "an operator set of later": _later_opset,
    "two inputs": _two_inputs,
    "batches of two": _fixed_batch,
    "images of integers": _integers,
    "no digest": lambda m: _drop(m, "digest"),
    "another digest": lambda m: _set(m, "digest", "0" * 64),
    "other class names": lambda m: _set(m, "class_names", json.dumps(["x", "y", "z"])),
    "too few class names": lambda m: _set(m, "class_names", json.dumps(["a"])),
    "class names that are no JSON": lambda m: _set(m, "class_names", "[a, b"),
    "no class names": lambda m: _drop(m, "class_names"),
    "an input of another shape": lambda m: _set(
        m, "input", json.dumps({"name": "images", "shape": ["batch", 9, 9, 1], "dtype": "float32"})
    ),
    "a format of later": lambda m: _set(m, "format_version", "99"),
    "no name": lambda m: _drop(m, "name"),
}


def cases(folder):
    """Yield damaged files and hostile ones."""
    network, x = _network(), _images()
    good = folder / "good.onnx"
    export.onnx(network, good, class_names=_CLASSES)
    data, expected = good.read_bytes(), np.asarray(export.load_onnx(good)(x))
    damages = [*damaged_bytes(data)]
    damages += [(name, _changed(data, change)) for name, change in _CHANGES.items()]
    damages.append(("a model of nothing", onnx.ModelProto().SerializeToString()))
    damages.append(("the file twice", data + data))
    for number, (name, value) in enumerate(damages):
        path = folder / f"{number}.onnx"
        path.write_bytes(value)
        yield Case(
            name, lambda path=path: _answers(path, x), str(path), lambda got: _is_right(got, expected)
        )
    yield Case("absent", lambda: export.load_onnx(folder / "no.onnx"), "no.onnx")
    yield Case("a directory", lambda: export.load_onnx(folder), str(folder))


def _answers(path, x):
    loaded = export.load_onnx(path)
    return np.asarray(loaded(x)), loaded.contract.class_names


def _is_right(got, expected):
    return np.array_equal(got[0], expected) and got[1] == _CLASSES
