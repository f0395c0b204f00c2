"""What an evaluation is given, checked before any work."""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sharedkeras.attacks.batching.padding import pad
from sharedkeras.data import check_images, check_labels, from_dataset, with_channels

_PROBES = 32


class Examples(NamedTuple):
    """Images with labels and numbers, all of one length.

    Attributes:
        x: `(n, H, W, C)` float images in [0, 1].
        y: `(n,)` int32 labels.
        index: `(n,)` int32 numbers, which decide the examples' random draws.
    """

    x: Any
    y: Any
    index: Any

    def take(self, rows):
        """Return the examples of some rows."""
        return Examples(self.x[rows], self.y[rows], self.index[rows])


def arrays(x, y):
    """Return images and labels as they are, or those of a pipeline read into memory.

    Args:
        x: images; or, where there are no labels beside, what `data.from_dataset` reads.
        y: labels, or None.

    Returns:
        `(x, y)`.

    Raises:
        TypeError, ValueError: as of `data.from_dataset`; arrays of images need labels.
    """
    if y is not None:
        nested = isinstance(x, list | tuple) and not (x and isinstance(x[0], tuple))
        if not (nested or hasattr(x, "shape")):
            raise ValueError(
                "Batches (images, labels) bring their own labels: leave `y` out, or pass None. "
                f"Received: x of type {type(x).__name__} with y of type {type(y).__name__}"
            )
        return x, y
    if hasattr(x, "shape"):
        raise ValueError(
            f"`y` must hold the images' labels. Received: y=None with x of shape {tuple(x.shape)}"
        )
    return from_dataset(x)[:2]


def checked_examples(classifier, x, y, index):
    """Return `Examples`, or raise an error that says what is wrong with them.

    Args:
        classifier: `Classifier`.
        x: `(n, H, W, C)` float images in [0, 1].
        y: `(n,)` integer labels.
        index: `(n,)` ints, or None for 0, 1, ...

    Raises:
        ValueError, TypeError: if they are not what they must be.
    """
    x = check_images(with_channels(x, classifier.input_shape))
    y = np.asarray(y)
    check_labels(y, classifier.num_classes, size=len(x))
    index = np.arange(len(x)) if index is None else np.asarray(index)
    if index.shape != (len(x),):
        raise ValueError(
            f"`index` must have one number for each of the {len(x)} examples. "
            f"Received: index of shape {index.shape}"
        )
    if len(np.unique(index)) != len(index) or index.min() < 0 or index.dtype.kind not in "iu":
        raise ValueError(
            "`index` must be distinct integers of at least 0. "
            f"Received: index={np.array2string(index, threshold=8)}"
        )
    # Keras itself calls a network on images of another shape wherever the sums come out right.
    wanted, given = classifier.input_shape, x.shape[1:]
    if wanted is not None and not _fits(wanted, given):
        raise ValueError(
            f"`x` must hold images of the network's input shape, {tuple(wanted)} (H, W, C). "
            f"Received: x of shape {x.shape}"
        )
    return Examples(x, y.astype("int32"), index.astype("int32"))


def _fits(wanted, given):
    return len(wanted) == len(given) and all(w in (None, g) for w, g in zip(wanted, given, strict=True))


def check_logits(logits, count):
    """Raise an error unless a network returned logits for so many images.

    Raises:
        ValueError: saying what came instead.
    """
    if logits.ndim != 2 or len(logits) != count:
        raise ValueError(
            f"The network must return logits of shape ({count}, classes). "
            f"Received: output of shape {logits.shape}"
        )
    if logits.shape[1] < 2:
        raise ValueError(
            "The network must return a logit for each of at least 2 classes; one logit z of a binary "
            "network can be given as the two logits (0, z). "
            f"Received: output of shape {logits.shape}"
        )
    if not np.all(np.isfinite(logits)):
        bad = int(np.sum(~np.isfinite(logits).all(axis=1)))
        raise ValueError(
            "The network returns logits that are not finite, so that no attack on it means anything. "
            f"Received: NaN or infinity for {bad} of {count} clean images"
        )


def probe_logits(classifier, x, batch_size):
    """Compute the logits of at most 32 of the images, by which a network is known again.

    Args:
        classifier: `Classifier`.
        x: `(n, H, W, C)` images.
        batch_size: int; batches are filled up to it, since their graph is needed anyway.

    Returns:
        `(p, K)` array.

    Raises:
        ValueError: if the network returns anything but finite logits.
    """
    rows = np.unique(np.linspace(0, len(x) - 1, _PROBES).astype(int))
    parts = []
    for start in range(0, len(rows), batch_size):
        part = x[rows[start : start + batch_size]]
        parts.append(ops.convert_to_numpy(classifier.predict(pad(part, batch_size)))[: len(part)])
    logits = np.concatenate(parts)
    check_logits(logits, len(rows))
    return logits
