"""Compares AutoAttack's verdicts with the official tool's, between backends and between settings.

    python -m benchmarks.agreement run --reference=R --out=O --network=M2 --attacks=apgd-ce --seeds=0,1
    python -m benchmarks.agreement plan --reference=R --out=O --backend=jax
    python -m benchmarks.agreement compare --reference=R --out=O

`run` judges one network of the reference data in one setting and writes a file for each attack and seed;
what is there already is left out, so that it can be stopped and started again. `plan` prints the shell
commands of all runs that are worth making, the most telling first, each with the seconds that it takes
on one core. `compare` reads the results, prints tables with verdicts and writes them to
O/agreement.json.

The backend is `--backend` or else `KERAS_BACKEND`. Attacks: apgd-ce, apgd-dlr, apgd-t, fab-t,
square-q<queries>, and standard, the whole cascade.
"""

import os

from absl import app, flags

from benchmarks.agreement import bench, compare, plan
from benchmarks.agreement.jobs import SIZES, Job

_COMMANDS = ("run", "plan", "compare")

flags.DEFINE_string("reference", None, "Directory of the reference data.", required=True)
flags.DEFINE_string("out", None, "Directory of the results.", required=True)
flags.DEFINE_enum(
    "backend",
    os.environ.get("KERAS_BACKEND", "tensorflow"),
    ["tensorflow", "jax", "torch"],
    "run, plan: Keras's backend.",
)
flags.DEFINE_integer("batch_size", 250, "run; compare: that of the runs that count as usual.")
flags.DEFINE_integer("devices", 1, "run: virtual devices to make of the CPU; plan: add runs on so many.")
flags.DEFINE_enum("network", None, list(SIZES), "run: network of the reference data.")
flags.DEFINE_enum("norm", "linf", ["linf", "l2"], "run: norm of the ball.")
flags.DEFINE_list("attacks", None, "run: names of attacks.")
flags.DEFINE_list("seeds", ["0"], "run: seeds.")
flags.DEFINE_enum("order", "natural", ["natural", "shuffled"], "run: order of the images.")
flags.DEFINE_integer("shards", 1, "run: slices judged one by one and merged.")
flags.DEFINE_integer("points", 0, "run: the first so many images; 0: all.")
flags.DEFINE_list("only", [], "run: numbers of the images, in place of --points.")
flags.DEFINE_enum("floatx", "float32", ["float32", "float64"], "run: Keras's floatx.")
flags.DEFINE_string("python", "python", "plan: how the commands call Python.")
flags.DEFINE_string("page", None, "compare: also write the tables as Markdown to this file.")
FLAGS = flags.FLAGS


def _jobs():
    settings = ("backend", "network", "norm", "batch_size", "order", "shards", "floatx", "devices")
    common = {name: getattr(FLAGS, name) for name in settings}
    points = 0 if FLAGS.points >= SIZES[FLAGS.network] else FLAGS.points
    only = tuple(map(int, FLAGS.only))
    return [
        Job(attack=attack, seed=seed, points=points, only=only, **common)
        for attack in FLAGS.attacks
        for seed in map(int, FLAGS.seeds)
    ]


def main(argv):
    """Run the command that was asked for."""
    if len(argv) != 2 or argv[1] not in _COMMANDS:
        raise app.UsageError(f"Expected one of the commands {_COMMANDS}. Received: {argv[1:]}")
    if argv[1] == "run":
        if FLAGS.network is None or not FLAGS.attacks:
            raise app.UsageError("`run` needs --network and --attacks.")
        bench.run(_jobs(), reference=FLAGS.reference, out=FLAGS.out)
    elif argv[1] == "plan":
        for line in plan.lines(FLAGS, "-m benchmarks.agreement"):
            print(line)
    else:
        compare.compare(FLAGS.reference, FLAGS.out, FLAGS.batch_size, FLAGS.page)


if __name__ == "__main__":
    app.run(main)
