"""Attacks the ONNX file of each network of the zoo and compares it with the network.

    python -m benchmarks.zoo.exports --n=1000 --out=benchmarks/results/zoo_exports.md
    python -m benchmarks.zoo.exports --n=200 --names=cifar10-resnet18-nfgsm --out=...  # a line anew

The network is exported and the file read back as a network of its own, which is attacked by its own
gradients; onnxruntime, which is what a deployment runs, says of every image that is left whether the
file recognises it. The same images, drawn at random, and the same draws for both. An attack goes on with
those that the ones before it have not broken. With `--names` the other lines of the file stay, so that
a large network can be judged on fewer images; each line says on how many.
"""

import pathlib
import tempfile

import numpy as np
import onnxruntime
from absl import app, flags
from keras import ops

import export
import zoo
from sharedkeras import backend, data, evaluation
from sharedkeras.data.subset import subset
from sharedkeras.files import write_atomically

_NAMES = flags.DEFINE_list("names", [], "Entries of the zoo; default: all.")
_N = flags.DEFINE_integer("n", 1000, "Test images.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the images and the attacks.")
_ATTACKS = flags.DEFINE_list("attacks", ["apgd-ce", "apgd-t"], "Attacks, by name.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Images at once.", lower_bound=1)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Directory of the data.")
_OUT = flags.DEFINE_string("out", None, "Markdown file to write; printed in any case.")
_HEAD = (
    "network",
    "images",
    "epsilon",
    "natural %",
    "natural, file %",
    "robust %",
    "robust, file %",
    "verdicts that differ",
    "largest difference of logits",
)


def judge(network, x, y, rows, card):
    """Return the report of the attacks, in the ball of the card."""
    ball = {"norm": card["norm"], "epsilon": card["epsilon"]}
    return evaluation.autoattack(
        network,
        x,
        y,
        **ball,
        version="custom",
        attacks=evaluation.named_attacks(_ATTACKS.value, dataset=card["dataset"], **ball),
        batch_size=_BATCH_SIZE.value,
        seed=_SEED.value,
        index=rows,
    )


def recognised(session, x, y):
    """Tell which images onnxruntime recognises, and return its logits."""
    size = _BATCH_SIZE.value
    logits = np.concatenate([session(x[at : at + size]) for at in range(0, len(x), size)])
    return logits.argmax(axis=1) == y, logits


def row(name, directory):
    """Return the cells of a network's line."""
    card = zoo.card(name)
    images = data.load(card["dataset"], "test", data_dir=_DATA_DIR.value)
    rows = subset(len(images.x), min(_N.value, len(images.x)), method="random", seed=_SEED.value)
    x, y = images.x[rows], images.y[rows]
    network = zoo.load(name)
    path = pathlib.Path(directory) / f"{name}.onnx"
    export.onnx(network, path, x=x[:64])
    session = export.load_onnx(path)
    own = judge(network, x, y, rows, card)
    of_file = judge(export.from_onnx(path), x, y, rows, card)
    clean, logits = recognised(session, x, y)
    withstands, _ = recognised(session, of_file.adversarial, y)
    robust = clean & withstands
    size = _BATCH_SIZE.value
    theirs = [ops.convert_to_numpy(network(x[at : at + size])) for at in range(0, len(x), size)]
    return (
        name,
        str(len(x)),
        f"{card['epsilon']:g}",
        f"{100 * own.clean:.1f}",
        f"{100 * np.mean(clean):.1f}",
        f"{100 * own.robust:.1f}",
        f"{100 * np.mean(robust):.1f}",
        str(int(np.sum(robust != own.robust_flags))),
        f"{np.abs(np.concatenate(theirs) - logits).max():.1e}",
    )


def kept(path, told):
    """Return the lines of an earlier table by network, where it tells of the same attacks."""
    if path is None or not path.exists():
        return {}
    text = path.read_text()
    if told not in text:
        raise app.UsageError(
            f"{path} must be a table of the same attacks, seed and versions, of which lines can stay: "
            f"{told!r}. Remove it, or name another file in --out"
        )
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines}


def main(_):
    """Print a line for each network, and write the table that is asked for after each."""
    head = [f"| {' | '.join(_HEAD)} |", f"|{' --- |' * len(_HEAD)}"]
    told = (
        f"{', '.join(_ATTACKS.value)}; test images drawn at random, seed {_SEED.value}; "
        f"{backend.version()}, onnxruntime {onnxruntime.__version__}."
    )
    out = pathlib.Path(_OUT.value) if _OUT.value else None
    lines = kept(out, told) if _NAMES.value else {}
    print("\n".join(head), flush=True)
    with tempfile.TemporaryDirectory() as directory:
        for name in _NAMES.value or zoo.names():
            lines[name] = f"| {' | '.join(row(name, directory))} |"
            print(lines[name], flush=True)
            if out:
                table = [lines[each] for each in zoo.names() if each in lines]
                write_atomically(out, "\n".join([*head, *table, "", told]) + "\n")


if __name__ == "__main__":
    app.run(main)
