"""Cards of the zoo."""

import json
import shutil

import zoo
from damage.case import Case
from damage.files import damaged_bytes, damaged_json
from zoo import card_reader, cards_index

_TYPED = (
    "format",
    "name",
    "dataset",
    "norm",
    "epsilon",
    "label_names",
    "network",
    "weights",
    "evaluation",
)


def _changes(card):
    """Yield `(name, card)` for cards that are JSON of the right types and cannot be true."""

    def changed(part, **values):
        return {**card, part: {**card[part], **values}}

    yield "a network of a stranger's module", changed("network", model="antigravity:fly")
    for file in (
        "../x.npz",
        "/etc/passwd",
        "",
        ".",
        "..",
        "a/b.npz",
        "a\\b.npz",
        "C:x.npz",
        ".hidden",
        "nul.npz",
        "x.npz\0",
        "x" * 300,
        None,
        7,
        ["x.npz"],
    ):
        yield f"file {str(file)[:20]!r}", changed("weights", file=file)
    for sha256 in ("0" * 63, "Z" * 64, None, 64):
        yield f"sha256 {str(sha256)[:6]!r}", changed("weights", sha256=sha256)
    for size in (0, -1, 2**60, 1.5, "1", None, True):
        yield f"bytes {size!r}", changed("weights", bytes=size)
    for epsilon in (0, -0.3, True, None, "0.3"):
        yield f"epsilon {epsilon!r}", {**card, "epsilon": epsilon}
    yield "an epsilon that was not judged", {**card, "epsilon": 0.01}
    for shape in ([], [28, 28], [0, 28, 1], [28, 28, -1], [2**20, 2**20, 3], "28", [28.0, 28, 1]):
        yield f"input_shape {shape}", changed("network", input_shape=shape)
    for classes in (1, 0, -10, 2**40, "10", None):
        yield f"num_classes {classes!r}", changed("network", num_classes=classes)
    for latent in (0, -1, 2**40, "128"):
        yield f"latent_dim {latent!r}", changed("network", latent_dim=latent)
    yield "model that is no name", changed("network", model=["cnn"])
    yield "too few labels", {**card, "label_names": card["label_names"][:-1]}
    yield "labels that are no strings", {**card, "label_names": list(range(10))}
    for part, value in (
        ("clean", 1.5),
        ("clean", -0.1),
        ("robust", 0.9999),
        ("robust", "0.9"),
        ("n", 0),
        ("accuracy", {}),
        ("accuracy", {"pgd": 2}),
        ("accuracy", None),
    ):
        yield f"{part} {value!r}", changed("evaluation", **{part: value})
    yield "robust above an attack", changed("evaluation", accuracy={"pgd20": 0.1})
    yield "the norm of another ball", {**card, "norm": "l2"}
    yield "another data set", {**card, "dataset": "cifar10"}
    yield "another name", {**card, "name": "another"}


def _zoo(folder, number, card, files):
    """Return a zoo of one shipped card, by its relative path, and further files, by theirs."""
    root = folder / f"zoo{number}"
    (root / card).parent.mkdir(parents=True)
    shutil.copy(cards_index.ROOT / card, root / card)
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def _in(root, act):
    kept, cards_index.ROOT = cards_index.ROOT, root
    try:
        return act()
    finally:
        cards_index.ROOT = kept


def cases(folder):
    """Yield damaged cards, read alone, and zoos that hold one."""
    good = "mnist-cnn-shared"
    card = zoo.card(good)
    text = json.dumps(card, indent=1).encode()
    place = f"cards/{card['dataset']}/{card['norm']}"
    own = f"{place}/{good}.json"
    damages = [*damaged_bytes(text), *damaged_json(text, _TYPED)]
    damages += [(name, json.dumps(value).encode()) for name, value in _changes(card)]
    for number, (name, data) in enumerate(damages):
        path = folder / f"alone{number}" / place / f"{good}.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        yield Case(name, lambda path=path: card_reader.read_card(path), str(path), _is_plausible)
    yield Case("absent", lambda: card_reader.read_card(folder / "no.json"), "no.json")
    beside = {
        "an editor's copy": f"{place}/.#{good}.json",
        "an editor's backup": f"{place}/{good}.json~",
        "an editor's swap file": f"{place}/.{good}.json.swp",
        "a system's shadow": f"{place}/._{good}.json",
        "a notebook's copy": f"cards/{card['dataset']}/.ipynb_checkpoints/{good}.json",
        "a temporary file": f"{place}/.{good}.json.0a1b2c3d-1-0a1b2c3d.tmp",
        "a card that is damaged": f"{place}/bad.json",
    }
    for number, (name, path) in enumerate(beside.items()):
        root = _zoo(folder, number, own, {path: b"{"})
        yield Case(
            f"{name}, listed",
            lambda root=root: _in(root, zoo.names),
            path,
            lambda names: names == [good],
        )
        yield Case(
            f"{name}, beside the card that is read",
            lambda root=root: _in(root, lambda: zoo.card(good)),
            path,
            lambda found: found == card,
        )
    root = _zoo(folder, len(beside), own, {f"{place}/bad.json": b"{"})
    yield Case("a damaged card asked for", lambda: _in(root, lambda: zoo.card("bad")), "bad.json")
    twice = _zoo(folder, len(beside) + 1, own, {f"cards/cifar10/linf/{good}.json": text})
    yield Case("a name twice", lambda: _in(twice, lambda: zoo.card(good)), f"{good}.json")
    yield Case("a name twice, listed", lambda: _in(twice, zoo.names), good, lambda names: names == [])


def _is_plausible(card):
    """Tell whether a card is whole in all that decides what is loaded; a bit of prose may be flipped."""
    good = zoo.card("mnist-cnn-shared")
    return all(card[k] == good[k] for k in ("name", "dataset", "norm", "epsilon", "network", "weights"))
