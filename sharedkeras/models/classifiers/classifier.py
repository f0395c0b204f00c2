"""What attacks and evaluations ask of a classifier, whatever it is made of."""

from __future__ import annotations

import typing
from typing import Any


@typing.runtime_checkable
class Classifier(typing.Protocol):
    """The contract between a classifier and the attacks and evaluations.

    `FrozenClassifier` wraps a Keras network, `CallableClassifier` a file, an endpoint or any other
    function that gives outputs and nothing else. One with gradients has more than this: attacks by
    gradients call it in compiled loops, by `iterate` and `apply` of `FrozenClassifier`.

    Attributes:
        name: str, for reports.
        white_box: bool, whether it has gradients, weights and compiled loops, as `FrozenClassifier`.
        num_classes: int, the number of logits, or None where that is not known.
        input_shape: `(H, W, C)` of an image, or None where that is not known.
        multiply_adds: int, the multiplications of one image's forward pass; 0 where not known.
        random: bool, whether it is known to draw numbers, so that its state advances with a call.
        folded: a classifier of the same logits but for rounding that is faster, or itself.
    """

    name: str
    white_box: bool
    num_classes: int | None
    input_shape: tuple | None
    multiply_adds: int
    random: bool
    folded: Classifier

    def predict(self, x: Any) -> Any:
        """Compute the logits of one batch, `(batch, H, W, C)` to `(batch, K)`."""
        ...
