"""The read-only view of a network that attacks see."""

import functools

import keras
from keras import ops

from sharedkeras import backend
from sharedkeras.layers import GaussianStochastic
from sharedkeras.models.classifiers.fold import fold
from sharedkeras.models.classifiers.functional import functional, inference, last_dense
from sharedkeras.models.classifiers.multiply_adds import multiply_adds
from sharedkeras.models.classifiers.outputs import pick


class FrozenClassifier:
    """A network with constant weights, in inference mode, whose layer state is passed along.

    Attacks call the network inside compiled loops. There a Keras model is a trap: its call would move
    BatchNorm's statistics, leak tracers, or read stale weights inside nested scopes. This view calls it
    statelessly: the weights are constants, the state (of random layers) goes in and comes out.

    Args:
        network: `keras.Model` from images in [0, 1] to logits.
        select: str or int, which output to attack, where the network has several.

    Attributes: those of `Classifier`, and
        network: the network.
        unfolded: the network with every layer under its name, which that of `folded` has not.
        output: the symbolic logits `(None, K)`, or None where the network's graph is not known.
        parameters: list of tensors, the trainable weights.
        state: list of tensors, the other weights.

    Raises:
        TypeError: if `network` is no Keras model.
        ValueError: if it has several outputs and `select` names none of them, if it has several inputs,
            or if it has no weights yet.
    """

    white_box = True

    def __init__(self, network, select=None):
        if not isinstance(network, keras.Model):
            raise TypeError(
                "`network` must be a keras.Model from images to logits. "
                f"Received: network={network!r} of type {type(network).__name__}"
            )
        if not network.built:
            raise ValueError(
                "`network` must be built: begin it with keras.Input(shape), or call it on images once. "
                f"Received: the network '{network.name}', which has no weights yet"
            )
        inputs = getattr(network, "inputs", None) or [None]
        if len(inputs) > 1:
            raise ValueError(
                "`network` must have one input, images. Received: the network "
                f"'{network.name}' with {len(inputs)} inputs: {[tuple(i.shape) for i in inputs]}"
            )
        self.network = network
        self.select = select
        self._compiled = {}
        self._plain = functional(network)
        self.unfolded = self._plain
        self._mode = inference(self._plain)
        self._folded = None
        self.refresh()
        self.output = pick(getattr(self._plain, "output", None), select)

    def refresh(self):
        """Read the network's weights again, after they have changed; what was compiled stays."""
        self._folded = None
        # A converted variable is still the variable on TensorFlow; without its gradient it is a value.
        self.parameters, self.state = (
            [ops.stop_gradient(backend.local(ops.convert_to_tensor(v))) for v in variables]
            for variables in (self._plain.trainable_variables, self._plain.non_trainable_variables)
        )

    @property
    def name(self):
        """The network's name."""
        return self.network.name

    @functools.cached_property
    def random(self):
        """Whether the network draws numbers in inference mode, so that its state advances with a call.

        Dropout has a generator that it leaves alone, as has a latent layer that gives its mean. Where
        the images' shape is not known, whatever has a generator counts as random.
        """
        if not any("seed_generator" in v.path for v in self._plain.non_trainable_variables):
            return False
        if self.input_shape is None or None in self.input_shape:
            return True
        advanced = []

        def probe(view, state, x):
            after = view(x, state)[1]
            advanced.extend(a is not b for a, b in zip(state, after, strict=True))
            return x  # Nothing of the network is left to compile or to run.

        x = ops.zeros((1, *self.input_shape), dtype=keras.config.floatx())
        # Traced for what it tells, and not kept: no other function may be taken for it, nor it for one.
        self._graph(probe)(self.parameters, self.state, x)
        return any(advanced)

    @functools.cached_property
    def multiply_adds(self):
        """The multiplications of one image's forward pass, as far as the network's layers tell."""
        return multiply_adds(self._plain)

    @property
    def num_classes(self):
        """The number of logits, or None where the network does not say."""
        return None if self.output is None else self.output.shape[-1]

    @property
    def input_shape(self):
        """The shape `(H, W, C)` of an image, or None where the network does not say."""
        shape = getattr(self._plain, "input_shape", None)
        return tuple(shape[1:]) if isinstance(shape, tuple) else None

    @property
    def last_operation(self):
        """The layer or operation that gives the logits, or None if not known."""
        output = self.output
        while hasattr(output, "_keras_history"):
            step = output._keras_history.operation
            if not isinstance(step, keras.Model):
                return step
            output = functional(step).outputs[output._keras_history.tensor_index]
        return None

    @property
    def last_step(self):
        """The name of the function that gives the logits, such as "linear", or None if not known."""
        step = self.last_operation
        if step is None:
            return None
        activation = getattr(step, "activation", None)
        return getattr(activation, "__name__", None) or type(step).__name__

    def __call__(self, x, state=None):
        """Compute the logits.

        Args:
            x: `(batch, H, W, C)` tensor.
            state: list of tensors that an earlier call returned; by default the network's own.

        Returns:
            `(logits, state)`: `(batch, K)` tensor of the images' type, and the state after the call.
        """
        state = self.state if state is None else state
        outputs, state = self._plain.stateless_call(self.parameters, state, x, **self._mode)
        # A network in mixed precision may give half-precision logits; losses are computed in full.
        return ops.cast(pick(outputs, self.select), keras.backend.standardize_dtype(x.dtype)), state

    @property
    def folded(self):
        """A view of a network that gives the same logits but for rounding, and is faster: see `fold`."""
        if self._folded is None:
            # XLA merges such passes by itself.
            network = self._plain if backend.MERGES_PASSES else fold(self._plain)
            same = network is self._plain
            self._folded = self if same else FrozenClassifier(network, self.select)
            self._folded.unfolded = self.unfolded
        return self._folded

    def replica(self, device):
        """Return a view of the same weights on another device, with graphs of its own.

        Args:
            device: one of `backend.devices()`.

        Returns:
            `FrozenClassifier`.
        """
        twin = object.__new__(FrozenClassifier)
        twin.__dict__.update(self.__dict__)
        twin.parameters = [backend.put(v, device) for v in self.parameters]
        twin.state = [backend.put(v, device) for v in self.state]
        twin._compiled = {}
        twin._folded = None if self._folded in (None, self) else self._folded.replica(device)
        return twin

    def tap(self, layer):
        """Return a view of the same network whose output is a layer's activation.

        Args:
            layer: str, the layer's name, or None for the last one before the dense layer of logits.

        Returns:
            `FrozenClassifier` that gives the layer's output: of several the first, but of a
            `GaussianStochastic` layer the mean and not the sample.

        Raises:
            ValueError: if there is no such layer.
        """
        if layer is None:
            _, wanted = last_dense(self.unfolded)
            layer, node, _ = wanted._keras_history
            outputs = layer._inbound_nodes[node].output_tensors
        else:
            layer = self.unfolded.get_layer(layer)
            outputs = keras.tree.flatten(layer.output)
            wanted = outputs[0]
        if type(layer) is GaussianStochastic:
            wanted = outputs[1]
        return FrozenClassifier(keras.Model(self.unfolded.input, wanted))

    def compiled(self, key, fn):
        """Compile a function of this classifier, once for each key.

        Args:
            key: hashable; equal keys mean equal functions.
            fn: `fn(classifier, *args)`, pure.

        Returns:
            Function of `*args`. The weights are passed as arguments, not baked into the graph.
        """
        if key not in self._compiled:
            self._compiled[key] = self._graph(fn)
        graph = self._compiled[key]
        return lambda *args: graph(self.parameters, *args)

    def _graph(self, fn):
        def call(parameters, *args):
            view = object.__new__(FrozenClassifier)
            view.__dict__.update(self.__dict__)
            view.parameters = parameters
            return fn(view, *args)

        return backend.compile(call)

    def apply(self, key, fn, *args):
        """Call `fn(classifier, *args)`: compiled, or as part of a graph that is being traced.

        Args:
            key: hashable; equal keys mean equal functions.
            fn: pure function `(classifier, *args)`.
            *args: nested structures of tensors.

        Returns:
            What `fn` returns.
        """
        return fn(self, *args) if backend.is_tracing(args) else self.compiled(key, fn)(*args)

    def predict(self, x):
        """Compute the logits of one batch in a compiled graph.

        Args:
            x: `(batch, H, W, C)` array or tensor.

        Returns:
            `(batch, K)` tensor.
        """
        x = ops.convert_to_tensor(x)
        return self.apply("predict", lambda view, x, state: view(x, state)[0], x, self.state)

    def iterate(self, key, step, carry, constants, begin, end):
        """Run `carry = step(classifier, i, carry, constants)` for i in `begin .. end - 1`.

        Inside a graph that is being traced this is a loop of that graph. Outside, the loop is compiled
        once for any `begin` and `end`; where compiled loops are slow (JAX on a CPU) the step is
        compiled and called from Python.

        Args:
            key: hashable that names the step; equal keys mean equal steps.
            step: pure function `(classifier, i, carry, constants) -> carry`.
            carry: nested structure of tensors.
            constants: nested structure of tensors that the step reads.
            begin: int, the first iteration's number.
            end: int, one past the last iteration's number.

        Returns:
            The last `carry`.
        """
        if backend.is_tracing((carry, constants)):
            return backend.repeat(end - begin, lambda i, c: step(self, i + begin, c, constants), carry)
        if not backend.COMPILED_LOOPS:
            one = self.compiled(("step", key), step)
            for i in range(begin, end):
                carry = one(ops.convert_to_tensor(i, dtype="int32"), carry, constants)
            return carry

        def loop(view, begin, end, carry, constants):
            return backend.repeat(end - begin, lambda i, c: step(view, i + begin, c, constants), carry)

        bounds = (ops.convert_to_tensor(i, dtype="int32") for i in (begin, end))
        return self.compiled(("loop", key), loop)(*bounds, carry, constants)
