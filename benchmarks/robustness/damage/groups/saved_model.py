"""SavedModels: their graph, their variables, what they say of themselves."""

import shutil

import keras
import numpy as np

import export
from damage.case import Case
from damage.files import damaged_bytes, damaged_json

_SHAPE, _CLASSES = (6, 6, 1), ("a", "b", "c")


def cases(folder):
    """Yield directories with one file damaged, missing or exchanged."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(_SHAPE)
    network = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)), name="small")
    x = np.random.default_rng(0).random((5, *_SHAPE)).astype("float32")
    good = folder / "good"
    export.saved_model(network, good, class_names=_CLASSES)
    expected = np.asarray(export.load_saved_model(good)(x))
    number = 0

    def damaged(change):
        nonlocal number
        number += 1
        path = folder / f"model{number}"
        shutil.copytree(good, path)
        change(path)
        return path

    files = [p.relative_to(good) for p in sorted(good.rglob("*")) if p.is_file()]
    changes = [(f"without {file}", lambda path, file=file: (path / file).unlink()) for file in files]
    for file in files:
        data = (good / file).read_bytes()
        damages = [*damaged_bytes(data)][::2]
        if file.suffix == ".json":
            damages += damaged_json(data, ("format", "name", "input", "class_names"))
        changes += [
            (f"{file}, {name}", lambda path, file=file, value=value: (path / file).write_bytes(value))
            for name, value in damages
        ]
    changes.append(("an empty directory", lambda path: (shutil.rmtree(path), path.mkdir())))
    for name, change in changes:
        path = damaged(change)
        yield Case(
            name, lambda path=path: _answers(path, x), str(path), lambda got: _is_right(got, expected)
        )
    yield Case("absent", lambda: export.load_saved_model(folder / "none"), "none")


def _answers(path, x):
    loaded = export.load_saved_model(path)
    return np.asarray(loaded(x)), loaded.contract.class_names


def _is_right(got, expected):
    return np.array_equal(got[0], expected) and got[1] == _CLASSES
