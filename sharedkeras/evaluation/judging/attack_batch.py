"""One batch under one attack, every claim verified afresh."""

import math
import time

import numpy as np
from keras import ops

from sharedkeras.attacks.batching.padding import pad
from sharedkeras.attacks.batching.sizes import fitting
from sharedkeras.attacks.verdict import inside
from sharedkeras.evaluation.checks import gradient_counts
from sharedkeras.math import norms


def attack_batch(classifier, attack, x, y, index, seed, batch_size, max_rows, probe_gradients=False):
    """Attack one batch, padded to one of few sizes, and believe nothing that the attack says.

    A success counts only where a fresh forward pass misclassifies the image, and where the image is in
    the ball to 1e-6, in [0, 1] and finite.

    Args:
        classifier: `Classifier`.
        attack: an attack of `sharedkeras.attacks`.
        x: `(batch, H, W, C)` float array in [0, 1].
        y: `(batch,)` integer labels.
        index: `(batch,)` ints, the examples' numbers.
        seed: int.
        batch_size: int at least `batch`, the size of a full batch.
        max_rows: int, the most rows that an attack may make of them.
        probe_gradients: bool, whether to count gradients of no use where the attack ended.

    Returns:
        Dict of arrays: `success` `(batch,)` bool; `margin` `(batch,)`, the true class's logit less the
        largest other one on the image that the attack returned; `passes` `(batch,)`, the forward passes
        spent; of the successes `adversarial`, `distance`, `predicted`; `seconds`; with `probe_gradients`
        also `probed` and, where there is something to count, `end` and, for APGD, `checkpoints`, rows
        of (iterations, n, zero, broken).
    """
    started = time.perf_counter()
    # An attack makes hundreds of passes over every row, and must compile its graphs for some size: it
    # gets the sizes to which it shrinks by itself, with little to fill up.
    size = fitting(len(x), batch_size)
    padded = [pad(values, size) for values in (x, y, index)]
    # What fills the batch up is misclassified from the start, so that the attacks drop it and go on with
    # smaller batches.
    padded[1][len(x) :] = 1 if y[0] == 0 else 0
    arguments = {"seed": seed, "index": padded[2], "early_stop": True, "max_rows": max_rows}
    watch = None
    if probe_gradients and attack.gradient_loss:
        watch = arguments["visit"] = gradient_counts.Watch(classifier, attack, batch_size)
    # Attacked is a faster twin; what counts is what the network itself says of the images, below.
    result = attack.run(classifier.folded, padded[0], padded[1], **arguments)
    adv = ops.convert_to_numpy(result.adversarial).astype(x.dtype, copy=False)
    logits = ops.convert_to_numpy(classifier.predict(adv))
    count = len(x)
    adv, logits = adv[:count], logits[:count]
    claimed = ops.convert_to_numpy(result.success)[:count]
    verified, distance = verify(attack, x, y, adv, logits)
    success = claimed & verified
    done = {
        "success": success,
        "margin": margins(y, logits),
        "passes": attack.query_cost * ops.convert_to_numpy(result.queries)[:count].astype("float32"),
        "adversarial": adv[success],
        "distance": distance[success],
        "predicted": np.argmax(logits, axis=1)[success].astype("int32"),
        "seconds": np.float64(time.perf_counter() - started),
    }
    if probe_gradients:
        done["probed"] = np.array(True)
        standing = ~success & (np.argmax(logits, axis=1) == y)
        end = gradient_counts.count_end(classifier, attack, adv[standing], y[standing], batch_size)
        done |= {} if end is None else {"end": np.array(end)}
        if watch is not None and watch.counts:
            done["checkpoints"] = np.array([(at, *found) for at, found in watch.counts.items()])
    return done


def margins(y, logits):
    """Return by how much the true class's logit exceeds the largest other one, `(batch,)` float32.

    Args:
        y: `(batch,)` labels.
        logits: `(batch, K)` array.
    """
    rows = np.arange(len(y))
    others = logits.astype("float32", copy=True)
    others[rows, y] = -math.inf
    return logits[rows, y].astype("float32") - others.max(axis=1)


def verify(attack, x, y, adv, logits):
    """Tell which images are what an attack claims: misclassified, in the ball, in [0, 1] and finite.

    Args:
        attack: with `norm` and `epsilon`; None is a ball without bounds.
        x: `(batch, H, W, C)` clean images.
        y: `(batch,)` labels.
        adv: `(batch, H, W, C)` images.
        logits: `(batch, K)` array, the network's logits of them.

    Returns:
        `(verified, size)`: `(batch,)` bool, and the norm of each perturbation.
    """
    epsilon = math.inf if attack.epsilon is None else attack.epsilon
    found = inside(norms.get(attack.norm), *map(ops.convert_to_tensor, (x, adv)), epsilon)
    valid, size = map(ops.convert_to_numpy, found)
    return (np.argmax(logits, axis=1) != y) & np.isfinite(logits).all(axis=1) & valid, size
