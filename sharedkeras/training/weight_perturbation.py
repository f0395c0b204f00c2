"""Adversarial weight perturbation: where the gradient of an update is taken."""

import keras
from keras import ops

from sharedkeras import backend

_TINY = 1e-20


def perturbed(trainer, gamma, views, targets, *, trainable, non_trainable, optimizer):
    """Move each weight matrix a little in the direction that raises the objective's loss.

    A flat loss around the weights goes with a smaller gap between robust accuracy on images that were
    trained on and on others. So each update takes its gradient at the worst of the nearby weights, and
    applies it to the weights themselves:

        v_l = gamma ||w_l|| g_l / ||g_l||,    g = gradient of L at w
        w <- w - rate (gradient of L at w + v)

    for every layer l with a kernel; biases and normalisation stay. L is the objective's loss on the
    crafted views, its batch statistics and random layers included, without weight decay and penalties;
    random layers draw the same numbers at w and at w + v. Pure: no statistic of a layer moves.

    Args:
        trainer: `RobustTrainer`.
        gamma: float above 0, size of a perturbation in units of its weight's norm.
        views: what the objective's `views` returned.
        targets: what it returned beside them.
        trainable: list of tensors, the values of the trainer's trainable variables.
        non_trainable: list of tensors, those of the others.
        optimizer: list of tensors, those of the optimizer.

    Returns:
        List of tensors like `trainable`, through which no gradient flows.

    Reference: D. Wu, S. Xia, Y. Wang, "Adversarial weight perturbation helps robust generalization",
        2020; the official code's layer-wise norms.
    """
    values = [ops.stop_gradient(v) for v in trainable]
    own = {id(v) for v in trainer.network.trainable_variables}
    variables = trainer.trainable_variables
    moved = [i for i, v in enumerate(variables) if id(v) in own and len(v.shape) > 1]
    others = [
        *zip(trainer.non_trainable_variables, non_trainable, strict=True),
        *zip(trainer.optimizer.variables, optimizer, strict=True),
    ]

    def loss(kernels):
        at = list(values)
        for i, kernel in zip(moved, kernels, strict=True):
            at[i] = kernel
        outputs, _ = trainer.stateless_call(at, non_trainable, views, training=True)
        with keras.StatelessScope([*zip(variables, at, strict=True), *others]):
            total = trainer.objective.loss(targets, outputs, epoch=trainer.epoch.value)["loss"]
            # In half precision small gradients would be lost; only their direction counts.
            return trainer.optimizer.scale_loss(total), ()

    _, gradients = backend.value_and_grad(loss, [values[i] for i in moved])
    for i, gradient in zip(moved, gradients, strict=True):
        step = gamma * _norm(values[i]) / (_norm(gradient) + _TINY) * gradient
        # Where a scaled loss overflows, the optimizer leaves the update out and lowers the scale.
        values[i] = values[i] + ops.where(ops.isfinite(step), step, 0.0)
    return [ops.stop_gradient(v) for v in values]


def _norm(x):
    return ops.sqrt(ops.sum(ops.square(x)))
