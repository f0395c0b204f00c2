"""The Keras model that trains a network on an objective."""

from collections.abc import Mapping

import keras
from keras import ops

from sharedkeras import backend
from sharedkeras.losses import cross_entropy
from sharedkeras.math import random
from sharedkeras.models import FrozenClassifier
from sharedkeras.training.averaging import WeightAverage
from sharedkeras.training.curriculum import with_attack


class RobustTrainer(backend.TrainStep, keras.Model):
    """Wraps a network for training and is thrown away afterwards.

    Each train step crafts the objective's views inside the graph, in inference mode and with the
    weights held constant, then takes Keras's own train step on them: the network runs each view once in
    training mode, clean first. BatchNorm so sees two batches, and its statistics never see a gradient
    step of the attack. Every term of the loss is logged.

    All randomness follows from `seed`: the attack's draws are keyed by (seed, update, example), which is
    what makes a resumed run end where an unbroken one does.

    With `ema_decay` an average follows the weights: `average.settle(batches)` puts it into a twin of the
    network, which is then the one to judge (`judged`).

    Args:
        network: `keras.Model` from `(batch, H, W, C)` images in [0, 1] to `(batch, K)` logits.
        objective: an `Objective`.
        seed: int.
        weight_decay: float at least 0; adds `weight_decay / 2 * sum of squares` of all trainable
            variables to the loss, whose gradient is the coupled decay of PyTorch's SGD.
        augment: `augment(x, key, index) -> x`, applied in graph before the attack, or None.
        curriculum: `Curriculum` of training attacks that replace the objective's own, or None.
        ema_decay: float in (0, 1), limit of the warmed decay of the weights' average, or None.

    Raises:
        ValueError: if the network has no layer that the objective taps, or a value is out of range.

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
    ):
        super().__init__(name="robust_trainer")
        if not weight_decay >= 0:
            raise ValueError(f"`weight_decay` must be at least 0. Received: weight_decay={weight_decay}")
        layers = {layer.name for layer in network.layers}
        missing = [tap for tap in objective.taps if tap not in layers]
        if missing:
            raise ValueError(
                f"{type(objective).__name__} reads the layers {list(objective.taps)}, and the network "
                f"has no {missing}; build it with `latent_dim=...`. "
                f"Received: network={network.name!r} with layers {sorted(layers)}"
            )
        view = FrozenClassifier(network)  # What attacks cannot use is refused before any work.
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
        self.weight_decay = weight_decay
        self.augment = augment
        self.curriculum = curriculum
        self.root_seed = seed
        self._forward = None
        if view.output is not None:
            taps = {tap: view.unfolded.get_layer(tap).output for tap in objective.taps}
            self._forward = keras.Model(view.unfolded.input, {"logits": view.output, **taps})
        # Keras tracks these lists, so that they are trained, saved and restored with the rest.
        self._objective_layers = list(objective.layers)
        self._objective_variables = list(objective.variables)
        self.average = None if ema_decay is None else WeightAverage(network, ema_decay)
        self._averages = [] if self.average is None else self.average.variables
        self.epoch = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="epoch"
        )
        self.update = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="update"
        )
        self._terms = {name: keras.metrics.Mean(name=name) for name in self._term_names()}
        self._natural = keras.metrics.Mean(name="accuracy")
        self.built = True

    @property
    def judged(self):
        """The network to judge and keep: that of the average where there is one."""
        return self.network if self.average is None else self.average.network

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
        if weight is not None:
            raise ValueError("Sample weights are not supported. Received: sample_weight")
        targets = dict(y) if isinstance(y, Mapping) else {"label": y}
        targets["label"] = ops.cast(targets["label"], "int32")
        key = random.key(self.root_seed, "train", self.update.value)
        index = targets.get("index")
        if index is None:
            index = ops.arange(ops.shape(x)[0], dtype="int32")
            targets["index"] = index
        x = ops.cast(x, keras.config.floatx())
        if self.augment is not None:
            x = self.augment(x, random.key(key, "augment"), index)
        classifier = FrozenClassifier(self.network)
        views, targets = self.objective.views(classifier, x, targets, random.key(key, "attack"))
        self.update.assign(self.update.value + 1)
        return {name: ops.stop_gradient(view) for name, view in views.items()}, targets

    def after_update(self):
        """Let the average follow the weights; runs inside the train step's graph."""
        if self.average is not None:
            self.average.update(self.update.value)

    def call(self, views, training=False):
        """Run the network on each view, or on plain images for evaluation."""
        if not isinstance(views, Mapping):
            return self._outputs(views, training)["logits"]
        return {name: self._outputs(x, training) for name, x in views.items()}

    def _outputs(self, x, training):
        if self._forward is None:  # A subclassed network has no graph to tap, only logits.
            return {"logits": self.network(x, training=training)}
        return self._forward(x, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Compute the objective's loss and keep its terms for the log."""
        if not training:
            label = y["label"] if isinstance(y, Mapping) else y
            correct = ops.argmax(y_pred, axis=-1) == ops.cast(label, "int32")
            self._natural.update_state(ops.cast(correct, "float32"))
            return ops.mean(cross_entropy(label, y_pred))
        terms = dict(self.objective.loss(y, y_pred, epoch=self.epoch.value))
        loss = terms.pop("loss")
        if self.weight_decay:
            squares = [ops.sum(ops.square(v)) for v in self.trainable_variables]
            terms["weight_decay"] = 0.5 * self.weight_decay * sum(squares)
            loss = loss + terms["weight_decay"]
        for name, value in terms.items():
            if name in self._terms:
                self._terms[name].update_state(value)
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Return the loss and its terms in training, the loss and the accuracy in evaluation."""
        foreign = {"accuracy"} if isinstance(y_pred, Mapping) else set(self._terms)
        return {k: v for k, v in self.get_metrics_result().items() if k not in foreign}

    def _term_names(self):
        decay = ("weight_decay",) if self.weight_decay else ()
        return (*getattr(self.objective, "terms", ()), *decay)
