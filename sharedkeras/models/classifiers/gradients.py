"""Logits and input gradients of a classifier, averaged over draws of a random one."""

from keras import ops

from sharedkeras import backend


def input_gradient(classifier, loss, y, x, state, samples=1):
    """Compute loss, logits and input gradient, averaged over draws of a randomised network.

    The gradient is that of the sum over the batch, so that it does not depend on the batch size. With
    more than one sample (expectation over transformations), loss and logits are averaged over the same
    draws as the gradient, so that an iterate is not chosen by one lucky draw.

    Args:
        classifier: `FrozenClassifier`.
        loss: `loss(y, logits) -> (batch,)`.
        y: what `loss` compares with.
        x: `(batch, H, W, C)` tensor.
        state: the classifier's state.
        samples: int, draws of the network.

    Returns:
        `(loss, logits, gradient, state)` of shapes `(batch,)`, `(batch, K)`, `(batch, H, W, C)`.

    Reference: A. Athalye et al., "Obfuscated gradients give a false sense of security", 2018.
    """

    def draw(state):
        def objective(x):
            logits, after = classifier(x, state)
            value = loss(y, logits)
            return ops.sum(value), (value, logits, after)

        (_, (value, logits, after)), gradient = backend.value_and_grad(objective, x)
        return value, logits, gradient, after

    value, logits, gradient, state = draw(state)
    if samples > 1:

        def accumulate(_, carry):
            *sums, state = carry
            *new, state = draw(state)
            return (*(s + n for s, n in zip(sums, new, strict=True)), state)

        value, logits, gradient, state = backend.repeat(
            samples - 1, accumulate, (value, logits, gradient, state)
        )
        value, logits, gradient = (t / samples for t in (value, logits, gradient))
    return value, logits, gradient, state


def mean_logits(classifier, x, state, samples=1):
    """Compute the logits, averaged over draws of a randomised network.

    Returns:
        `(logits, state)`.
    """
    logits, state = classifier(x, state)
    if samples > 1:

        def accumulate(_, carry):
            total, state = carry
            logits, state = classifier(x, state)
            return total + logits, state

        logits, state = backend.repeat(samples - 1, accumulate, (logits, state))
        logits = logits / samples
    return logits, state


def logits_of(classifier, x, state, samples):
    """Compute the logits, averaged over draws of a randomised network.

    Returns:
        `(logits, state)`.
    """
    if samples == 1 and not classifier.random:
        return classifier.predict(x), state  # The graph that every evaluation has compiled already.

    def mean(view, x, state):
        return mean_logits(view, x, state, samples)

    return classifier.apply(("mean logits", samples), mean, x, state)
