"""Full float32 precision while two computations are compared."""

import contextlib

import keras


@contextlib.contextmanager
def full_precision():
    """Turn off TensorFloat-32 in the active Keras backend inside the block.

    GPUs multiply float32 with ten bits of mantissa by default, which moves logits by some 1e-3: more
    than an export may. On a CPU nothing changes. The former setting is restored.
    """
    with contextlib.ExitStack() as stack:
        backend = keras.config.backend()
        if backend == "tensorflow":
            import tensorflow as tf

            was_on = tf.config.experimental.tensor_float_32_execution_enabled()
            tf.config.experimental.enable_tensor_float_32_execution(False)
            stack.callback(tf.config.experimental.enable_tensor_float_32_execution, was_on)
        elif backend == "jax":
            import jax

            stack.enter_context(jax.default_matmul_precision("highest"))
        elif backend == "torch":
            import torch

            stack.enter_context(torch.no_grad())
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        yield
