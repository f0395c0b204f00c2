"""Everything a run needs to go on, in one file."""

import io
import json
import os
import pathlib
import re
import warnings
import zipfile

import keras
import numpy as np
from keras import ops

from sharedkeras.files import write_atomically

_FORMAT = "sharedkeras-checkpoint/1"
_KEPT = 2
_NAME = re.compile(r"epoch-(\d+)\.npz")


def variables(trainer):
    """List all state of a trainer in a fixed order: weights, statistics, generators, optimizer."""
    if not trainer.optimizer.built:
        trainer.optimizer.build(trainer.trainable_variables)
    return [
        *trainer.trainable_variables,
        *trainer.non_trainable_variables,
        *trainer.optimizer.variables,
    ]


def save(directory, trainer, *, epoch, history):
    """Write a checkpoint atomically and removes all but the last two.

    Args:
        directory: of the checkpoints, made if missing.
        trainer: compiled `RobustTrainer`.
        epoch: int, the epochs that are done.
        history: dict of lists, the run's metrics so far.

    Returns:
        Path of the file.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    values = [ops.convert_to_numpy(v) for v in variables(trainer)]
    head = {
        "format": _FORMAT,
        "epoch": epoch,
        "history": history,
        "network": trainer.network.name,
        "shapes": [list(v.shape) for v in values],
        "keras": keras.__version__,
    }
    buffer = io.BytesIO()
    arrays = {f"v{i:05d}": v for i, v in enumerate(values)}
    np.savez(buffer, head=np.array(json.dumps(head)), **arrays)
    path = directory / f"epoch-{epoch:04d}.npz"
    write_atomically(path, buffer.getvalue())
    for old in listed(directory)[:-_KEPT]:
        os.remove(old)
    return path


def listed(directory):
    """List the checkpoints of a directory, oldest first."""
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        return []
    found = [(int(m[1]), p) for p in directory.iterdir() if (m := _NAME.fullmatch(p.name))]
    return [p for _, p in sorted(found)]


def restore(path, trainer):
    """Put a checkpoint's state into a trainer.

    Args:
        path: of the file.
        trainer: compiled `RobustTrainer` of the same network and optimizer.

    Returns:
        `(epoch, history)`.

    Raises:
        ValueError: if the file is damaged or of another network; nothing is changed then.
    """
    try:
        # Opened here, since NumPy leaves a damaged file open.
        with open(path, "rb") as file, np.load(file) as archive:
            head = json.loads(str(archive["head"]))
            values = [archive[f"v{i:05d}"] for i in range(len(head["shapes"]))]
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"The checkpoint is damaged: {error}. Received: {path}") from error
    targets = variables(trainer)
    shapes = [list(v.shape) for v in targets]
    if head.get("format") != _FORMAT or head["shapes"] != shapes:
        raise ValueError(
            f"The checkpoint is of another network or optimizer: it holds {len(head['shapes'])} "
            f"variables of network {head.get('network')!r}, and {len(shapes)} of network "
            f"{trainer.network.name!r} were expected. Received: {path}"
        )
    for variable, value in zip(targets, values, strict=True):
        variable.assign(value)
    return head["epoch"], head["history"]


def restore_newest(directory, trainer):
    """Restores the newest readable checkpoint of a directory.

    Args:
        directory: of the checkpoints.
        trainer: compiled `RobustTrainer`.

    Returns:
        `(epoch, history)`; `(0, {})` where there is no checkpoint yet.

    Raises:
        ValueError: if there are checkpoints and none can be used.
    """
    problem = None
    for path in reversed(listed(directory)):
        try:
            return restore(path, trainer)
        except ValueError as error:
            warnings.warn(f"{error} The one before it is tried.", stacklevel=2)
            problem = error
    if problem is not None:
        raise problem
    return 0, {}
