"""The gradient of the mutual information, without its value."""

from keras import ops

from sharedkeras.losses.precision import full_precision
from sharedkeras.math.stein import spectral_score


@full_precision
def mige(x, y, share=0.99):
    """Compute a scalar whose gradient estimates that of the mutual information of two variables.

    Samples that depend on parameters move with them, and an entropy changes by the scores along those
    moves; so the gradient of the mutual information needs scores and no densities. The scores are
    estimated from the batch by `spectral_score` and held constant:

        grad I(x; y) = - E[s_x grad x] - E[s_y grad y] + E[s_xy grad (x, y)]        (equation 20)

    The value is no mutual information. It is the mean of the scores times the samples, which by Stein's
    identity is 0 for exact scores: the distance from 0 shows the estimate's error, which is large where
    a batch has hardly more samples than dimensions.

    Args:
        x: `(m, d)` tensor; further axes are flattened.
        y: `(m, e)` tensor of as many samples.
        share: float in (0, 1], share of the kernel's spectrum that the scores are made of.

    Returns:
        Scalar tensor, one for the batch.

    Raises:
        ValueError: if the batches differ in length.

    Reference: L. Wen et al., "Mutual information gradient estimation for representation learning",
        2020.
    """
    if x.shape[0] != y.shape[0]:
        raise ValueError(
            "MIGE needs as many samples of y as of x. "
            f"Received: x.shape={tuple(x.shape)}, y.shape={tuple(y.shape)}"
        )
    x, y = (ops.reshape(v, (ops.shape(v)[0], -1)) for v in (x, y))
    joint = ops.concatenate([x, y], axis=1)
    scores = spectral_score(joint, share) - ops.concatenate(
        [spectral_score(x, share), spectral_score(y, share)], axis=1
    )
    return ops.sum(scores * joint) / ops.cast(ops.shape(x)[0], joint.dtype)
