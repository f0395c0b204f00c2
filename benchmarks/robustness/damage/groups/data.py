"""Data sets in `.npz` files."""

import numpy as np

from damage.case import Case
from damage.files import archive_of, damaged_archives, damaged_bytes, members_of, npy
from sharedkeras import data as datasets


def _arrays():
    draws = np.random.default_rng(0)
    return {
        "x_train": draws.integers(0, 256, (12, 5, 5), "uint8"),
        "y_train": np.arange(12) % 3,
        "x_test": draws.integers(0, 256, (6, 5, 5), "uint8"),
        "y_test": np.arange(6) % 3,
        "label_names": np.array(["a", "b", "c"]),
    }


def _changes(good):
    def changed(**arrays):
        return {**good, **arrays}

    x, y = good["x_test"], good["y_test"]
    yield "images of floats", changed(x_test=x / 255)
    yield "images of int64", changed(x_test=x.astype("int64"))
    yield "images of NaN", changed(x_test=np.full(x.shape, np.nan))
    yield "images without rows", changed(x_test=x[:, :0])
    yield "images flattened", changed(x_test=x.reshape(6, 25))
    yield "images of five axes", changed(x_test=x[..., None, None])
    yield "no images", changed(x_test=x[:0], y_test=y[:0])
    yield "fewer labels than images", changed(y_test=y[:-1])
    yield "more labels than images", changed(y_test=np.arange(9) % 3)
    yield "labels from 1 on", changed(y_test=y + 1)
    yield "a negative label", changed(y_test=y - 1)
    yield "labels of floats", changed(y_test=y.astype("float32"))
    yield "labels of text", changed(y_test=np.array(["a"] * 6))
    yield "one-hot labels", changed(y_test=np.eye(3, dtype=int)[y])
    yield "labels of int64's largest", changed(y_test=np.full(6, 2**62))
    nameless = {k: v for k, v in good.items() if k != "label_names"}
    yield "a label of 2^62 without names", {**nameless, "y_test": np.full(6, 2**62)}
    yield "a negative label without names", {**nameless, "y_test": y - 1}
    yield "a label of 2^62 in the other split", {**nameless, "y_train": np.full(12, 2**62)}
    yield "label names that are numbers", changed(label_names=np.arange(3))
    yield "label names of two axes", changed(label_names=np.array([["a", "b", "c"]]))
    yield "a label name twice", changed(label_names=np.array(["a", "a", "c"]))
    yield "label names that are no text", changed(label_names=np.array([b"\xff", b"b", b"c"]))
    yield "too few label names", changed(label_names=np.array(["a", "b"]))
    yield "test images of another size", changed(x_test=np.zeros((6, 7, 7), "uint8"))


def cases(folder):
    """Yield damaged files and files that are no data set."""
    good = _arrays()
    path = folder / "good.npz"
    np.savez_compressed(path, **good)
    data = path.read_bytes()
    damages = [*damaged_bytes(data), *damaged_archives(data, "x_test.npy")]
    damages += [
        (name, archive_of({f"{k}.npy": npy(v) for k, v in arrays.items()}))
        for name, arrays in _changes(good)
    ]
    members = members_of(data)
    for name in good:
        damages.append(
            (f"without {name}", archive_of({k: v for k, v in members.items() if k[:-4] != name}))
        )
    damages.append(("a readme within", archive_of({**members, "README.txt": b"Images of mine."})))
    damages.append(
        ("labels (N, 1)", archive_of({**members, "y_test.npy": npy(good["y_test"][:, None])}))
    )
    for number, (name, value) in enumerate(damages):
        place = folder / f"{number}.npz"
        place.write_bytes(value)
        yield Case(
            name,
            lambda place=place: datasets.load(str(place), "test"),
            str(place),
            lambda found: _is_right(found, good),
        )
    yield Case("absent", lambda: datasets.load(str(folder / "no.npz"), "test"), "no.npz")
    (folder / "directory.npz").mkdir()
    yield Case(
        "a directory", lambda: datasets.load(str(folder / "directory.npz"), "test"), "directory.npz"
    )
    yield Case("a name with a null character", lambda: datasets.load("a\0.npz", "test"), ".npz")


def _is_right(found, good):
    names = tuple(good["label_names"].tolist())
    return (
        np.array_equal(found.x, good["x_test"][..., None] / np.float32(255))
        and np.array_equal(found.y, good["y_test"])
        and found.label_names in (names, ("0", "1", "2"))
    )
