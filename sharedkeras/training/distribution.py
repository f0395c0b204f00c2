"""Training on several devices, of one machine or of many."""

import keras

from sharedkeras import backend


def data_parallel(batch_size, devices=None):
    """Return a context in which a trainer is made and fitted on many devices at once.

    On JAX the devices compute one program on one batch: each holds a part of the batch and all of the
    weights (`keras.distribution.DataParallel`). BatchNorm's statistics, HSIC and every other mean are
    those of the whole batch, and draws belong to examples, so that an update does not depend on the
    number of devices, but for rounding.

    TensorFlow's replicas would each normalise, and measure dependence in, a batch of their own, which
    is another method; it is refused.

    Args:
        batch_size: int, the examples of an update, of all devices together.
        devices: list of names of `keras.distribution.list_devices()`; None takes all, those of the
            processes that were joined by `keras.distribution.initialize` among them.

    Returns:
        Context manager.

    Raises:
        ValueError: if the backend is not JAX, or the batch cannot be cut into equal parts.
    """
    if not backend.GLOBAL_BATCHES:
        raise ValueError(
            "A recipe trains on several devices on the JAX backend only (KERAS_BACKEND=jax), where "
            "BatchNorm and HSIC see the whole batch. TensorFlow's replicas see their own part of it; "
            "`RobustTrainer` trains under `tf.distribute.MirroredStrategy` for those who want that. "
            f"Received: distribution='data_parallel' on the backend {keras.config.backend()!r}"
        )
    devices = keras.distribution.list_devices() if devices is None else devices
    if batch_size % len(devices):
        raise ValueError(
            f"The batch must be a multiple of the devices, {len(devices)}, that share it. "
            f"Received: batch_size={batch_size}"
        )
    # The batches are cut by us, each process reading its own part.
    return keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False).scope()


def part():
    """Part from the processes that trained together; to be called by all of them when all is trained.

    Afterwards none waits for what another does alone.

    Returns:
        bool, whether this is the first process, which has written the run.
    """
    number, _ = backend.process()
    backend.leave()
    return number == 0
