"""Compares AutoAttack's verdicts with the official tool's, between backends and between settings.

    python benchmarks/agreement.py run --reference=DIR --out=OUT --network=M2 --attacks=apgd-ce,apgd-t \
        --seeds=0,1,2
    python benchmarks/agreement.py plan --reference=DIR --out=OUT --backend=jax
    python benchmarks/agreement.py compare --reference=DIR --out=OUT

`run` judges one network of the reference data in one setting and writes a file for each attack and seed;
what is there already is left out, so that it can be stopped and started again. `plan` prints the shell
commands of all runs that are worth making, the most telling first, each with the seconds that it takes
on one core. `compare` reads the results, prints tables with verdicts and writes them to
OUT/agreement.json.

The backend is `--backend` or else `KERAS_BACKEND`. Attacks: apgd-ce, apgd-dlr, apgd-t, fab-t,
square-q<queries>, and standard, the whole cascade.
"""

import argparse
import os
import pathlib
import sys

import agreement_compare
import agreement_plan
import agreement_run
from agreement_jobs import SIZES, Job

_BACKENDS = ("tensorflow", "jax", "torch")


def _names(text):
    return tuple(part for part in text.split(",") if part)


def _numbers(text):
    return tuple(int(part) for part in _names(text))


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--reference", required=True, help="directory of the reference data")
    shared.add_argument("--out", required=True, help="directory of the results")
    of_backend = argparse.ArgumentParser(add_help=False)
    of_backend.add_argument(
        "--backend", choices=_BACKENDS, default=os.environ.get("KERAS_BACKEND", "tensorflow")
    )
    run = commands.add_parser("run", parents=[shared, of_backend], help="judge a network in one setting")
    run.add_argument("--network", choices=tuple(SIZES), required=True)
    run.add_argument("--norm", choices=("linf", "l2"), default="linf")
    run.add_argument("--attacks", type=_names, required=True, help="names, separated by commas")
    run.add_argument("--seeds", type=_numbers, default=(0,))
    run.add_argument("--batch_size", type=int, default=250)
    run.add_argument("--order", choices=("natural", "shuffled"), default="natural")
    run.add_argument("--shards", type=int, default=1, help="slices judged one by one and merged")
    run.add_argument("--points", type=int, default=0, help="the first so many images; 0: all")
    run.add_argument("--only", type=_numbers, default=(), help="numbers of the images, in their place")
    run.add_argument("--floatx", choices=("float32", "float64"), default="float32")
    run.add_argument("--devices", type=int, default=1, help="virtual devices to make of the CPU")
    plan = commands.add_parser("plan", parents=[shared, of_backend], help="print the commands to run")
    plan.add_argument("--python", default="python", help="how the commands call Python")
    plan.add_argument("--devices", type=int, default=1, help="add runs on so many virtual devices")
    compare = commands.add_parser("compare", parents=[shared], help="print tables and verdicts")
    compare.add_argument("--batch_size", type=int, default=250, help="of the runs that count as usual")
    compare.add_argument("--page", help="also write the tables as Markdown to this file")
    return parser


def _jobs(options):
    settings = ("backend", "network", "norm", "batch_size", "order", "shards", "floatx", "devices")
    common = {name: getattr(options, name) for name in settings}
    points = 0 if options.points >= SIZES[options.network] else options.points
    return [
        Job(attack=attack, seed=seed, points=points, only=options.only, **common)
        for attack in options.attacks
        for seed in options.seeds
    ]


def main():
    """Run the command that was asked for."""
    options = _parser().parse_args()
    if options.command == "run":
        agreement_run.run(_jobs(options), reference=options.reference, out=options.out)
    elif options.command == "plan":
        script = pathlib.Path(sys.argv[0]).as_posix()
        for line in agreement_plan.lines(options, script):
            print(line)
    else:
        agreement_compare.compare(options.reference, options.out, options.batch_size, options.page)


if __name__ == "__main__":
    main()
