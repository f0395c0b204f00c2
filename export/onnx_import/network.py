"""Makes a Keras network of an ONNX file."""

import math
import re

import numpy as np

from export.contract import INPUT, OUTPUTS

_PROBES = 4
_GROWING = ("ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Resize", "Tile", "Upsample")
"""Operators whose results are as large as numbers among their inputs say."""
_TOLERANCE = 1e-4
"""How far logits may lie from onnxruntime's, in units of the largest logit, or of 1 if it is less."""


def from_onnx(path, *, input_shape=None, output=None):
    """Make a Keras network of an ONNX image classifier, weights, gradients and all.

    Of a file alone only outputs are known, and black-box attacks bound its robustness from above. As a
    network it can be attacked with gradients, fine-tuned, and exported again. It is made of Keras's own
    layers, channels last, and its logits are compared with onnxruntime's before it is returned.

    Args:
        path: path of a file that `export.onnx` wrote, or with `input_shape` of any other that takes one
            float32 tensor of images in [0, 1], of shape `(batch, H, W, C)` or `(batch, C, H, W)`.
        input_shape: tuple `(H, W, C)`, the shape of an image, which only exported files tell.
        output: name of the tensor to return, such as the logits before a softmax; by default the output
            named "logits", else the first of floats.

    Returns:
        Functional `keras.Model` from `(batch, H, W, C)` images in [0, 1] to logits, its layers named
        after the file's.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or no classifier of such images, if it holds operators that
            cannot be imported, or if the network does not give the file's logits.
    """
    import keras  # Late: reading a file's outputs needs no framework.
    import onnx

    from export.onnx_import.values import Value, plain
    from export.runtime import load_onnx

    served = load_onnx(path, input_shape=input_shape, batch_size=_PROBES)
    model = onnx.load(str(path))
    foreign = served._foreign
    entrance, exit_ = (
        (INPUT, OUTPUTS[0]) if foreign is None else (foreign.input.name, foreign.output.name)
    )
    wanted = exit_ if output is None else output
    nodes = _leading_to([exit_, wanted], model, path)
    _check_known(nodes, model, path)
    images = keras.Input(served.input_shape, name="images")
    first = foreign is not None and foreign.channels_first
    frozen = foreign is not None and foreign.batch == 1
    values = {entrance: Value(images, last=first)}
    _run(nodes, model, values, path, images=images, frozen=frozen)
    if not isinstance(values.get(wanted), Value):
        raise ValueError(f"The file has no such tensor. Received: output={output!r}")
    network, checked = (
        keras.Model(images, plain(values[name]), name=_legal(served.name)) for name in (wanted, exit_)
    )
    _check(checked, served, path)
    return network


def _leading_to(names, model, path):
    """Return the operators that some tensors depend on, in an order in which they can be run."""
    makers = {name: node for node in model.graph.node for name in node.output if name}
    found, done, begun = [], set(), set()
    waiting = [(name, False) for name in names]
    while waiting:
        name, inputs_done = waiting.pop()
        node = makers.get(name)
        if node is None or id(node) in done:
            continue
        if inputs_done:
            done.add(id(node))
            found.append(node)
            continue
        if id(node) in begun:
            raise ValueError(f"The operators form a circle at {name!r}. Received: path={str(path)!r}")
        begun.add(id(node))
        waiting.append((name, True))
        waiting.extend((n, False) for n in node.input if n)
    return found


def _check_known(nodes, model, path):
    """Refuse operators that cannot be imported, all at once; on constants every operator can."""
    from export.onnx_import import operators

    constant, unknown = {tensor.name for tensor in model.graph.initializer}, set()
    for node in nodes:
        standard = node.domain in ("", "ai.onnx")
        if node.op_type == "Shape" or (standard and all(n in constant for n in node.input if n)):
            constant.update(node.output)
        elif not standard or node.op_type not in operators.names():
            unknown.add(node.op_type)
    if unknown:
        raise ValueError(
            f"The file holds operators that cannot be imported: {', '.join(sorted(unknown))}. Known are "
            f"{', '.join(operators.names())}. Received: path={str(path)!r}"
        )


def _run(nodes, model, values, path, **given):
    """Go through the operators and add all tensors to `values`, by name."""
    from onnx import numpy_helper

    from export.onnx_import.operators import build
    from export.onnx_import.values import Node, Value

    values |= {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    taken = set()
    for node in nodes:
        try:
            missing = [name for name in node.input if name and name not in values]
            if missing:
                raise ValueError(f"there are no tensors {missing}")
            inputs = [values[name] if name else None for name in node.input]
            attributes = {a.name: _attribute(a) for a in node.attribute}
            name = node.name or f"{node.op_type}_{node.output[0]}"
            made = Node(node.op_type, _legal(name), inputs, attributes, len(node.output), **given)
            if any(isinstance(value, Value) for value in inputs) or _of_the_batch(made):
                found = build(made._replace(name=_unique(made.name, taken)))
            else:
                found = _folded(node, inputs, model)
            _check_results(found)
        except Exception as error:  # Whatever is wrong with the file shows here, in any library.
            raise ValueError(
                f"The operator {node.op_type} {node.name!r} cannot be imported: {error}. "
                f"Received: path={str(path)!r}"
            ) from error
        values.update(zip(node.output, found, strict=False))


def _attribute(attribute):
    from onnx import TensorProto, helper, numpy_helper

    value = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def _of_the_batch(node):
    """Whether an operator makes a tensor out of a shape that holds the batch size."""
    from export.onnx_import.values import is_batch

    if node.kind not in _GROWING:
        return False
    whole = [np.ravel(v) for v in node.inputs if v is not None and np.asarray(v).dtype.kind == "i"]
    return any(is_batch(abs(int(n))) for n in np.concatenate([np.zeros(0, int), *whole]))


def _check_results(found):
    """Refuse tensors that are too large, or open in more than the batch size."""
    from export.onnx_import.values import LARGEST, Value

    for value in found:
        sizes = value.tensor.shape if isinstance(value, Value) else value.shape
        if sizes.count(None) != isinstance(value, Value):
            raise ValueError(f"the batch cannot be told in a tensor of shape {tuple(sizes)}")
        if math.prod(n for n in sizes if n is not None) > LARGEST:
            raise ValueError(f"a tensor of shape {tuple(sizes)} is too large")


def _folded(node, inputs, model):
    """Compute an operator whose inputs are constants."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    from export.onnx_import.values import LARGEST

    if node.op_type in _GROWING:
        whole = [v for v in inputs if v is not None and np.asarray(v).dtype.kind in "if"]
        if any(np.prod(np.abs(v[v != 0]).astype(float)) > LARGEST for v in whole if v.size <= 16):
            raise ValueError("its result is too large")
    names = [name for name in node.input if name]
    graph = helper.make_graph(
        [node],
        "constant",
        [helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(names)],
        [helper.make_empty_tensor_value_info(name) for name in node.output],
    )
    part = helper.make_model(graph, opset_imports=model.opset_import)
    given = {name: value for name, value in zip(node.input, inputs, strict=True) if name}
    return [np.asarray(value) for value in ReferenceEvaluator(part).run(None, given)]


def _unique(name, taken):
    base = name
    number = 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    taken.add(name)
    return name


def _legal(name):
    """Return a name that Keras takes for a layer, which must hold no slash."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_") or "layer"


def _check(network, served, path):
    images = np.random.default_rng(0).random((_PROBES, *served.input_shape)).astype("float32")
    wanted = served(images)
    if not np.isfinite(wanted).all():
        raise ValueError(f"The file gives NaN or infinity. Received: path={str(path)!r}")
    try:
        found = network.predict_on_batch(images)
    except Exception as error:  # Keras knows some shapes only when it runs.
        raise ValueError(
            f"The network made of the file cannot be run: {error}. Received: path={str(path)!r}"
        ) from error
    with np.errstate(invalid="ignore"):
        gap = float(np.abs(found - wanted).max())
    limit = _TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    if not gap <= limit:
        raise ValueError(
            f"The network does not give the file's logits: they differ by {gap:.2g}, and {limit:.2g} is "
            f"allowed. Received: path={str(path)!r}"
        )
