"""Everything a run needs to go on, in one file."""

import io
import json
import math
import pathlib
import re
import warnings
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from sharedkeras.files import make_directory, parse_json, read_archive, write_atomically

_FORMAT = "sharedkeras-checkpoint/3"
_WHAT = "a checkpoint of this run"
_KEPT = 2
_NAME = re.compile(r"epoch-(\d+)(?:-update-(\d+))?\.npz")
_LARGEST_HEAD = 2**26


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        epoch: int, the epochs that are done.
        history: dict of lists, their metrics.
        spent: float, the seconds that the running epoch has taken.
    """

    epoch: int
    history: dict
    spent: float


def variables(trainer):
    """List all state of a trainer in a fixed order: weights, statistics, generators, optimizer."""
    if not trainer.optimizer.built:
        trainer.optimizer.build(trainer.trainable_variables)
    return [
        *trainer.trainable_variables,
        *trainer.non_trainable_variables,
        *trainer.optimizer.variables,
    ]


def save(directory, trainer, *, epoch, history, run=None, update=0, sums=(), spent=0.0):
    """Write a checkpoint atomically and remove all but the last two.

    Args:
        directory: of the checkpoints, made if missing.
        trainer: compiled `RobustTrainer`.
        epoch: int, the epochs that are done.
        history: dict of lists, the run's metrics so far.
        run: dict of str, what tells this run from others: digests of its recipe and its data.
        update: int, the updates made in all if the next epoch has begun, else 0.
        sums: variables of the running epoch's log, so that an epoch goes on in its middle.
        spent: float, the seconds that the running epoch has taken.

    Returns:
        Path of the file.

    Raises:
        ValueError: if a variable is not finite; nothing is written then.
    """
    directory = pathlib.Path(directory)
    make_directory(directory)
    values = [ops.convert_to_numpy(v) for v in variables(trainer)]
    logged = [ops.convert_to_numpy(v) for v in sums]
    path = directory / f"epoch-{epoch:04d}{f'-update-{update:08d}' if update else ''}.npz"
    for variable, value in zip((*variables(trainer), *sums), (*values, *logged), strict=True):
        if not np.isfinite(value).all():
            raise ValueError(f"A checkpoint must be finite. Received: {variable.path} for {path}")
    head = {
        "format": _FORMAT,
        "epoch": epoch,
        "update": update,
        "spent": spent,
        "history": {k: [v if math.isfinite(v) else None for v in vs] for k, vs in history.items()},
        "network": trainer.network.name,
        "run": run or {},
        "shapes": [list(v.shape) for v in values],
        "sums": [list(v.shape) for v in logged],
        "keras": keras.__version__,
    }
    buffer = io.BytesIO()
    arrays = {_key(number): value for number, value in enumerate(values)}
    arrays |= {_sum_key(number): value for number, value in enumerate(logged)}
    np.savez(buffer, head=np.array(json.dumps(head, allow_nan=False)), **arrays)
    write_atomically(path, buffer.getvalue())
    for old in listed(directory)[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def listed(directory):
    """List the checkpoints of a directory, oldest first."""
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        return []
    found = [(*_numbers(m), p) for p in directory.iterdir() if (m := _NAME.fullmatch(p.name))]
    return [p for *_, p in sorted(found)]


def _numbers(named):
    return int(named[1]), int(named[2] or 0)


def restore(path, trainer, *, run=None, sums=()):
    """Put a checkpoint's state into a trainer.

    Everything is checked before the first variable is assigned: the run, and of each array its shape,
    its kind and that it is finite.

    Args:
        path: of the file.
        trainer: compiled `RobustTrainer` of the same network and optimizer.
        run: dict of str, as of `save`; None takes any run's.
        sums: variables, as of `save`; none takes those of any log, and leaves them.

    Returns:
        `Progress`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or of another network or run; nothing is changed then.
    """
    path = pathlib.Path(path)
    targets = variables(trainer)
    size = sum(math.prod(v.shape) * _dtype(v).itemsize for v in (*targets, *sums))
    arrays = read_archive(path, what=_WHAT, required=["head"], max_bytes=size + _LARGEST_HEAD)
    head = parse_json(
        str(arrays.pop("head")),
        where=path,
        what=_WHAT,
        entries={
            "epoch": int,
            "update": int,
            "history": dict,
            "network": str,
            "run": dict,
            "shapes": list,
            "sums": list,
        },
        file_format=_FORMAT,
    )
    theirs = head["run"] if run is not None else {}
    differ = sorted(k for k in {*theirs, *(run or {})} if theirs.get(k) != run.get(k))
    if differ:
        raise ValueError(
            f"The checkpoint is of another run: expected the same {' and '.join(differ)}. "
            f"Received: path={path}"
        )
    found = [_sum_key(number) for number in range(len(head["sums"]))]
    logged = [arrays.pop(name, None) for name in found]
    values = [arrays.get(_key(number)) for number in range(len(targets))]
    _check_arrays(arrays, values, targets, head, trainer, path)
    _check_sums(logged, head["sums"], sums, path)
    if sums:
        targets, values = [*targets, *sums], [*values, *logged]
    progress = _checked_progress(head, path)
    for variable, value in zip(targets, values, strict=True):
        variable.assign(value)
    return progress


def restore_newest(directory, trainer, *, run=None, sums=()):
    """Restore the newest usable checkpoint of a directory.

    Args:
        directory: of the checkpoints.
        trainer: compiled `RobustTrainer`.
        run: dict of str, as of `save`.
        sums: variables, as of `restore`.

    Returns:
        `Progress`; that of no epoch where there is no checkpoint yet.

    Raises:
        ValueError: if there are checkpoints and none can be used.
    """
    problem = None
    for path in reversed(listed(directory)):
        try:
            return restore(path, trainer, run=run, sums=sums)
        except ValueError as error:
            warnings.warn(f"{error} The one before it is tried.", stacklevel=2)
            problem = error
    if problem is not None:
        raise problem
    return Progress(0, {}, 0.0)


def _dtype(variable):
    return np.dtype(keras.backend.standardize_dtype(variable.dtype))


def _key(number):
    return f"v{number:05d}"


def _sum_key(number):
    return f"s{number:05d}"


def _check_sums(logged, shapes, sums, path):
    found = [None if value is None else list(value.shape) for value in logged]
    expected = [list(variable.shape) for variable in sums] if sums else shapes
    sound = all(value is not None and value.dtype.kind == "f" for value in logged)
    if found != shapes or found != expected or not sound:
        raise ValueError(
            f"The checkpoint is damaged: expected the sums of a log, of shapes {expected}. "
            f"Received: shapes {found} in path={path}"
        )
    if not all(np.isfinite(value).all() for value in logged):
        raise ValueError(
            f"The checkpoint must be finite: expected finite sums of the log. Received: path={path}"
        )


def _check_arrays(arrays, values, targets, head, trainer, path):
    shapes = [list(v.shape) for v in targets]
    found = [None if value is None else list(value.shape) for value in values]
    if found != shapes or head["shapes"] != shapes or len(arrays) != len(targets):
        raise ValueError(
            f"The checkpoint is of another network or optimizer, or damaged: it holds {len(arrays)} "
            f"arrays of network {head['network']!r}, and {len(shapes)} of given shapes of network "
            f"{trainer.network.name!r} were expected. Received: path={path}"
        )
    for variable, value in zip(targets, values, strict=True):
        kind = _dtype(variable).kind
        # Backends differ in the integers of generators, so a kind is asked for and not a type.
        if (value.dtype.kind in "iu") != (kind in "iu") or value.dtype.kind not in "fiub":
            raise ValueError(
                f"The checkpoint is damaged: expected {variable.path} as {_dtype(variable)}. "
                f"Received: {value.dtype} in path={path}"
            )
        if not np.isfinite(value).all():
            raise ValueError(
                f"The checkpoint must be finite: expected finite numbers in {variable.path}. "
                f"Received: {value[~np.isfinite(value)].flat[0]} in path={path}"
            )


def _checked_progress(head, path):
    """Return how far the run is, with NaN where JSON had to say null."""
    epoch, update, history = head["epoch"], head["update"], head["history"]
    spent = head.get("spent", 0.0)  # Not known of checkpoints of earlier versions.
    if type(spent) not in (int, float) or not (math.isfinite(spent) and spent >= 0):
        raise ValueError(
            "The checkpoint is damaged: expected the seconds of the running epoch. "
            f"Received: spent={spent!r}, path={path}"
        )
    named = _NAME.fullmatch(path.name)
    columns_fit = all(
        isinstance(column, list)
        and len(column) <= epoch
        and all(value is None or type(value) in (int, float) for value in column)
        for column in history.values()
    )
    begun = epoch >= 1 or update >= 1
    if not begun or not columns_fit or (named and _numbers(named) != (epoch, update)):
        raise ValueError(
            "The checkpoint is damaged: expected the epoch and update of its name, and a history of as "
            f"many epochs. Received: epoch={epoch}, update={update}, path={path}"
        )
    nan = float("nan")
    known = {k: [nan if v is None else v for v in column] for k, column in history.items()}
    return Progress(epoch, known, float(spent))
