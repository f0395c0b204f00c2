"""Checkpoints of a training run, alone and beside an older one."""

import json

import keras
import numpy as np
from keras import ops

from damage.case import Case
from damage.files import archive_of, damaged_archives, damaged_bytes, damaged_json, members_of, npy
from sharedkeras import objectives, training
from sharedkeras.training import checkpoint

RUN = {"recipe": "a", "data": "b"}
_HEAD = ("format", "epoch", "update", "history", "network", "run", "shapes")


def make_trainer(seed=0):
    """Return a compiled trainer of a tiny network."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(inputs))
    network = keras.Model(inputs, keras.layers.Dense(3)(x), name="small")
    trainer = training.RobustTrainer(network, objectives.Standard(), seed=seed)
    trainer.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
    return trainer


def values_of(trainer):
    """Return copies of all state."""
    return [np.array(ops.convert_to_numpy(v)) for v in checkpoint.variables(trainer)]


def _same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def _heads(head):
    def changed(**values):
        return {**head, **values}

    yield "another run", changed(run={"recipe": "a", "data": "c"})
    yield "no run", changed(run={})
    yield "another epoch than its name", changed(epoch=3)
    yield "an epoch below one", changed(epoch=0)
    yield "another update than its name", changed(update=7)
    yield "a history that is too long", changed(history={"loss": [1.0] * 9})
    yield "a history of text", changed(history={"loss": ["low"]})
    yield "a history that is no list", changed(history={"loss": 1.0})
    yield "a time before the beginning", changed(spent=-1.0)
    yield "shapes of another network", changed(shapes=[[1]])
    yield "the format of later", changed(format="sharedkeras-checkpoint/99")


def cases(folder):
    """Yield damaged checkpoints; of each the state before must stay, or the older one be taken."""
    trainer, target = make_trainer(1), make_trainer(2)
    older, newer = values_of(target), values_of(trainer)
    good = checkpoint.save(folder / "good", trainer, epoch=2, history={"loss": [2.0, 1.0]}, run=RUN)
    data, whole = good.read_bytes(), values_of(trainer)
    members = members_of(data)
    head = json.loads(str(np.load(good)["head"]))

    def with_head(text):
        return archive_of({**members, "head.npy": npy(np.array(text))})

    damages = [*damaged_bytes(data), *damaged_archives(data, "v00001.npy")]
    damages += [(name, with_head(json.dumps(value))) for name, value in _heads(head)]
    for name, text in damaged_json(json.dumps(head).encode(), _HEAD):
        damages.append((f"a head with {name}", with_head(text.decode("latin-1"))))
    for name, value in (("NaN", np.nan), ("infinity", np.inf)):
        bad = np.full_like(whole[0], value)
        damages.append((name, archive_of({**members, "v00000.npy": npy(bad)})))
    damages.append(
        ("numbers for a generator", archive_of({**members, "v00002.npy": npy(np.float32(1))}))
    )
    for number, (name, value) in enumerate(damages):
        path = folder / f"alone{number}" / good.name
        path.parent.mkdir()
        path.write_bytes(value)
        yield Case(
            name,
            lambda path=path: _restore(path, target, older),
            str(path),
            lambda state: _same(state, newer),
        )
    for number, (name, value) in enumerate(damages[:20]):
        directory = folder / f"beside{number}"
        first = make_trainer(3)
        checkpoint.save(directory, first, epoch=1, history={"loss": [2.0]}, run=RUN)
        (directory / good.name).write_bytes(value)
        expected = values_of(first)
        yield Case(
            f"{name}, beside an older one",
            lambda directory=directory: _fall_back(directory),
            str(directory),
            lambda found, expected=expected: _same(found[1], expected if found[0] == 1 else newer),
        )
    yield Case("absent", lambda: checkpoint.restore(folder / "epoch-0009.npz", target), "epoch-0009.npz")
    yield Case(
        "an empty directory",
        lambda: checkpoint.restore_newest(folder / "none", target, run=RUN),
        "none",
        lambda found: found == (0, {}, 0.0),
    )
    bad = make_trainer(4)
    bad.trainable_variables[0].assign(np.full(bad.trainable_variables[0].shape, np.nan))
    yield Case(
        "NaN to be saved", lambda: checkpoint.save(folder / "nan", bad, epoch=1, history={}), "nan"
    )


def _restore(path, trainer, before):
    for variable, value in zip(checkpoint.variables(trainer), before, strict=True):
        variable.assign(value)
    try:
        epoch, history, _ = checkpoint.restore(path, trainer, run=RUN)
    except BaseException:
        if not _same(values_of(trainer), before):
            raise AssertionError("The trainer was changed though its checkpoint was refused.") from None
        raise
    if (epoch, history) != (2, {"loss": [2.0, 1.0]}):
        raise AssertionError(f"another epoch or history: {epoch}, {history}")
    return values_of(trainer)


def _fall_back(directory):
    trainer = make_trainer(5)
    epoch, _, _ = checkpoint.restore_newest(directory, trainer, run=RUN)
    return epoch, values_of(trainer)
