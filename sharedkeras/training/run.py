"""A whole training run from a recipe: data, network, fit, files."""

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import pathlib
import subprocess
import time
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from sharedkeras import backend, data
from sharedkeras.arguments import need_between, need_count
from sharedkeras.files import (
    locked,
    make_directory,
    read_json,
    remove_litter,
    save_network,
    vacant,
    write_atomically,
)
from sharedkeras.losses import cross_entropy
from sharedkeras.models import FrozenClassifier, load_network, take_weights
from sharedkeras.models.classifiers.gradients import input_gradient
from sharedkeras.objectives import MakesQueries
from sharedkeras.training import callbacks, checkpoint
from sharedkeras.training.collapse import WatchLatent
from sharedkeras.training.distribution import data_parallel
from sharedkeras.training.divergence import StopWhenDiverged, WatchLoss
from sharedkeras.training.progress import RunProgress
from sharedkeras.training.stopping import StopWhenAsked
from sharedkeras.training.trainer import RobustTrainer
from sharedkeras.version import __version__

_FORMAT = "sharedkeras-run/1"
_MOMENTUM = 0.9
_PROBE = 16  # Images timed to estimate a run's length, and looked at for divergence.
_WATCHED = 256  # Images whose latents are compared.
_STEP = 3.4  # Input gradients that a train step's passes of two views with weight gradients cost.
_QUERY = 0.5  # Input gradients that a forward pass costs.


class Run(NamedTuple):
    """What a training run leaves in memory.

    Attributes:
        network: the `keras.Model` with the last weights.
        run_dir: directory of its files.
        history: dict of lists, one entry an epoch.
        updates: int, updates made in all.
        findings: tuple of `(code, message)`, what was told of the training: "loss-leaps", where an
            update of the first epoch had three times the first one's loss, "latent-collapse", where the
            stochastic layer no longer told of the images.
    """

    network: keras.Model
    run_dir: pathlib.Path
    history: dict
    updates: int
    findings: tuple = ()


def open_run(run_dir, recipe, *, resume):
    """Make a run's directory, or find the one to resume.

    Args:
        run_dir: path.
        recipe: `Recipe`.
        resume: bool, whether to go on with the run that is there.

    Returns:
        Path of the directory.

    Raises:
        FileExistsError: if another run is there, or this one and `resume` is False.
        FileNotFoundError: if there is nothing to resume.
    """
    run_dir = pathlib.Path(run_dir)
    config = run_dir / "config.json"
    if config.exists():
        theirs = read_json(config, what="the config.json of a run", entries={"recipe": dict})["recipe"]
        # A run of an earlier version lacks the fields that came later: it went by their defaults.
        theirs = {**_as_json(_defaults(recipe)), **theirs}
        mine = _as_json(dataclasses.asdict(recipe))
        different = sorted(k for k in {*mine, *theirs} if mine.get(k) != theirs.get(k))
        if different:
            said = ", ".join(f"{k}: {theirs.get(k)!r} there, {mine.get(k)!r} here" for k in different)
            raise FileExistsError(
                f"The run directory holds another run ({said}). Name another directory. "
                f"Received: run_dir={run_dir}"
            )
        if not resume:
            raise FileExistsError(
                "The run directory already holds this run; resume it with --resume, or name another "
                f"directory. Received: run_dir={run_dir}"
            )
        return run_dir
    if resume:
        raise FileNotFoundError(f"There is no run to resume. Received: run_dir={run_dir}")
    if not vacant(run_dir):
        raise FileExistsError(
            f"The run directory is not empty and holds no run. Received: run_dir={run_dir}"
        )
    make_directory(run_dir)
    values = {
        "format": _FORMAT,
        "dataset": recipe.dataset,
        "model": recipe.model,
        "recipe": dataclasses.asdict(recipe),
        "commit": _commit(),
        "versions": {
            "sharedkeras": __version__,
            "keras": keras.__version__,
            "backend": backend.version(),
        },
    }
    with locked(run_dir):
        if config.exists():  # Another process was faster.
            raise FileExistsError(
                f"Another run has just begun there. Name another directory. Received: run_dir={run_dir}"
            )
        write_atomically(config, json.dumps(values, indent=1))
    return run_dir


def _defaults(recipe):
    """Return the default of each field of a recipe that has one."""
    defaults = {}
    for field in dataclasses.fields(recipe):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
    return defaults


def _as_json(values):
    """Return values as they come back from a file, with lists in place of tuples."""
    return json.loads(json.dumps(values))


def _commit():
    """Return the Git commit of the sources, or None where they are installed without."""
    root = pathlib.Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def identify(recipe, x, y):
    """Return what tells a run from others, for its checkpoints.

    Args:
        recipe: `Recipe`.
        x: training images.
        y: their labels.

    Returns:
        Dict with the digests of `"recipe"` and `"data"`.
    """
    # Values at their defaults are left out: a field that a later version adds keeps a run resumable.
    # Should a version change a default, `open_run` sees it, which compares every value.
    defaults = _defaults(recipe)
    values = dataclasses.asdict(recipe)
    chosen = {k: v for k, v in values.items() if k not in defaults or v != defaults[k]}
    text = json.dumps(chosen, sort_keys=True).encode()
    data_digest = hashlib.blake2b(digest_size=16)
    for array in (x, y):
        data_digest.update(repr((array.shape, str(array.dtype))).encode())
        data_digest.update(np.ascontiguousarray(array).data)
    return {
        "recipe": hashlib.blake2b(text, digest_size=16).hexdigest(),
        "data": data_digest.hexdigest(),
    }


def prepare(recipe, *, steps_per_epoch, initial=None, steps_per_execution=1):
    """Build a recipe's network and compiled trainer, with all seeds set from the recipe's.

    Args:
        recipe: `Recipe`.
        steps_per_epoch: int, updates an epoch.
        initial: `keras.Model` whose weights the network begins with, or None.
        steps_per_execution: int, as in `keras.Model.compile`.

    Returns:
        `RobustTrainer`, whose `new_layers` are the layers that take no weights of `initial`, by name.

    Raises:
        ValueError: if `initial` is of another architecture.
    """
    keras.utils.set_random_seed(recipe.seed)
    network = recipe.make_network()
    new = () if initial is None else take_weights(network, initial)
    trainer = RobustTrainer(
        network,
        recipe.make_objective(),
        seed=recipe.seed,
        weight_decay=recipe.weight_decay,
        augment=recipe.make_augment(),
        curriculum=recipe.make_curriculum(),
        ema_decay=recipe.ema_decay,
        awp_gamma=recipe.awp_gamma,
    )
    rate = recipe.make_learning_rate(steps_per_epoch=steps_per_epoch)
    if recipe.optimizer == "sgd":
        # Keras scales the velocity by the rate, PyTorch the update: they differ only in the few updates
        # after the rate drops, when Keras's velocity still has its old size.
        optimizer = keras.optimizers.SGD(rate, momentum=_MOMENTUM)
    else:
        optimizer = keras.optimizers.Adam(rate)
    trainer.compile(optimizer=optimizer, steps_per_execution=steps_per_execution)
    trainer.steps_per_epoch = steps_per_epoch
    trainer.new_layers = new
    return trainer


def epoch_costs(recipe, examples):
    """Count what the epochs of a run cost.

    Args:
        recipe: `Recipe`.
        examples: int, training images.

    Returns:
        List of `(training, validation)`, in input gradients of one image.
    """
    curriculum = recipe.make_curriculum()
    step = _STEP * (2 if recipe.awp_gamma else 1)
    objective = recipe.make_objective()
    if isinstance(objective, MakesQueries):
        step += _QUERY * objective.queries
    judged = recipe.make_validation_attacks()["pgd"].gradients + _QUERY * recipe.validation_queries
    validation = recipe.validation_examples * judged
    return [
        (examples * (curriculum.at(epoch).gradients + step), validation)
        for epoch in range(recipe.trained_epochs)
    ]


def estimate_seconds(network, recipe, examples, updates=None, start=0):
    """Estimate a run's length from the time of one input gradient on this machine.

    Args:
        network: `keras.Model`.
        recipe: `Recipe`.
        examples: int, training images.
        updates: int or None, updates if the run is cut short.
        start: int, epochs that are done.

    Returns:
        Seconds, float; good to a factor of two.
    """
    x = np.random.default_rng(0).random((_PROBE, *network.input_shape[1:]), "float32")
    y = np.zeros(_PROBE, "int32")
    classifier = FrozenClassifier(network)

    def gradient(view, x, y, state):
        return input_gradient(view, cross_entropy, y, x, state)[2]

    arguments = [ops.convert_to_tensor(v) for v in (x, y)]
    for _ in range(2):  # The first call compiles.
        began = time.perf_counter()
        ops.convert_to_numpy(classifier.apply("probe", gradient, *arguments, classifier.state))
    unit = (time.perf_counter() - began) / _PROBE
    costs = epoch_costs(recipe, examples)
    if updates is not None:
        training, _ = costs[min(start, len(costs) - 1)]
        return unit * recipe.batch_size * updates * training / examples
    return unit * sum(training + validation for training, validation in costs[start:])


def fit(
    recipe,
    run_dir,
    *,
    resume=False,
    data_dir=None,
    download=False,
    max_steps=None,
    deterministic=False,
    checkpoint_seconds=0.0,
    announce=None,
    verbose="auto",
    distribution=None,
    find=load_network,
    steps_per_execution=1,
):
    """Train as a recipe says and keep everything in a run directory.

    After each epoch: `last.keras`, `best.keras`, `metrics.csv`, a checkpoint of all state, TensorBoard's
    events where TensorFlow is installed. A run that was stopped goes on with `resume=True` from its last
    checkpoint, and ends where an unbroken one does. Ctrl-C and SIGTERM end it after the current update,
    with a checkpoint in mid-epoch; where epochs take long there is one every five minutes.

    Args:
        recipe: `Recipe`.
        run_dir: path of the directory.
        resume: bool, whether to go on with the run that is there.
        data_dir: directory of the data; TFDS's own if None.
        download: bool, whether to download the data where it is absent.
        max_steps: int, stop after that many updates, or None.
        deterministic: bool, whether operations must return the same bits each time.
        checkpoint_seconds: float at least 0, the least time between two checkpoints; 0 makes one after
            each epoch.
        announce: `announce(trainer, train, start_epoch)`, called before the first update.
        verbose: "auto" or 1 shows a bar where standard output is a terminal, else lines; 2 lines, 0
            nothing. Each tells how long the whole run still takes.
        distribution: "data_parallel" for all devices, see `data_parallel`, or None for one. Of processes
            that were joined by `keras.distribution.initialize` the first one writes, to a directory that
            all of them see; only it announces and shows progress. It is no part of the recipe, so that a
            run goes on with another number of devices.
        find: `find(source)` returns the network that `recipe.initial_weights` names, such as `zoo.find`.
        steps_per_execution: int, at least 1, updates that are made before the host looks at anything: a
            signal, `max_steps`, a loss. Of use where an update takes milliseconds. It is no part of the
            recipe: the weights are the same.

    Returns:
        `Run`.

    Raises:
        DivergedError: if a loss or a weight is not finite; what the epochs before have left stays.
        FileExistsError: if the directory holds another run, this one and `resume` is False, or another
            process works in it.
        FileNotFoundError: if the data, the initial weights or the run to resume is not there.
        ValueError: if a checkpoint is damaged, or of another network or run, or the initial weights are
            of another architecture.
    """
    need_between(0, None, checkpoint_seconds=checkpoint_seconds)
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"`max_steps` must be at least 1. Received: max_steps={max_steps}")
    need_count(steps_per_execution=steps_per_execution)
    source = {"data_dir": data_dir, "download": download, "validation_size": recipe.validation_size}
    train = data.load(recipe.dataset, "train", **source)
    held_out = data.load(recipe.dataset, "validation", **source) if recipe.validation_size else None
    if recipe.train_share < 1:
        count = max(1, round(recipe.train_share * len(train.x)))
        rows = data.subset(len(train.x), count, seed=recipe.seed)
        train = train._replace(x=train.x[rows], y=train.y[rows])
    if distribution not in (None, "data_parallel"):
        raise ValueError(
            f"`distribution` must be 'data_parallel' or None. Received: distribution={distribution!r}"
        )
    spread = contextlib.nullcontext()
    if distribution is not None:
        spread = data_parallel(recipe.batch_size)
    first = backend.process()[0] == 0
    initial = None
    if recipe.initial_weights is not None:
        # Tried before a directory is made, so that a wrong name or network leaves nothing behind.
        initial = find(recipe.initial_weights)
        take_weights(recipe.make_network(), initial)
    run_dir = open_run(run_dir, recipe, resume=resume) if first else pathlib.Path(run_dir)
    with locked(run_dir) if first else contextlib.nullcontext(), spread:
        return _fit(
            recipe,
            run_dir,
            train,
            held_out,
            initial,
            resume=resume,
            max_steps=max_steps,
            deterministic=deterministic,
            checkpoint_seconds=checkpoint_seconds,
            announce=announce if first else None,
            verbose=verbose if first else 0,
            steps_per_execution=steps_per_execution,
        )


def _fit(
    recipe,
    run_dir,
    train,
    held_out,
    initial,
    *,
    resume,
    max_steps,
    deterministic,
    checkpoint_seconds,
    announce,
    verbose,
    steps_per_execution,
):
    """Train in a directory that is held; `fit` says what that leaves."""
    number, processes = backend.process()
    first = number == 0
    if first:
        for directory in (run_dir, run_dir / "checkpoints"):
            remove_litter(directory)
    identity = identify(recipe, train.x, train.y)
    if deterministic:
        backend.deterministic()
    batches = data.Batches(
        train.x,
        train.y,
        recipe.batch_size,
        seed=recipe.seed,
        drop_remainder=True,
        part=(number, processes),
    )
    trainer = prepare(
        recipe,
        steps_per_epoch=len(batches),
        initial=initial,
        steps_per_execution=steps_per_execution,
    )
    start, history, spent = 0, {}, 0.0
    if resume:
        start, history, spent = checkpoint.restore_newest(
            run_dir / "checkpoints", trainer, run=identity, sums=trainer.metrics_variables
        )
    if announce is not None:
        announce(trainer, train, start)
    keeper = callbacks.Keeper(run_dir, history, identity, checkpoint_seconds, writes=first, spent=spent)
    findings = []

    def tell(code, message):
        findings.append((code, message))
        if verbose:
            print(f"\nwarning {code}: {message}", flush=True)

    before = [StopWhenDiverged(train.x[:_PROBE]), callbacks.EpochState(batches)]
    before.append(WatchLatent(train.x[:_WATCHED], trainer.objective.taps, tell))
    if not _updates(trainer):
        before.append(WatchLoss(tell))
    if trainer.average is not None:
        before.append(callbacks.SettleAverage(batches))
    if held_out is not None and recipe.validation_examples:
        before.append(
            callbacks.RobustValidation(
                held_out.x,
                held_out.y,
                attacks=recipe.make_validation_attacks(),
                batch_size=recipe.batch_size,
                examples=min(recipe.validation_examples, len(held_out.x)),
            )
        )
    after = []
    if first and importlib.util.find_spec("tensorflow") and importlib.util.find_spec("tensorboard"):
        after.append(keras.callbacks.TensorBoard(run_dir / "tensorboard", write_graph=False))
    if max_steps is not None:
        before.insert(0, callbacks.MaxSteps(max_steps))
    epochs = recipe.trained_epochs
    if recipe.patience is not None:
        stop = callbacks.StopEarly(recipe.patience, keeper.history)
        before.append(stop)
        epochs = start if stop.is_over else epochs
    asked = StopWhenAsked(keeper.keep_state)
    if processes == 1:  # Several would stop at different updates and wait for each other.
        after.append(asked)
    parts = [(batches, start, epochs, [])]
    if done := _updates(trainer) - start * len(batches):  # The epoch was stopped in its middle.
        sums = [np.array(ops.convert_to_numpy(v)) for v in trainer.metrics_variables]
        rest = (batches.after(done), start, start + 1, [callbacks.OpenLog(sums)])
        parts = [rest, (batches, start + 1, epochs, [])]
    progress = RunProgress(epoch_costs(recipe, len(train.x)), len(batches), max_steps, verbose)
    try:
        with progress:
            for images, begin, end, more in parts:
                trainer.fit(
                    images,
                    epochs=end,
                    initial_epoch=begin,
                    callbacks=[*before, *more, keeper, progress, *after],
                    shuffle=False,
                    verbose=0,
                )
                if trainer.stop_training:
                    break
    finally:
        asked.give_back()
    updates = _updates(trainer)
    if first and (not (run_dir / "last.keras").exists() or updates % len(batches)):
        # Cut short in mid-epoch: these weights are worth keeping, and the checkpoint stays whole.
        save_network(trainer.plain, run_dir / "last.keras")
        if not (run_dir / "best.keras").exists():
            save_network(trainer.plain, run_dir / "best.keras")
    return Run(trainer.network, run_dir, keeper.history, updates, tuple(findings))


def _updates(trainer):
    return int(ops.convert_to_numpy(trainer.update.value))
