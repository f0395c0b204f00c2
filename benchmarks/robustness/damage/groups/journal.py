"""The finished work of an evaluation that goes on: head and entries of its directory."""

import json
import shutil

import keras
import numpy as np

from damage.case import Case
from damage.files import damaged_archives, damaged_bytes, damaged_json
from sharedkeras import evaluation
from sharedkeras.attacks import FGSM, PGD

_ATTACKS = {"fgsm": FGSM(epsilon=0.2), "pgd": PGD(epsilon=0.2, step_size=0.1, steps=2)}


def _judge(network, x, y, directory, seed=0):
    report = evaluation.evaluate(
        network,
        x,
        y,
        _ATTACKS,
        batch_size=8,
        seed=seed,
        checks=False,
        resume_from=directory,
        verbose=False,
    )
    return {name: flags.tolist() for name, flags in report.flags.items()}


def cases(folder):
    """Yield directories that are damaged, or of another evaluation; the verdicts must be the same."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3, 3, 1))
    network = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)), name="small")
    draws = np.random.default_rng(0)
    x = draws.random((12, 3, 3, 1)).astype("float32")
    y = np.argmax(np.asarray(network(x)), axis=1).astype("int32")
    good, other = folder / "good", folder / "other"
    expected = _judge(network, x, y, good)
    _judge(network, x, y, other, seed=1)
    head = next(p.name for p in good.iterdir() if p.suffix == ".json")
    entry = sorted(p.name for p in good.glob("*.npz"))[-1]
    number = 0

    def changed(change):
        nonlocal number
        number += 1
        path = folder / f"kept{number}"
        shutil.copytree(good, path)
        change(path)
        return path

    def writing(name, value):
        return lambda path: (path / name).write_bytes(value)

    data, text = (good / entry).read_bytes(), (good / head).read_bytes()
    damages = [(f"an entry, {n}", writing(entry, v)) for n, v in damaged_bytes(data)]
    damages += [(f"an entry, {n}", writing(entry, v)) for n, v in damaged_archives(data, "success.npy")]
    damages += [(f"the head, {n}", writing(head, v)) for n, v in damaged_bytes(text)]
    parts = ("format", "identity", "probe", "seal")
    damages += [(f"the head, {n}", writing(head, v)) for n, v in damaged_json(text, parts)]
    damages += [
        ("an entry of another seed", writing(entry, next(other.glob("*.npz")).read_bytes())),
        ("the head of another seed", writing(head, (other / head).read_bytes())),
        ("an entry under another name", lambda path: (path / entry).rename(path / f"0{entry}")),
        ("without the head", lambda path: (path / head).unlink()),
        ("without an entry", lambda path: (path / entry).unlink()),
        ("a thesis beside it", writing("thesis.txt", b"words")),
        ("a thesis and no head", lambda path: _thesis(path, head)),
    ]
    for name, change in (*damages[::2], *damages[-7:]):  # Each is a whole evaluation.
        path = changed(change)
        yield Case(
            name,
            lambda path=path: _judge(network, x, y, path),
            str(path),
            lambda flags: flags == expected,
        )
    for name, arguments in (
        ("other labels", (network, x, (y + 1) % 3)),
        ("other images", (network, x[::-1].copy(), y[::-1].copy())),
        ("fewer images", (network, x[:6], y[:6])),
    ):
        yield Case(name, lambda arguments=arguments: _judge(*arguments, good), str(good))
    yield Case("another seed", lambda: _judge(network, x, y, good, seed=5), str(good))
    yield Case(
        "the same again",
        lambda: _judge(network, x, y, good),
        str(good),
        lambda flags: json.dumps(flags) == json.dumps(expected),
    )
    (folder / "file").write_text("text")
    yield Case("a file", lambda: _judge(network, x, y, folder / "file"), str(folder / "file"))


def _thesis(path, head):
    (path / head).unlink()
    (path / "thesis.txt").write_text("words")
