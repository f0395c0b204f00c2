"""Whether outputs are probabilities, and what to judge then."""

import numpy as np

from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.models import CallableClassifier

_TOLERANCE = 1e-5  # Of their sum in single precision; the official AutoAttack's.
_HALF = {"bfloat16": 2.0**-6, "float16": 2.0**-9}
"""Of the sum of probabilities of half precision: a softmax rounds its exponentials, their sum and the
quotient, each by up to half a unit in the last place, 2**-9 and 2**-12 of the number. The coarser comes
first: its numbers are numbers of the finer one as well."""
_SINGLE = 2.0**-22  # Relative: a decimal number in single precision, divided by 100.
_NOTHING = 1e-37  # What exponentials return for zero.
_MOST_DIGITS = 5
_IMAGES = 64
_MOST_LOST = 0.2  # Of the sum, to rounding.
_WHOLE = {1: "", 100: " in percent"}


def probabilities(logits, dtype=None):
    """Tell whether outputs are probabilities, also in percent, in half precision or rounded.

    Args:
        logits: `(n, K)` outputs.
        dtype: name of the type in which they were computed, or None where it is not known. XLA leaves
            out roundings of half precision between operations, so that the outputs need not show it.

    Returns:
        `(whole, digits)`: what they sum to, 1 or 100, and to how many decimal digits of that they were
        rounded, or None where they were not; None where they are no probabilities.
    """
    for whole in _WHOLE:
        p = np.asarray(logits, "float64") / whole
        tolerance, digits = _precision(logits, p, dtype)
        off = np.abs(p.sum(axis=1) - 1).max()
        if p.min() >= -_TOLERANCE and p.max() <= 1 + tolerance and off <= tolerance:
            return whole, digits
    return None


def _precision(logits, p, dtype):
    """Return by how much a sum of the probabilities may be off, and the digits of rounded ones."""
    p = np.where(p < _NOTHING, 0.0, p)
    for digits in range(_MOST_DIGITS + 1):
        decimal = np.rint(p * 10**digits) / 10**digits
        if np.all(np.abs(p - decimal) <= _SINGLE * decimal):
            lost = min(p.shape[1] * 10.0**-digits, _MOST_LOST)
            return max(_TOLERANCE, lost) if digits else _TOLERANCE, digits
    half = dtype if dtype in _HALF else half_precision(logits)
    return _HALF.get(half, _TOLERANCE), None


def half_precision(values):
    """Return the type of half precision, "bfloat16" or "float16", that holds all values, or None."""
    values = np.asarray(values, "float32")
    for name in _HALF:
        if np.array_equal(_rounded(values, name), values):
            return name
    return None


def _rounded(values, name):
    if name == "float16":
        with np.errstate(over="ignore"):
            return values.astype("float16").astype("float32")
    return (np.ascontiguousarray(values).view("uint32") & np.uint32(0xFFFF0000)).view("float32")


def finding(logits, dtype=None):
    """Find outputs that are probabilities.

    Args:
        logits: `(n, K)` outputs.
        dtype: as of `probabilities`.

    Returns:
        List of `Finding`s.
    """
    found = probabilities(logits, dtype)
    if found is None:
        return []
    whole, digits = found
    certain = int(np.sum(logits.max(axis=1) >= whole))
    rounded = "" if digits is None else f", rounded to {digits} decimal digits"
    return [
        Finding(
            "probabilities",
            "error",
            f"The network returns probabilities{_WHOLE[whole]}{rounded}, not logits: on {len(logits)} "
            f"images its outputs lie between {max(logits.min(), 0):.2g} and "
            f"{min(logits.max(), whole):.2g} and sum to {whole}; {certain} images have one of exactly "
            f"{whole}. Attacks see the flat gradients of the softmax, or none of its small changes. "
            "Attack the logits: `sharedkeras.models.logits_of(network)` takes the softmax off a Keras "
            "network, `select` names another output.",
        )
    ]


class _Logarithm(CallableClassifier):
    """The logarithm of a classifier that answers in probabilities."""

    def __init__(self, classifier, whole):
        super().__init__(classifier.predict)
        self.name, self.input_shape = classifier.name, classifier.input_shape
        self.num_classes = classifier.num_classes
        self._whole = whole

    def predict(self, x):
        """Compute logits: those of a softmax but for a constant of each image."""
        p = super().predict(x) / self._whole
        return np.log(np.maximum(p, np.finfo("float32").tiny))


def in_logits(classifier, x):
    """Judge an endpoint that answers in exact probabilities by their logarithm.

    For a softmax `log p_i - log p_k = z_i - z_k`: the margins that a black-box attack looks at are those
    of the logits. Rounded probabilities have lost what an attack looks for, and stay as they are.

    Args:
        classifier: `Classifier`; one with gradients is returned as it is, for its softmax misleads them.
        x: `(n, H, W, C)` images; the first ones are asked about.

    Returns:
        `(classifier, findings)`.
    """
    if classifier.white_box:
        return classifier, []
    found = probabilities(np.asarray(classifier.predict(x[:_IMAGES])))
    if found is None or found[1] is not None:
        return classifier, []
    return _Logarithm(classifier, found[0]), [
        Finding(
            "logarithm-of-probabilities",
            "info",
            f"The network answers in probabilities{_WHOLE[found[0]]}. What was judged is their "
            "logarithm, whose differences are those of the logits.",
        )
    ]
