"""Counter-based random numbers: every draw is a function of (key, example, position).

A verdict must not depend on how examples are batched, padded or spread over devices, nor on the
backend. So no generator carries a state: a number is the encryption of its own address. Threefry-2x32
needs only addition, exclusive or and shifts of unsigned 32-bit integers, which gives the same bits on
every backend; uniform and normal numbers are made of them by operations that IEEE 754 rounds exactly,
so they too are the same to the last bit.

Reference: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

import functools
import math
import statistics

import numpy as np
from keras import ops

from sharedkeras import backend

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA  # Threefish's key schedule constant, from the reference.
_NORMAL_BITS = 16


def _word(value):
    return ops.convert_to_tensor(np.uint32(value))


def _rotate_left(x, count):
    left = ops.bitwise_left_shift(x, _word(count))
    return ops.bitwise_or(left, ops.bitwise_right_shift(x, _word(32 - count)))


def threefry(key, counter):
    """Encrypt a counter with the Threefry-2x32 block cipher, 20 rounds.

    Args:
        key: pair of uint32 tensors, shapes that broadcast with the counter's.
        counter: pair of uint32 tensors.

    Returns:
        Pair of uint32 tensors, each bit of which is a fair coin.

    Reference: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
    """
    return _cipher(key[0], key[1], counter[0], counter[1])


@backend.traced_once
def _cipher(key0, key1, x0, x1):
    schedule = (key0, key1, ops.bitwise_xor(ops.bitwise_xor(key0, key1), _word(_PARITY)))
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = ops.bitwise_xor(_rotate_left(x1, rotation), x0)
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + _word(group + 1)
    return x0, x1


def key(seed, *path):
    """Make a key from a seed and the path that leads to its use.

    Args:
        seed: int in `[0, 2**64)`, or a key, which is then extended by the path.
        *path: ints, scalar int32 tensors or strings (hashed), such as an attack's name, a restart and
            an iteration.

    Returns:
        `(2,)` uint32 tensor.

    Raises:
        ValueError: if the seed is negative or too large.
    """
    if isinstance(seed, int | np.integer):
        if not 0 <= int(seed) < 2**64:
            raise ValueError(f"A seed must be in [0, 2**64). Received: seed={seed}")
        words = np.array([int(seed) & 0xFFFFFFFF, int(seed) >> 32], "uint32")
        seed = ops.convert_to_tensor(words)
    for step in path:
        seed = _fold(seed, step)
    return seed


def _fold(parent, step):
    if isinstance(step, str):
        step = _hash(step)
    if isinstance(step, int | np.integer):
        step = _word(int(step) & 0xFFFFFFFF)
    step = ops.cast(step, "uint32")
    # The second counter word keeps keys made of keys apart from the bits drawn with them.
    return backend.barrier(ops.stack(threefry((parent[0], parent[1]), (step, _word(0xFFFFFFFF)))))


def _hash(text):
    value = 2166136261  # FNV-1a, 32 bits: Python's own hash changes from process to process.
    for byte in text.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


def bits(key, index, count):
    """Draw 32-bit words for each example.

    Args:
        key: `(2,)` uint32 tensor.
        index: `(batch,)` int32 tensor, the examples' numbers, which alone decide what each one gets.
        count: int, words an example.

    Returns:
        `(batch, count)` uint32 tensor.
    """
    index = ops.cast(index, "uint32")
    child = threefry((key[0], key[1]), (index, ops.zeros_like(index)))
    child = tuple(backend.barrier(ops.expand_dims(word, 1)) for word in child)
    half = (count + 1) // 2
    position = ops.convert_to_tensor(np.arange(half, dtype="uint32")[None])
    first, second = threefry(child, (position, ops.zeros_like(position)))
    # Without the barrier XLA fuses the cipher into each of its uses, and compiles it over and over.
    return backend.barrier(ops.concatenate([first, second], axis=1)[:, :count])


def uniform(key, index, shape, dtype="float32"):
    """Draw numbers uniform in [0, 1), multiples of 2**-24.

    Args:
        key: `(2,)` uint32 tensor.
        index: `(batch,)` int32 tensor, the examples' numbers.
        shape: tuple of ints, an example's shape.
        dtype: "float32" or "float64"; the numbers are the same.

    Returns:
        `(batch, *shape)` tensor.
    """
    words = bits(key, index, math.prod(shape))
    mantissa = ops.cast(ops.bitwise_right_shift(words, _word(8)), "int32")
    numbers = ops.cast(mantissa, dtype) * (2.0**-24)
    return ops.reshape(numbers, (-1, *shape))


def sign(key, index, shape, dtype="float32"):
    """Draw -1 or +1 with equal probability.

    Args:
        key: `(2,)` uint32 tensor.
        index: `(batch,)` int32 tensor, the examples' numbers.
        shape: tuple of ints, an example's shape.
        dtype: a float type.

    Returns:
        `(batch, *shape)` tensor.
    """
    words = bits(key, index, math.prod(shape))
    coin = ops.cast(ops.cast(ops.bitwise_right_shift(words, _word(31)), "int32"), dtype)
    return ops.reshape(2.0 * coin - 1.0, (-1, *shape))


def integers(key, index, shape, limit):
    """Draw integers uniform in [0, limit).

    Args:
        key: `(2,)` uint32 tensor.
        index: `(batch,)` int32 tensor, the examples' numbers.
        shape: tuple of ints, an example's shape.
        limit: int, or int32 tensor that broadcasts with `(batch, *shape)`, in `[1, 2**16]`.

    Returns:
        `(batch, *shape)` int32 tensor.
    """
    words = bits(key, index, math.prod(shape))
    high = ops.cast(ops.bitwise_right_shift(words, _word(16)), "uint32")
    limit = ops.cast(ops.convert_to_tensor(limit), "uint32")
    product = ops.reshape(high, (-1, *shape)) * limit
    return ops.cast(ops.bitwise_right_shift(product, _word(16)), "int32")


@functools.cache
def _quantiles():
    inverse = statistics.NormalDist().inv_cdf
    half = 2 ** (_NORMAL_BITS - 1)
    upper = np.array([inverse((half + k + 0.5) / (2 * half)) for k in range(half)])
    return np.concatenate([-upper[::-1], upper]).astype("float32")


def normal(key, index, shape, dtype="float32"):
    """Draw standard normal numbers.

    Each is `(q(a) + q(b)) / sqrt(2)` with `q` the normal quantiles at 2**16 midpoints. Logarithm and
    cosine (Box-Muller) differ in the last bit between backends, and on some between the lanes of one
    vector register; a table, an addition and a multiplication do not. The largest value is 6.1, the
    variance 0.9999.

    Args:
        key: `(2,)` uint32 tensor.
        index: `(batch,)` int32 tensor, the examples' numbers.
        shape: tuple of ints, an example's shape.
        dtype: "float32" or "float64"; the numbers are the same.

    Returns:
        `(batch, *shape)` tensor.
    """
    words = bits(key, index, math.prod(shape))
    table = ops.convert_to_tensor(_quantiles())
    low = ops.cast(ops.bitwise_and(words, _word(2**_NORMAL_BITS - 1)), "int32")
    high = ops.cast(ops.bitwise_right_shift(words, _word(_NORMAL_BITS)), "int32")
    numbers = (ops.take(table, low) + ops.take(table, high)) * np.float32(math.sqrt(0.5))
    return ops.reshape(ops.cast(numbers, dtype), (-1, *shape))
