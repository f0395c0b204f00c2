"""Finds operations that would make an exported file random or let it change."""

import re

# Seeds and counters of TensorFlow's stateless random operations: never without a draw beside them.
_HELPERS = ("StatelessRandomGetKeyCounter", "StatelessRandomGetAlg")
_TENSORFLOW_RANDOM = re.compile(
    r"Random|Multinomial|TruncatedNormal|StatefulUniform|StatefulStandardNormal"
    r"|RngSkip|RngReadAndSkip|StatelessShuffle|SampleDistortedBoundingBox"
)
_TENSORFLOW_STATE = re.compile(r"^(Assign|ResourceScatter|ResourceApply)")
_ONNX_RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)


def check_tensorflow(graph_def, layers=(), *, allow_state=False):
    """Check that a TensorFlow graph always gives the same output for the same input.

    Args:
        graph_def: `GraphDef`, with the functions it calls.
        layers: names of the network's layers, to say where an operation comes from.
        allow_state: bool; a SavedModel assigns its variables when it is loaded.

    Raises:
        ValueError: if there is a random operation, or one that writes a variable.
    """
    nodes = [*graph_def.node, *(n for f in graph_def.library.function for n in f.node_def)]
    random = [(n.op, n.name) for n in nodes if _TENSORFLOW_RANDOM.search(n.op) and n.op not in _HELPERS]
    _refuse(random, layers, "draws random numbers in inference mode")
    if not allow_state:
        state = [(n.op, n.name) for n in nodes if _TENSORFLOW_STATE.search(n.op)]
        _refuse(state, layers, "changes its own variables in inference mode")


def check_onnx(graph, layers=()):
    """Check that an ONNX graph has no random operation.

    Args:
        graph: `onnx.GraphProto`.
        layers: names of the network's layers, to say where an operation comes from.

    Raises:
        ValueError: if there is one; dropout counts where it is in training mode.
    """
    found = [
        (node.op_type, node.name or node.output[0])
        for node, constants in _onnx_nodes(graph, {})
        if node.op_type in _ONNX_RANDOM or _is_training_dropout(node, constants)
    ]
    _refuse(found, layers, "draws random numbers in inference mode")


def _onnx_nodes(graph, outer):
    """Yield every node, those of inner graphs too, and the constants that it can read."""
    constants = {**outer, **{t.name: t for t in graph.initializer}}
    for node in graph.node:
        yield node, constants
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _onnx_nodes(inner, constants)


def _is_training_dropout(node, constants):
    # The third input switches training on; where it is computed, it may.
    if node.op_type != "Dropout" or len(node.input) < 3 or not node.input[2]:
        return False
    switch = constants.get(node.input[2])
    return switch is None or any(switch.raw_data) or any(switch.int32_data)


def _refuse(found, layers, what):
    if not found:
        return
    places = []
    for op, name in found:
        layer = layer_of(name, layers)
        place = f"{op} in layer {layer!r}" if layer else f"{op} at {name!r}"
        if place not in places:
            places.append(place)
    raise ValueError(
        f"The network {what}, so a file of it would not be deterministic. Received: {'; '.join(places)}"
    )


def layer_of(name, layers):
    """Find the layer in whose name scope an operation stands.

    Args:
        name: str, the operation's name, such as "cnn_1/latent_1/normal".
        layers: names of the network's layers.

    Returns:
        str, the layer's name, or None.
    """
    layers = set(layers)
    for part in re.split(r"[/;]", name):
        # TensorFlow numbers a scope that is entered twice.
        for candidate in (part, re.sub(r"_\d+$", "", part)):
            if candidate in layers:
                return candidate
    return None
