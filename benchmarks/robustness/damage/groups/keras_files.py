"""Networks in `.keras` files and run directories."""

import io
import json

import h5py
import keras
import numpy as np

from damage.case import Case
from damage.files import archive_of, damaged_bytes, damaged_json, members_of
from sharedkeras.files import save_network
from sharedkeras.models import load_network

_CONFIG, _STORE = "config.json", "model.weights.h5"


def _network():
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Flatten()(keras.layers.Conv2D(3, 3, name="conv")(inputs))
    return keras.Model(inputs, keras.layers.Dense(5, name="logits")(x), name="small")


def _edited(members, **changes):
    """Return an archive whose configuration holds other text, by what is replaced."""
    text = members[_CONFIG].decode()
    for old, new in changes.values():
        if old not in text:
            raise ValueError(f"The configuration lacks what is replaced. Received: {old}")
        text = text.replace(old, new)
    return archive_of({**members, _CONFIG: text})


def _store(members, edit):
    """Return an archive whose weights `edit(file)` has changed."""
    buffer = io.BytesIO(members[_STORE])
    with h5py.File(buffer, "r+") as file:
        edit(file)
    return archive_of({**members, _STORE: buffer.getvalue()})


def _datasets(file):
    found = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def _hostile(members, secret):
    def replaced(value):
        def edit(file):
            name = _datasets(file)[0]
            del file[name]
            if value is not None:
                value(file, name)

        return edit

    def filled(value):
        def edit(file):
            file[_datasets(file)[0]][...] = value

        return edit

    yield "NaN", _store(members, filled(np.nan))
    yield "infinity", _store(members, filled(np.inf))
    yield "an array missing", _store(members, replaced(None))
    yield "another shape", _store(members, replaced(lambda f, n: f.create_dataset(n, data=np.zeros(7))))
    yield (
        "a link to another file",
        _store(members, replaced(lambda f, n: f.__setitem__(n, h5py.ExternalLink(secret, "/x")))),
    )
    yield (
        "data in another file",
        _store(
            members,
            replaced(lambda f, n: f.create_dataset(n, (3, 3, 1, 3), "f4", external=[(secret, 0, 108)])),
        ),
    )
    yield (
        "an array of a terabyte",
        _store(
            members,
            replaced(lambda f, n: f.create_dataset(n, (2**20, 2**18), "f4", chunks=(1024, 1024))),
        ),
    )
    yield "a million units", _edited(members, units=('"units": 5', '"units": 1000000'))
    yield "a trillion units", _edited(members, units=('"units": 5', '"units": 1000000000000'))
    yield (
        "a kernel as large as the moon",
        _edited(members, filters=('"filters": 3', '"filters": 3000000000')),
    )
    yield "negative units", _edited(members, units=('"units": 5', '"units": -5'))
    yield "an unknown layer", _edited(members, name=('"class_name": "Dense"', '"class_name": "Dence"'))
    yield (
        "a class of Python's",
        _edited(
            members,
            module=(
                '"module": "keras.layers", "class_name": "Dense"',
                '"module": "os", "class_name": "system"',
            ),
        ),
    )
    yield (
        "a class of Keras that is no layer",
        _edited(
            members,
            module=(
                '"module": "keras.layers", "class_name": "Dense"',
                '"module": "keras.utils", "class_name": "get_file"',
            ),
        ),
    )
    yield (
        "a function for a network",
        archive_of(
            {
                **members,
                _CONFIG: json.dumps(
                    {
                        "module": "builtins",
                        "class_name": "function",
                        "config": "relu",
                        "registered_name": "function",
                    }
                ),
            }
        ),
    )
    yield (
        "a layer for a network",
        archive_of(
            {**members, _CONFIG: json.dumps(keras.saving.serialize_keras_object(keras.layers.ReLU()))}
        ),
    )
    yield "without its configuration", archive_of({k: v for k, v in members.items() if k != _CONFIG})
    yield "without its weights", archive_of({k: v for k, v in members.items() if k != _STORE})
    yield "a member twice", archive_of([*members.items(), (_CONFIG, members[_CONFIG])])
    yield "a weights file that is text", archive_of({**members, _STORE: b"weights"})
    yield "an old HDF5 file", members[_STORE]


def cases(folder):
    """Yield files that are damaged, hold code, or are larger than the machine."""
    network = _network()
    save_network(network, folder / "good.keras")
    data = (folder / "good.keras").read_bytes()
    members = members_of(data)
    secret = folder / "secret.bin"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones((3, 3, 1, 3), "float32")
    x = np.random.default_rng(0).random((2, 4, 4, 1), "float32")
    expected = np.asarray(network(x))

    def is_right(loaded):
        return np.array_equal(np.asarray(loaded(x)), expected)

    damages = [("undamaged", data), *damaged_bytes(data), *_hostile(members, str(secret))]
    for name, text in damaged_json(members[_CONFIG], ("class_name", "config")):
        damages.append((f"a configuration with {name}", archive_of({**members, _CONFIG: text})))
    for number, (name, value) in enumerate(damages):
        path = folder / f"{number}.keras"
        path.write_bytes(value)
        yield Case(name, lambda path=path: load_network(path), str(path), is_right)
    _save_lambda(folder / "lambda.keras")
    yield Case("a Lambda layer", lambda: load_network(folder / "lambda.keras"), "lambda.keras")
    yield Case("absent", lambda: load_network(folder / "no.keras"), "no.keras")
    (folder / "run").mkdir()
    yield Case("a run without weights", lambda: load_network(folder / "run"), "run")
    (folder / "run2" / "best.keras").mkdir(parents=True)
    yield Case("a directory for a file", lambda: load_network(folder / "run2"), "run2")
    yield Case("weights of another name", lambda: load_network(folder, weights="worst"), "worst")


def _save_lambda(path):
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(path)
