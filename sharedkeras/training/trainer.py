"""The Keras model that trains a network on an objective."""

from collections.abc import Mapping

import keras
from keras import ops

from sharedkeras import backend
from sharedkeras.arguments import need_between, need_seed, plain
from sharedkeras.losses import cross_entropy
from sharedkeras.math import random
from sharedkeras.models import FrozenClassifier, in_full_precision
from sharedkeras.objectives import SharesNoise
from sharedkeras.training import contract
from sharedkeras.training.averaging import WeightAverage
from sharedkeras.training.curriculum import with_attack
from sharedkeras.training.weight_perturbation import perturbed


class RobustTrainer(backend.TrainStep, keras.Model):
    """Wraps a network for training and is thrown away afterwards.

    Each train step crafts the objective's views inside the graph, in inference mode and with the
    weights held constant, then takes Keras's own train step on them: the network runs each view once in
    training mode, clean first. BatchNorm so sees two batches, and its statistics never see a gradient
    step of the attack. Every term of the loss is logged.

    What goes in is checked: all arrays, or the first batch of a pipeline, before the first update; every
    other batch by a comparison in the graph, whose outcome is read when the epoch ends.

    The losses of the network's own layers (regularisers, `add_loss`) are added as `keras.Model.fit` adds
    them; of those that each pass makes anew the mean over the views, so that a penalty counts once.

    Saving the trainer, as `keras.callbacks.ModelCheckpoint` does, saves its network.

    All randomness follows from `seed`: the attack's draws are keyed by (seed, update, example), which is
    what makes a resumed run end where an unbroken one does.

    With `ema_decay` an average follows the weights: `average.settle(batches)` puts it into a twin of the
    network, which is then the one to judge (`judged`).

    Args:
        network: `keras.Model` from `(batch, H, W, C)` images in [0, 1] to `(batch, K)` logits, with
            weights in full precision; its computation may be in mixed precision.
        objective: an `Objective`.
        seed: int.
        weight_decay: float at least 0; adds `weight_decay / 2 * sum of squares` of all trainable
            variables to the loss, whose gradient is the coupled decay of PyTorch's SGD.
        augment: `augment(x, key, index) -> x`, applied in graph before the attack, or None.
        curriculum: `Curriculum` of training attacks that replace the objective's own, or None.
        ema_decay: float in (0, 1), limit of the warmed decay of the weights' average, or None.
        awp_gamma: float at least 0, size of the adversarial perturbation of the weights at which each
            gradient is taken, in units of their norm (0.01 and 0.005 in its paper); 0 for none.

    Raises:
        ValueError: if the network has no layer that the objective taps, gives probabilities or has
            weights in half precision, or a value is out of range.

    Reference: X. Yu et al., "Improving Adversarial Robustness by Learning Shared Information", 2022,
        Algorithm 1.
    """

    def __init__(
        self,
        network,
        objective,
        *,
        seed=0,
        weight_decay=0.0,
        augment=None,
        curriculum=None,
        ema_decay=None,
        awp_gamma=0.0,
    ):
        # Images reach the network as they are; it has a policy of its own.
        super().__init__(name="robust_trainer", dtype=contract.full_precision(), autocast=False)
        need_between(0, None, weight_decay=weight_decay, awp_gamma=awp_gamma)
        need_seed(seed=seed)
        contract.check_objective(objective)
        view = contract.check_network(network)  # What attacks cannot use is refused before any work.
        layers = {layer.name for layer in network.layers}
        missing = [tap for tap in objective.taps if tap not in layers]
        if missing:
            raise ValueError(
                f"{type(objective).__name__} reads the layers {list(objective.taps)}, and the network "
                f"has no {missing}; build it with `latent_dim=...`. "
                f"Received: network={network.name!r} with layers {sorted(layers)}"
            )
        if objective.taps and view.output is None:
            raise ValueError(
                f"{type(objective).__name__} reads the layers {list(objective.taps)}, for which the "
                "network must be functional. "
                f"Received: network={network.name!r} of type {type(network).__name__}"
            )
        if ema_decay is not None and view.output is None:
            raise ValueError(
                "The averaged network is a copy, for which the network must be functional. "
                f"Received: network={network.name!r} of type {type(network).__name__}"
            )
        self.network = network
        self.objective = objective
        self.weight_decay = plain(weight_decay)
        self.awp_gamma = plain(awp_gamma)
        self.augment = augment
        self.curriculum = curriculum
        self.root_seed = plain(seed)
        self.num_classes = view.num_classes
        self._output_is_known = view.num_classes is not None and contract.ends_in_a_product(view)
        self.image_shape = view.input_shape
        forward = network  # A subclassed network has no graph to tap, only logits.
        if view.output is not None:
            taps = {tap: view.unfolded.get_layer(tap).output for tap in objective.taps}
            forward = keras.Model(view.unfolded.input, {"logits": view.output, **taps})
            forward.dtype_policy = view.unfolded.dtype_policy
        self._passes = _Passes(forward, _same_noise(objective, network))
        if any(not layer.built for layer in objective.layers):
            if view.output is None:
                raise ValueError(
                    f"{type(objective).__name__} trains layers of its own on the network's outputs, for "
                    "which the network must be functional. "
                    f"Received: network={network.name!r} of type {type(network).__name__}"
                )
            objective.build(keras.tree.map_structure(lambda t: t.shape, forward.output))
        # Keras tracks these lists, so that they are trained, saved and restored with the rest.
        self._objective_layers = list(objective.layers)
        self._objective_variables = list(objective.variables)
        self.average = None if ema_decay is None else WeightAverage(network, ema_decay)
        self._averages = [] if self.average is None else self.average.variables
        # Only a graph can be copied; a subclassed network is judged in the precision it has.
        self._plain = _Plain(network, network if view.output is None else in_full_precision(network))
        self.epoch = self._counter("epoch")
        self.update = self._counter("update")
        self.broken = self._counter("broken", shape=(2,), aggregation="sum")
        self._terms = {name: keras.metrics.Mean(name=name) for name in self._term_names()}
        self._natural = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.built = True

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, metrics=None, **options):
        """Set the optimizer; the loss is the objective's, and what is logged is its terms.

        Args:
            optimizer: Keras optimizer or its name. For a network in mixed float16 it is wrapped in
                `keras.optimizers.LossScaleOptimizer`, as Keras does.
            loss: refused, as are `loss_weights`, `metrics` and `weighted_metrics`.
            loss_weights: refused.
            metrics: refused.
            **options: further arguments of `keras.Model.compile`.

        Raises:
            ValueError: if what is refused is given.
        """
        given = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": options.pop("weighted_metrics", None),
        }
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"`{name}` is not for the trainer: the loss is the objective's, fit logs it and its "
                    f"terms, {list(self._terms)}, and evaluate logs 'loss' and 'accuracy'. "
                    f"Received: {name}={value!r}"
                )
        optimizer = keras.optimizers.get(optimizer)
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        half = any(layer.compute_dtype == "float16" for layer in contract.layers_of(self.network))
        if half and not scaled and options.get("auto_scale_loss", True):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        super().compile(optimizer=optimizer, **options)

    def fit(self, x=None, y=None, *args, **options):
        """Train on arrays or batches; arguments and result as in `keras.Model.fit`.

        Args:
            x: `(N, H, W, C)` floats in [0, 1], or a `tf.data.Dataset`, `keras.utils.PyDataset` or
                generator of batches `(x, y)`.
            y: `(N,)` integers in 0..K-1, or None with batches.
            *args: as in `keras.Model.fit`.
            **options: as in `keras.Model.fit`, without `class_weight` and `sample_weight`.

        Raises:
            TypeError: if images are not floats or labels no integers.
            ValueError: if their shapes or values are not those of images and labels; for later batches
                at the end of the epoch that held them.
        """
        options = self._arguments(super().fit, x, y, *args, **options)
        if options.get("validation_data") is not None:
            options["validation_data"] = self._checked(*self._pair(options["validation_data"]))
        ours, theirs = contract.Contract(), options.get("callbacks")
        if isinstance(theirs, keras.callbacks.CallbackList):
            theirs.append(ours)
        else:
            theirs = [] if theirs is None else keras.tree.flatten(theirs)
            options["callbacks"] = [ours, *theirs]
        return super().fit(**options)

    def evaluate(self, x=None, y=None, *args, **options):
        """Return loss and accuracy without an attack; arguments as in `keras.Model.evaluate`."""
        if options.get("_use_cached_eval_dataset"):  # Keras's validation in `fit`, checked there.
            return super().evaluate(x, y, *args, **options)
        return super().evaluate(**self._arguments(super().evaluate, x, y, *args, **options))

    def train_on_batch(self, x, y, *args, **options):
        """Make one update; arguments and result as in `keras.Model.train_on_batch`."""
        return super().train_on_batch(**self._arguments(super().train_on_batch, x, y, *args, **options))

    def save(self, filepath, overwrite=True, zipped=None, **options):
        """Save the network as it is trained, without the trainer; its average is `judged`."""
        self.network.save(filepath, overwrite=overwrite, zipped=zipped, **options)

    def save_weights(self, filepath, overwrite=True, **options):
        """Save the network's weights."""
        self.network.save_weights(filepath, overwrite=overwrite, **options)

    def load_weights(self, filepath, skip_mismatch=False, **options):
        """Load the network's weights."""
        self.network.load_weights(filepath, skip_mismatch=skip_mismatch, **options)

    def _arguments(self, method, *args, **options):
        """Return by name what a method of Keras is called with, its data checked."""
        options = contract.arguments(method, *args, **options)
        weights = ("class_weight", "sample_weight")
        contract.refuse_weights(**{name: options.pop(name, None) for name in weights})
        options["x"], options["y"] = self._checked(options.get("x"), options.get("y"))
        return options

    def _checked(self, x, y):
        if y is None:
            (first, labels), x = contract.first_batch(x)
            first, labels = contract.checked(first, labels, self.image_shape, self.num_classes)
        else:
            x, y = first, labels = contract.checked(x, y, self.image_shape, self.num_classes)
        if not self._output_is_known:
            self.num_classes = contract.check_output(FrozenClassifier(self.network), first[:8])
            self._output_is_known = True
            contract.checked(first, labels, self.image_shape, self.num_classes)
        return x, y

    @staticmethod
    def _pair(data):
        if not isinstance(data, list | tuple):
            return data, None
        x, y, weight = keras.utils.unpack_x_y_sample_weight(tuple(data))
        contract.refuse_weights(sample_weight=weight)
        return x, y

    @property
    def judged(self):
        """The network to judge and keep: that of the average where there is one, else `plain`."""
        return self.plain if self.average is None else self.average.network

    @property
    def plain(self):
        """The network with the weights as they are now, computing in full precision."""
        return self._plain.now()

    def begin_epoch(self, epoch):
        """Set the epoch's number, counted from 0, and the training attack that the curriculum names."""
        self.epoch.assign(epoch)
        if self.curriculum is None:
            return
        attack = self.curriculum.at(epoch)
        if attack != self.objective.attack:
            self.objective = with_attack(self.objective, attack)
            self.make_train_function(force=True)

    def craft(self, data):
        """Make the views and targets of one batch; runs inside the train step's graph.

        Args:
            data: `(x, y)` with `y` labels `(batch,)` or a mapping with `"label"` and `"index"`.

        Returns:
            `(views, targets)`.
        """
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        contract.refuse_weights(sample_weight=weight)
        targets = dict(y) if isinstance(y, Mapping) else {"label": y}
        targets["label"] = ops.cast(targets["label"], "int32")
        key = random.key(self.root_seed, "train", self.update.value)
        index = targets.get("index")
        if index is None:
            count = ops.shape(x)[0]
            index = backend.first_example(count) + ops.arange(count, dtype="int32")
            targets["index"] = index
        x = ops.cast(x, contract.full_precision())
        broken = contract.broken(x, targets["label"], self.num_classes)
        if self.augment is not None:
            x = self.augment(x, random.key(key, "augment"), index)
            broken = ops.maximum(broken, contract.broken(x, targets["label"], self.num_classes))
        # A label that is no class is told at the end of the epoch, and not by an index that fails here.
        targets["label"] = ops.clip(targets["label"], 0, self.num_classes - 1)
        # At most 1, since replicas are added up.
        self.broken.assign(ops.minimum(self.broken.value + broken, 1))
        classifier = FrozenClassifier(self.network)
        views, targets = self.objective.views(classifier, x, targets, random.key(key, "attack"))
        self.update.assign(self.update.value + 1)
        return {name: ops.stop_gradient(view) for name, view in views.items()}, targets

    def perturbed(self, views, targets, **values):
        """Return the weights at which the gradient is taken; runs inside the train step's graph.

        Args:
            views: as `craft` returned them.
            targets: as `craft` returned them.
            **values: lists of tensors, the values of the variables: `trainable`, `non_trainable` and
                `optimizer`.

        Returns:
            List of tensors, one for each trainable variable.
        """
        return perturbed(self, self.awp_gamma, views, targets, **values)

    def after_update(self):
        """Let the average follow the weights; runs inside the train step's graph."""
        if self.average is not None:
            self.average.update(self.update.value)

    def call(self, views, training=False):
        """Run the network on each view, or on plain images for evaluation."""
        if not isinstance(views, Mapping):
            return self._passes({"plain": views}, training=training)["plain"]["logits"]
        return self._passes(views, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Compute the objective's loss and keep its terms for the log."""
        if not training:
            label = y["label"] if isinstance(y, Mapping) else y
            self._natural.update_state(label, y_pred)
            loss = ops.mean(cross_entropy(label, y_pred)) + sum(map(ops.sum, self.losses))
            return backend.share_of_replica(loss)
        terms = dict(self.objective.loss(y, y_pred, epoch=self.epoch.value))
        loss = terms.pop("loss")
        if self.losses:
            terms["regularization"] = self._own_losses(len(y_pred))
            loss = loss + terms["regularization"]
        if self.weight_decay:
            squares = [ops.sum(ops.square(v)) for v in self.trainable_variables]
            terms["weight_decay"] = 0.5 * self.weight_decay * sum(squares)
            loss = loss + terms["weight_decay"]
        count = ops.shape(y["label"])[0]
        for name, value in terms.items():
            if name in self._terms:
                self._terms[name].update_state(value, sample_weight=count)
        self.after_loss()
        return backend.share_of_replica(loss)

    def _own_losses(self, views):
        # Those of the weights are listed once, those of a call once for each view.
        regularized = [v for v in self.trainable_variables if v.regularizer]
        weights = sum(v.regularizer(ops.convert_to_tensor(v)) for v in regularized)
        return (sum(map(ops.sum, self.losses)) + (views - 1) * weights) / views

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Return the loss and its terms in training, the loss and the accuracy in evaluation."""
        foreign = {"accuracy"} if isinstance(y_pred, Mapping) else set(self._terms)
        return {k: v for k, v in self.get_metrics_result().items() if k not in foreign}

    def _term_names(self):
        decay = ("weight_decay",) if self.weight_decay else ()
        own = ("regularization",) if self._has_regularizers() else ()
        return (*self.objective.terms, *own, *decay)

    def _has_regularizers(self):
        layers = contract.layers_of(self.network)
        return any(v.regularizer for v in self.network.trainable_variables) or any(
            layer.activity_regularizer for layer in layers
        )

    def _counter(self, name, shape=(), aggregation="only_first_replica"):
        return self.add_weight(
            shape=shape,
            initializer="zeros",
            dtype="int32",
            trainable=False,
            aggregation=aggregation,
            name=name,
        )


class _Plain:
    """A network and its twin in full precision, hidden from Keras, which would train the twin too."""

    def __init__(self, network, twin):
        self.network = network
        self.twin = twin

    def now(self):
        if self.twin is not self.network:
            self.twin.set_weights(self.network.get_weights())
        return self.twin


def _same_noise(objective, network):
    """List the states of the generators that must draw the same for all views."""
    names = objective.same_noise if isinstance(objective, SharesNoise) else ()
    return [network.get_layer(name).seed_generator.state for name in names]


class _Passes(keras.layers.Layer):
    """Runs the network on all views within one call, since each call begins a new list of losses."""

    def __init__(self, forward, same_noise):
        super().__init__(name="passes", dtype=contract.full_precision(), autocast=False)
        self.forward = forward
        self.same_noise = same_noise
        self.built = True

    def call(self, views, training=False):
        begin = [state + 0 for state in self.same_noise]  # Values, which do not follow the variables.
        outputs = {}
        for name, x in views.items():
            for state, value in zip(self.same_noise, begin, strict=True):
                state.assign(value)
            outputs[name] = self._outputs(x, training)
        return outputs

    def _outputs(self, x, training):
        outputs = self.forward(x, training=training)
        if not isinstance(outputs, Mapping):
            outputs = {"logits": outputs}
        # Losses are computed in full precision, whatever the network's policy.
        return keras.tree.map_structure(lambda t: ops.cast(t, contract.full_precision()), outputs)
