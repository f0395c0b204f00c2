"""What can be known of a network before it is attacked: faults that would make an attack look weak."""

import itertools

import numpy as np
from keras import ops

from sharedkeras.evaluation.checks import gradient_counts, gradients, probabilities
from sharedkeras.evaluation.checks.scaling import scaling
from sharedkeras.evaluation.checks.steps import noise, quantised
from sharedkeras.evaluation.checks.uncompiled import uncompiled_passes
from sharedkeras.evaluation.report.finding import Finding

_PASSES = 5  # As the official AutoAttack.
_LOGIT_TOLERANCE = 1e-4  # Of logits scaled to length 1; the official AutoAttack's.
_SATURATING = ("sigmoid", "hardsigmoid", "tanh", "hardtanh", "softsign", "relu6")
_EQUAL = 1e-6  # Of the largest logit: a few roundings of float32.


def before(classifier, x, y, *, attacks=None, batch_size=gradient_counts.EXAMPLES):
    """Check a network before it is attacked, on at most 64 images.

    - `randomised-output`: five passes over the same images differ, or two outside of a graph.
    - `input-scaling`: the network sees far more in the same images on another scale.
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
    drawn_once = _drawn_once(classifier, x)
    if drawn_once:
        return tuple(drawn_once)
    forward = _forward(classifier)
    passes = [forward(x) for _ in range(_PASSES)]
    logits = passes[-1]
    found = _randomised(passes, y, attacks)
    if not found:
        found += scaling(forward, x, y, logits)
        if _is_constant(forward, x, logits):
            return tuple(found) or (_constant(n),)
        if not found:  # On another scale steps of a grey level may be next to none.
            found += quantised(forward, x)
    known = classifier.white_box and classifier.output is not None
    soft = probabilities.finding(logits, classifier.output.dtype if known else None)
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


def _gap(passes):
    """Return by how much logits scaled to length 1 differ between passes."""
    passes = [np.asarray(z, "float64") for z in passes]  # Logits may be too large to be squared.
    unit = [z / (np.linalg.norm(z, axis=-1, keepdims=True) + 1e-10) for z in passes]
    return max(np.linalg.norm(a - b, axis=-1).max() for a, b in itertools.combinations(unit, 2))


def _drawn_once(classifier, x):
    """Find draws that a compiled graph makes when it is built, and never again."""
    if not classifier.white_box:
        return []
    gap = _gap(uncompiled_passes(classifier, x))
    if not gap > _LOGIT_TOLERANCE or classifier.random:
        return []
    return [
        Finding(
            "randomised-output",
            "error",
            f"The network is randomised by a generator that is not its own: in two passes over the same "
            f"images logits scaled to length 1 differed by up to {gap:.2g} ({_LOGIT_TOLERANCE:g} would "
            "pass). A compiled graph may draw from such a generator once and keep the draw, so that "
            "attacks see another network than its users. Give each random layer a "
            "keras.random.SeedGenerator, held as an attribute, and pass it as `seed`.",
        )
    ]


def _randomised(passes, y, attacks):
    right = [int(np.sum(np.argmax(z, axis=1) == y)) for z in passes]
    gap = _gap(passes)
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
    return equal(logits) and equal(forward(noise(x.shape).astype(x.dtype)))


def _constant(n):
    return Finding(
        "constant-network",
        "error",
        f"The network gives the same logits for all of {n} images and for noise: it does not look at "
        "its input, so that there is nothing to attack.",
    )


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


def _gradients(classifier, x, y, attacks):
    used = {"ce", "margin", "dlr"}
    if attacks is not None:
        used = {attack.gradient_loss for attack in attacks.values()} - {None}
    if not used:
        return []
    return gradients.judge_start(gradient_counts.count(classifier, x, y, used, len(x)), used)
