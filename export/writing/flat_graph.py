"""A TensorFlow function as one flat graph: weights as constants, calls inlined, no control flow.

Converters know fewer operations than TensorFlow has, and none knows calls compiled by XLA, which is how
Keras computes a grouped convolution. So the graph is copied operation by operation; on the way variables
and captured tensors become constants, calls become what they call, and operations that ONNX lacks become
others (`export.writing.replacements`).
"""

import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from export.writing.replacements import REPLACEMENTS, static_value

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_BRANCHES = ("If", "StatelessIf")
_HINTS = ("_class", "_XlaMustCompile", "_collective_manager_ids", "_read_only_resource_inputs")


def flat_graph(concrete, inputs, outputs):
    """Copy a function into a flat graph of constants and operations.

    Args:
        concrete: concrete function with structured outputs, a dict from names to tensors.
        inputs: list of names for the function's arguments.
        outputs: list of names, keys of the structured outputs.

    Returns:
        `GraphDef` whose tensors `name + ":0"` are those inputs and outputs.
    """
    source, captured = concrete.graph, _captured(concrete)
    graph = tf.Graph()
    with graph.as_default():
        known = {ref: tf.constant(value, name=name) for ref, (name, value) in captured.items()}
        arguments = [t for t in source.inputs if t.ref() not in known]
        for name, tensor in zip(inputs, arguments, strict=True):
            known[tensor.ref()] = tf.compat.v1.placeholder(tensor.dtype, tensor.shape, name)
        _copy(source, known, _Library(source.as_graph_def()), "")
        for name in outputs:
            tf.identity(known[source.structured_outputs[name].ref()], name)
    return graph.as_graph_def(add_shapes=True)


def _captured(concrete):
    """Return names and values of what a function has captured, by reference to its placeholders."""
    variables = {id(v.handle): v for v in concrete.graph.variables}
    found = {}
    for outer, inner in concrete.graph.captures:
        # A handle stands for the variable's value, which `ReadVariableOp` then passes on.
        value = variables[id(outer)].numpy() if outer.dtype == tf.resource else outer.numpy()
        found[inner.ref()] = f"captured/{inner.op.name}", value
    return found


class _Library:
    """The functions that a graph calls, as graphs."""

    def __init__(self, graph_def):
        self._library = graph_def.library
        self._definitions = {f.signature.name: f for f in graph_def.library.function}
        self._graphs = {}
        self._home = tf.Graph()  # Where functions that are called by functions are looked up.
        with self._home.as_default():
            tf.import_graph_def(tf.compat.v1.GraphDef(library=graph_def.library))

    def graph(self, name):
        if name not in self._graphs:
            with self._home.as_default():
                self._graphs[name] = function_def_to_graph(self._definitions[name])
        return self._graphs[name]

    def copy_to(self, graph_def):
        graph_def.library.CopyFrom(self._library)


def _copy(source, known, library, scope):
    """Copy the operations of a graph to the default one, in the order of their creation.

    Args:
        source: `FuncGraph`.
        known: dict from references of its tensors to their copies; extended.
        library: `_Library`.
        scope: str, prefix of the names.
    """
    for operation in source.get_operations():
        # What has no result only checks or orders; with nothing left to assign, order is moot.
        if not operation.outputs or all(t.ref() in known for t in operation.outputs):
            continue
        given = [known[t.ref()] for t in operation.inputs]
        results = _results(operation, given, library, scope)
        known.update(zip((t.ref() for t in operation.outputs), results, strict=True))


def _results(operation, given, library, scope):
    if operation.type == "ReadVariableOp":
        return given
    if operation.type in _CALLS:
        return _inlined(operation, operation.get_attr("f").name, given, library, scope)
    if operation.type in _BRANCHES:
        condition = static_value(given[0])
        if condition is not None:
            branch = operation.get_attr("then_branch" if condition else "else_branch").name
            return _inlined(operation, branch, given[1:], library, scope)
    if operation.type in REPLACEMENTS:
        with tf.name_scope(f"{scope}{operation.name}/"):
            replaced = REPLACEMENTS[operation.type](operation, *given)
        if replaced is not None:
            replaced.set_shape(operation.outputs[0].shape)
            return [replaced]
    return _imported(operation, given, library, scope)


def _inlined(operation, function, given, library, scope):
    body = library.graph(function)
    known = {inner.ref(): outer for inner, outer in zip(body.inputs, given, strict=True)}
    _copy(body, known, library, f"{scope}{operation.name}/")
    return [known[t.ref()] for t in body.outputs]


def _imported(operation, given, library, scope):
    node = operation.node_def  # A copy.
    node.name = f"{scope}{operation.name}"
    for hint in _HINTS:
        node.attr.pop(hint, None)
    del node.input[:]
    names = [f"given_{number}" for number in range(len(given))]
    node.input.extend(names)
    single = tf.compat.v1.GraphDef(node=[node])
    if any(attribute.HasField("func") for attribute in node.attr.values()):
        library.copy_to(single)
    (copied,) = tf.import_graph_def(
        single, dict(zip((f"{n}:0" for n in names), given, strict=True)), [node.name], name=""
    )
    for old, new in zip(operation.outputs, copied.outputs, strict=True):
        new.set_shape(old.shape)
    return copied.outputs
