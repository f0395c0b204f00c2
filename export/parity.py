"""Proof that an exported file computes what the network computes."""

import dataclasses
import pathlib

import numpy as np

from export.runtime import load_onnx, load_saved_model
from export.softmax import softmax

TOLERANCE = 1e-4
_BATCH_SIZE = 100


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """How far an exported file is from its network.

    Args:
        max_logit_difference: float, the largest absolute difference of a logit; NaN if any is NaN.
        max_probability_difference: float, the same for the file's probabilities.
        argmax_equal: int, images whose predicted class is the same.
        n: int, images compared.
        largest_logit: float, the largest absolute logit of the network.
        tolerance: float, difference allowed, times `largest_logit` where that is above 1.
        path: str, the exported file.
        format: str, "onnx" or "saved_model".
    """

    max_logit_difference: float
    max_probability_difference: float
    argmax_equal: int
    n: int
    largest_logit: float
    tolerance: float
    path: str
    format: str

    @property
    def passed(self):
        """Whether all differences are within the tolerance."""
        # Float32 rounds relative to the size of the number, so a large logit may differ by more.
        limit = self.tolerance * max(1.0, self.largest_logit)
        return self.max_logit_difference <= limit and self.max_probability_difference <= limit

    def to_dict(self):
        """Return the fields and `passed`, ready for JSON."""
        return {**dataclasses.asdict(self), "passed": self.passed}


def check_parity(network, path, x, *, select=None, tolerance=TOLERANCE, trust=False):
    """Compare an exported file with the network it was made of.

    The images are run in batches and the first also alone, so that a batch size that got frozen into
    the file is found.

    Args:
        network: functional `keras.Model` from images in [0, 1] to logits.
        path: path of the ONNX file or of the SavedModel's directory.
        x: `(n, H, W, C)` float array in [0, 1].
        select: str or int, the output that is the logits, where the network has several.
        tolerance: float, difference of logits allowed; relative to the largest logit where that is
            above 1.
        trust: bool, as of `load_onnx`.

    Returns:
        `ParityReport`; its `passed` says whether the tolerance was met.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if `x` or the network is not what the file was made for.
    """
    from export.plain_copy import plain_copy
    from export.precision import full_precision
    from export.signature import describe, reference_logits

    if tolerance <= 0:
        raise ValueError(f"`tolerance` must be above 0. Received: tolerance={tolerance}")
    is_directory = pathlib.Path(path).is_dir()
    served = (load_saved_model if is_directory else load_onnx)(path, batch_size=_BATCH_SIZE, trust=trust)
    input_shape, num_classes = describe(network, select)
    expected = (served.input_shape, served.contract.num_classes)
    if (input_shape, num_classes) != expected:
        raise ValueError(
            f"The file was made for another network: (input shape, classes) {expected}. "
            f"Received: network={network.name!r} with {(input_shape, num_classes)}"
        )
    x = served.contract.check(x)
    network = plain_copy(network)  # What was exported of it.
    with full_precision():
        return compare(served, x, reference_logits(network, x, select), tolerance)


def compare(served, x, reference, tolerance=TOLERANCE):
    """Compare a loaded file with logits that Keras gave.

    Args:
        served: `Runtime` or what `load_saved_model` gives.
        x: `(n, H, W, C)` float32 array in [0, 1].
        reference: `(n, K)` float32 array, the network's logits.
        tolerance: float.

    Returns:
        `ParityReport`.
    """
    logits, probabilities = served.run(x)
    # One more batch of another size: a single image, or two where there was only one.
    few = x[:1] if len(x) > 1 else np.concatenate([x, x])
    few_logits, few_probabilities = served.run(few)
    few_reference = np.repeat(reference[:1], len(few), axis=0)

    difference = max_difference(logits, reference), max_difference(few_logits, few_reference)
    spread = (
        max_difference(probabilities, softmax(reference)),
        max_difference(few_probabilities, softmax(few_reference)),
    )
    return ParityReport(
        max_logit_difference=float(np.max(difference)),
        max_probability_difference=float(np.max(spread)),
        argmax_equal=int((logits.argmax(axis=-1) == reference.argmax(axis=-1)).sum()),
        n=len(x),
        largest_logit=float(np.abs(reference).max()),
        tolerance=float(tolerance),
        path=str(served.path),
        format="saved_model" if served.path.is_dir() else "onnx",
    )


def max_difference(a, b):
    """Return the largest absolute difference of two arrays, NaN if there is any NaN."""
    return float(np.abs(a - b).max())
