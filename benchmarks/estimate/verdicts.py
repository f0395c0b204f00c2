"""Judges a network in full and keeps what an estimate would have seen of every example.

    python -m benchmarks.estimate.verdicts --network=mnist-cnn-shared --dataset=mnist --epsilon=0.3
    python -m benchmarks.estimate.verdicts --network=M2 --dataset=cifar10 --epsilon=0.031372549

`standard` judges a random sample of the whole test set, and APGD-T on three targets and the first steps
towards the others all whom APGD-CE leaves, with the margins and forward passes that
`benchmarks.estimate.coverage` replays. `--cheap=0.01` runs an estimate of this precision first, from
scratch, and so tells what share of the passes and of the seconds it took. What is finished is kept, and
the same command goes on.
"""

import io
import json
import pathlib
import sys
import time

import keras
import numpy as np
from absl import app, flags
from keras import ops

from sharedkeras import data, evaluation
from sharedkeras.data.subset import subset
from sharedkeras.evaluation.judging.judge import judge
from sharedkeras.evaluation.judging.options import Options
from sharedkeras.evaluation.suites.ensemble import SCREEN
from sharedkeras.files import write_atomically
from sharedkeras.models import as_classifier

flags.DEFINE_string(
    "network",
    None,
    "M1, M2 (the golden networks of the tests), M2-large, M2-rounded (M2 with gradients that mislead), "
    "or what zoo.find takes.",
    required=True,
)
flags.DEFINE_string("dataset", None, "Name of the data.", required=True)
flags.DEFINE_string("norm", "linf", "Norm of the ball.")
flags.DEFINE_float("epsilon", None, "Size of the ball.", required=True)
flags.DEFINE_integer("n", 1000, "Images.")
flags.DEFINE_integer("seed", 0, "Seed of the sample and of the attacks.")
flags.DEFINE_integer("batch_size", 256, "Images at once.")
flags.DEFINE_float("cheap", None, "Precision of an estimate that is made first.")
flags.DEFINE_string("kept", None, "Directory of finished work.", required=True)
flags.DEFINE_string("data_dir", None, "Directory of the data.")
flags.DEFINE_string("out", None, "The .npz file to write.", required=True)
FLAGS = flags.FLAGS
STANDARD = ("apgd-t", "fab-t", "square")
"""The attacks of `standard` after APGD-CE."""


def load(name):
    """Return the network of that name."""
    if name not in ("M1", *_VARIANTS):
        import zoo

        return zoo.find(name)
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests"))
    from support import golden

    return golden.M1() if name == "M1" else _VARIANTS[name](golden.M2())


def _large(network):
    """Multiply the logits, until the cross-entropy is flat wherever the network is sure."""
    return keras.Model(network.input, network.output * 1000.0, name="M2-large")


def _rounded(network):
    """Round the images to eight grey levels, through which no gradient passes."""
    images = keras.Input(network.input.shape[1:])
    return keras.Model(images, network(ops.round(images * 7.0) / 7.0), name="M2-rounded")


_VARIANTS = {"M2": lambda network: network, "M2-large": _large, "M2-rounded": _rounded}


def main(_):
    """Judge, write the file, print the figures as JSON."""
    network = load(FLAGS.network)
    images = data.load(FLAGS.dataset, "test", data_dir=FLAGS.data_dir)
    rows = subset(len(images.x), FLAGS.n, method="random", seed=FLAGS.seed)
    network = as_classifier(network)
    printed = {"network": FLAGS.network, "n": len(rows), "seed": FLAGS.seed}
    ball = {"norm": FLAGS.norm, "epsilon": FLAGS.epsilon}
    kept = pathlib.Path(FLAGS.kept)
    if FLAGS.cheap is not None:
        started = time.perf_counter()
        cheap = evaluation.autoattack(
            network,
            images.x[rows],
            images.y[rows],
            version="estimate",
            precision=FLAGS.cheap,
            batch_size=FLAGS.batch_size,
            seed=FLAGS.seed,
            index=rows,
            resume_from=kept / "estimate",
            verbose=True,
            **ball,
        )
        printed |= {
            "estimate": cheap.estimate.sentence,
            "cost": cheap.estimate.cost,
            "seconds": _seconds(cheap, started),
            "interval": [cheap.estimate.low, cheap.estimate.high],
            "broken_in_audit": cheap.estimate.broken_in_audit,
        }
    started = time.perf_counter()
    report = _judged(network, images, rows, evaluation.ensemble("standard", **ball), kept / "standard")
    printed |= {
        "clean": report.clean,
        "standard": report.robust,
        "seconds_of_standard": _seconds(report, started),
        "broken": report.broken,
    }
    attacks = evaluation.ensemble("estimate", **ball)
    # The first attack is known from `standard`, the next two are each run on all whom it leaves.
    screened, glanced = (
        _judged(
            network, images, rows, {name: attacks[name] for name in (SCREEN[0], then)}, kept / "standard"
        )
        for then in SCREEN[1:3]
    )
    early = screened.flags[SCREEN[1]] & glanced.flags[SCREEN[2]]
    # Fallen to a part of an attack and yet robust in the end: rounding, or an error.
    printed["contradicted"] = int(np.sum(~early & report.flags[STANDARD[-1]]))
    settings = {name: report.settings[name] for name in ("norm", "epsilon", "weights_sha256")}
    about = {**printed, **settings, "dataset": FLAGS.dataset, "versions": report.versions}
    # Who falls to three targets falls to nine, and from there on stands for no attack.
    flags_ = [*screened.flags.values(), early, *(report.flags[name] for name in STANDARD)]
    stack = np.logical_and.accumulate(np.stack(flags_, axis=1), axis=1)
    targeted, *last = (report.passes[name] for name in STANDARD)
    first, second = (screened.passes[name] for name in SCREEN[:2])
    glance = SCREEN[2]
    # After all targets an example's margin is the least that either part of them has left.
    margins = [screened.margins[name] for name in SCREEN[:2]]
    margins += [glanced.margins[glance], report.margins[STANDARD[0]]]
    passes = [first, second, glanced.passes[glance], targeted - second, *last]
    path = pathlib.Path(FLAGS.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(
        path,
        _packed(
            broken_at=np.sum(stack, axis=1).astype("uint8"),
            margin=np.stack(margins, axis=1),
            passes=np.stack(passes, axis=1),
            index=report.indices,
            about=np.array(json.dumps(about)),
        ),
    )
    print(json.dumps(about, indent=1))


def _judged(network, images, rows, attacks, kept):
    """Run a cascade and keep every example's margins and passes."""
    options = Options(
        cascade=True,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        index=rows,
        settings={"norm": FLAGS.norm, "epsilon": FLAGS.epsilon},
        keep_margins=True,
        checks=False,
        resume_from=kept,
        verbose=True,
    )
    return judge(network, images.x[rows], images.y[rows], attacks, options)


def _seconds(report, started):
    """Return what a judgement took; what was kept took its time in an earlier process."""
    return max(time.perf_counter() - started, sum(report.seconds.values()))


def _packed(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


if __name__ == "__main__":
    app.run(main)
