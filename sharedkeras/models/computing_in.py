"""The policy in which networks are built."""

import contextlib

import keras


@contextlib.contextmanager
def computing_in(policy):
    """Let layers that are built inside the block compute in a policy, and restore the former one.

    Args:
        policy: str, a Keras policy such as "mixed_bfloat16", or None to leave all as it is.
    """
    if policy is None:
        yield
        return
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
