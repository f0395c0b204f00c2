"""What can be known of a network before it is attacked: faults that would make an attack look weak."""

import itertools

import numpy as np
from keras import ops

from sharedkeras.evaluation.checks import gradient_counts, gradients
from sharedkeras.evaluation.report.finding import Finding

_PASSES = 5  # As the official AutoAttack.
_LOGIT_TOLERANCE = 1e-4  # Of logits scaled to length 1; the official AutoAttack's.
_PROBABILITY_TOLERANCE = 1e-5  # The official AutoAttack's.
_SATURATING = ("sigmoid", "hardsigmoid", "tanh", "hardtanh", "softsign", "relu6")
_EQUAL = 1e-6  # Of the largest logit: a few roundings of float32.
_TINY = 1e-4
_LARGER = (0.002, 0.02, 0.1, 0.5)
_GREY = 255
_NOISE_SEED = 0x5EED
_LEAST_STEPPED = 0.5
"""Share of images above which the network counts as a step function. A pixel that lies at a threshold
by chance makes an image move, so that not all images need stand still."""


def before(classifier, x, y, *, attacks=None, batch_size=gradient_counts.EXAMPLES):
    """Check a network before it is attacked, on at most 64 images.

    - `randomised-output`: five passes over the same images differ.
    - `probabilities`: the outputs are probabilities, not logits.
    - `squashed-logits`: the last step is a sigmoid or another function that saturates.
    - `constant-network`: the output does not depend on the image.
    - `quantised-input`: the output is a step function of the image.
    - `zero-gradient`, `non-finite-gradient`: the losses that the attacks follow lead nowhere.

    Args:
        classifier: `Classifier`; gradients are looked at where it has them.
        x: `(n, H, W, C)` images in [0, 1]; the first ones are looked at.
        y: `(n,)` labels.
        attacks: dict from name to attack, whose losses are looked at; None looks at all.
        batch_size: int, the most images at once.

    Returns:
        Tuple of `Finding`s, empty for a network without such faults.
    """
    n = min(len(x), gradient_counts.EXAMPLES, batch_size)
    x, y = np.asarray(x[:n]), np.asarray(y[:n])
    forward = _forward(classifier)
    passes = [forward(x) for _ in range(_PASSES)]
    logits = passes[-1]
    found = _randomised(passes, y, attacks)
    if not found:
        if _is_constant(forward, x, logits):
            return (_constant(n),)
        found += _quantised(forward, x, logits)
    soft = _probabilities(logits)
    found += soft
    if classifier.white_box:
        found += [] if soft else _squashed(classifier)
        found += _gradients(classifier, x, y, attacks)
    return tuple(found)


def _forward(classifier):
    """Return a function of images that gives logits, each call with fresh draws."""
    if not classifier.white_box:
        return lambda x: np.asarray(classifier.predict(x))
    state = classifier.state

    def forward(x):
        nonlocal state
        logits, state = classifier.apply(
            "check forward", lambda view, x, state: view(x, state), ops.convert_to_tensor(x), state
        )
        return ops.convert_to_numpy(logits)

    return forward


def _randomised(passes, y, attacks):
    right = [int(np.sum(np.argmax(z, axis=1) == y)) for z in passes]
    passes = [np.asarray(z, "float64") for z in passes]  # Logits may be too large to be squared.
    unit = [z / (np.linalg.norm(z, axis=1, keepdims=True) + 1e-10) for z in passes]
    gap = max(np.linalg.norm(a - b, axis=1).max() for a, b in itertools.combinations(unit, 2))
    if len(set(right)) == 1 and not gap > _LOGIT_TOLERANCE:
        return []
    message = (
        f"The network is randomised: in {_PASSES} passes over the same {len(y)} images between "
        f"{min(right)} and {max(right)} were correct, and logits scaled to length 1 differed by up to "
        f"{gap:.2g} ({_LOGIT_TOLERANCE:g} would pass). "
    )
    white = [a for a in (attacks or {}).values() if a.gradient_loss]
    if white and all(a.eot_samples > 1 for a in white):
        samples = min(a.eot_samples for a in white)
        message += f"The attacks average their gradients over {samples} draws or more, as they should."
        return [Finding("randomised-output", "info", message)]
    message += (
        "An attack that sees one draw at a time follows noise and looks weaker than it is: use "
        "version='rand', or attacks with `eot_samples` above 1."
    )
    return [Finding("randomised-output", "error", message)]


def _is_constant(forward, x, logits):
    def equal(other):
        return np.max(np.abs(other - logits[:1])) <= _EQUAL * np.max(np.abs(logits))

    # The images may be alike, or there may be one only, so that images of pure noise are asked too.
    return equal(logits) and equal(forward(_noise(x.shape).astype(x.dtype)))


def _constant(n):
    return Finding(
        "constant-network",
        "error",
        f"The network gives the same logits for all of {n} images and for noise: it does not look at "
        "its input, so that there is nothing to attack.",
    )


def _probabilities(logits):
    off = np.abs(logits.sum(axis=1) - 1).max()
    low, high = logits.min(), logits.max()
    tolerance = _PROBABILITY_TOLERANCE
    if low <= -tolerance or high >= 1 + tolerance or off > tolerance:
        return []
    certain = int(np.sum(logits.max(axis=1) == 1))
    return [
        Finding(
            "probabilities",
            "error",
            f"The network returns probabilities, not logits: on {len(logits)} images its outputs lie "
            f"between {max(low, 0):.2g} and {min(high, 1):.2g} and sum to 1, and {certain} images have "
            "a probability of exactly 1. Attacks see the flat gradients of the softmax. Attack the "
            "logits: drop the softmax, or name another output with `select`.",
        )
    ]


def _squashed(classifier):
    name = classifier.last_step
    if name is None or name.replace("_", "").lower() not in _SATURATING:
        return []
    return [
        Finding(
            "squashed-logits",
            "warning",
            f"The network's last step, {name}, squashes its {classifier.num_classes} logits. Where it "
            "saturates, gradients vanish and attacks look weaker than they are. Attack the logits: drop "
            "that step, or name another output with `select`.",
        )
    ]


def _quantised(forward, x, logits):
    # A quarter of a grey level off the grid of 8-bit images lie neither the thresholds of rounding to
    # so many levels or a divisor of theirs, nor those of flooring.
    grey = np.rint(x * _GREY)
    x = ((grey + np.where(grey > _GREY / 2, -0.25, 0.25)) / _GREY).astype(x.dtype)
    here = forward(x)
    asked = np.any(_telling(forward, x, here), axis=1)

    def still(size, draw):
        step = size * np.where(_noise(x.shape, draw) < 0.5, -1, 1)
        there = forward(np.clip(x + step, 0, 1).astype(x.dtype))
        return np.all(there == here, axis=1)

    if not asked.any():
        return []
    stepped = asked & still(_TINY, 1)
    if stepped.sum() <= _LEAST_STEPPED * asked.sum():
        return []
    stepped &= still(_TINY, 2)
    count, total = int(stepped.sum()), int(asked.sum())
    if count <= _LEAST_STEPPED * total:
        return []
    for size in _LARGER:
        moved = int(np.sum(stepped & ~still(size, 3)))
        if moved > _LEAST_STEPPED * count:
            break
    else:
        return []
    return [
        Finding(
            "quantised-input",
            "warning",
            f"The network is a step function of its input: on {count} of {total} images its logits "
            f"stay the same to the last bit when every pixel moves by {_TINY:g}, and on {moved} of "
            f"these they differ when every pixel moves by {size:g}. It rounds its input, as a defence "
            "would that hides gradients; attack the network without the rounding, or with a stand-in "
            "for it that has gradients, and compare with Square.",
        )
    ]


def _telling(forward, x, here):
    """Return a `(n, K)` bool mask of the outputs that only their own image gives.

    Where a softmax or sigmoid has flattened its logits, rounding hides every change of them: the output
    is 0, 1 or the least number that the CPU's exponential gives, for one image as for another. The same
    holds for outputs that were rounded. Neither is a fault of the input.
    """
    others = forward(_noise(x.shape, 4).astype(x.dtype))
    _, first, same = np.unique(x.reshape(len(x), -1), axis=0, return_index=True, return_inverse=True)
    values, counts = np.unique(np.concatenate([here[first], others]), return_counts=True)
    alone = counts[np.searchsorted(values, here[first])] == 1
    return alone[same]


def _gradients(classifier, x, y, attacks):
    used = {"ce", "margin", "dlr"}
    if attacks is not None:
        used = {attack.gradient_loss for attack in attacks.values()} - {None}
    if not used:
        return []
    return gradients.judge_start(gradient_counts.count(classifier, x, y, used, len(x)), used)


def _noise(shape, draw=0):
    return np.random.default_rng((_NOISE_SEED, draw)).random(shape)
