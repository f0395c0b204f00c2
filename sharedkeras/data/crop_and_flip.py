"""The usual augmentation of small images, inside the graph."""

import dataclasses

from keras import ops

from sharedkeras.math import random


@dataclasses.dataclass(frozen=True)
class CropAndFlip:
    """Shifts each image by a few pixels and mirrors every other one.

    Each image, surrounded by `padding` black pixels, is cut back to its size at a random place, then
    mirrored left to right with probability 1/2. It runs where the attack runs, in the compiled
    training step, and draws for each example by its number, so that an example's augmentation
    depends neither on its batch nor on the backend.

    Args:
        padding: int, at least 0: the largest shift, in pixels. 0 shifts nothing.
        flip: bool, whether to mirror; not for digits.

    Raises:
        ValueError: if the padding is negative.
        TypeError: if the padding is not an integer.

    Reference: K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", 2016,
    section 4.2.
    """

    padding: int = 4
    flip: bool = True

    def __post_init__(self):
        """Refuse what is not a number of pixels."""
        if isinstance(self.padding, bool) or not isinstance(self.padding, int):
            raise TypeError(f"`padding` must be an integer. Received: padding={self.padding!r}")
        if self.padding < 0:
            raise ValueError(f"`padding` must not be negative. Received: padding={self.padding}")

    def __call__(self, x, key, index):
        """Augment a batch.

        Args:
            x: `(batch, H, W, C)` float tensor; H, W and C must be known when traced.
            key: `(2,)` uint32 tensor, made of seed and step: another one for each epoch.
            index: `(batch,)` int32 tensor, the examples' numbers.

        Returns:
            Tensor of the shape and dtype of `x`; each pixel is one of `x` or 0.
        """
        height, width, channels = x.shape[1:]
        # Always three numbers an example, so that turning one part off leaves the other as it was.
        draws = random.uniform(key, index, (3,))
        # An odd number times the largest draw, 1 - 2**-24, still rounds to less than that number.
        shift = ops.cast(ops.floor(draws[:, :2] * (2 * self.padding + 1)), "int32")
        row = shift[:, :1] + ops.arange(height, dtype="int32")[None]
        column = ops.arange(width, dtype="int32")[None]
        if self.flip:
            column = ops.where(draws[:, 2:] < 0.5, width - 1 - column, column)
        column = shift[:, 1:2] + column
        # One gather of whole pixels from all images laid end to end.
        border = (self.padding, self.padding)
        padded = ops.pad(x, ((0, 0), border, border, (0, 0)))
        wide = width + 2 * self.padding
        image = ops.cumsum(ops.ones_like(index)) - 1
        image = ops.cast(image, "int32") * ((height + 2 * self.padding) * wide)
        place = image[:, None, None] + row[:, :, None] * wide + column[:, None, :]
        return ops.take(ops.reshape(padded, (-1, channels)), place, axis=0)
