"""Makes a Keras network of an ONNX file."""

import re

import numpy as np

from export.contract import INPUT, OUTPUTS

_PROBES = 4
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
    nodes = _leading_to({exit_, wanted}, model)
    _check_known(nodes, model, path)
    images = keras.Input(served.input_shape, name="images")
    first = foreign is not None and foreign.channels_first
    values = _run(nodes, model, {entrance: Value(images, last=first)}, path)
    if not isinstance(values.get(wanted), Value):
        raise ValueError(f"The file has no such tensor. Received: output={output!r}")
    network, checked = (
        keras.Model(images, plain(values[name]), name=_legal(served.name)) for name in (wanted, exit_)
    )
    _check(checked, served, path)
    return network


def _leading_to(names, model):
    """Return the operators that some tensors depend on, in an order of execution, the file's."""
    names, found = set(names), []
    for node in reversed(model.graph.node):
        if names & set(node.output):
            found.insert(0, node)
            names.update(node.input)
    return found


def _check_known(nodes, model, path):
    """Refuses operators that cannot be imported, all at once; on constants every operator can."""
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


def _run(nodes, model, values, path):
    """Goes through the operators; returns all tensors by name."""
    from onnx import helper, numpy_helper

    from export.onnx_import.operators import build
    from export.onnx_import.values import Node, Value

    values |= {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    taken = set()
    for node in nodes:
        inputs = [values[name] if name else None for name in node.input]
        try:
            if not any(isinstance(value, Value) for value in inputs):
                found = _folded(node, inputs, model)
            else:
                attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
                name = _unique(node.name or f"{node.op_type}_{node.output[0]}", taken)
                found = build(Node(node.op_type, name, inputs, attributes, len(node.output)))
        except ValueError as error:
            raise ValueError(
                f"The operator {node.op_type} {node.name!r} cannot be imported: {error}. "
                f"Received: path={str(path)!r}"
            ) from error
        values.update(zip(node.output, found, strict=False))
    return values


def _folded(node, inputs, model):
    """Compute an operator whose inputs are constants."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

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
    name = base = _legal(name)
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
    gap = float(np.abs(network.predict(images, verbose=0) - wanted).max())
    limit = _TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    if not gap <= limit:
        raise ValueError(
            f"The network does not give the file's logits: they differ by {gap:.2g}, and {limit:.2g} is "
            f"allowed. Received: path={str(path)!r}"
        )
