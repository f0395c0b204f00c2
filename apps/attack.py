"""Crafts adversarial examples with one attack and writes them to a file.

python apps/attack.py --network=mnist-cnn-shared --attack=apgd-t --eval_examples=100
python apps/attack.py --network=my.keras --dataset=cifar10 --attack=cw-search
python apps/attack.py --network=my.onnx --dataset=cifar10 --attack=square --norm=l2 --epsilon=0.5
"""

import pathlib
import shlex
import sys

import numpy as np
from absl import flags
from app_support import (
    common_flags,
    ending,
    judged_images,
    memory,
    opening,
    own_code,
    registered,
    results,
    run_dirs,
    start_up,
    unfinished,
    wording,
)

common_flags.define_common_flags()
common_flags.define_judging_flags()
flags.DEFINE_string(
    "attack",
    None,
    f"{', '.join(registered.attacks())}.",
)
FLAGS = flags.FLAGS


def _attack(opened):
    from sharedkeras import evaluation

    name = FLAGS.attack
    if opened.is_file:
        opening.require_black_box([name], FLAGS.network, "--attack=square")
    if name.startswith("cw") and (FLAGS.epsilon is not None or FLAGS["norm"].present):
        raise ValueError(
            f"{name} looks for the nearest success in L2, however far; leave out --norm and --epsilon. "
            f"Received: --norm={FLAGS.norm}, --epsilon={FLAGS.epsilon}"
        )
    settings = {"norm": FLAGS.norm, "epsilon": FLAGS.epsilon, "queries": FLAGS.queries}
    return evaluation.named_attacks([name], dataset=opened.dataset, **settings)[name]


def _craft(out):
    from sharedkeras import evaluation

    opened = opening.open_network(
        FLAGS.network,
        weights=FLAGS.weights,
        dataset=FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        trust=FLAGS.trust,
    )
    attack = _attack(opened)
    seed = FLAGS.seed or 0
    images = judged_images.load_judged_images(
        opened.dataset,
        count=FLAGS.eval_examples,
        method=FLAGS.subset,
        seed=seed,
        data_dir=FLAGS.data_dir,
        download=FLAGS.download,
    )
    print(f"{opened.network.name} on {images.text}: {attack}", flush=True)
    with unfinished.kept_in(opening.resume_dir(FLAGS.resume_from, opened), out) as kept:
        report = evaluation.craft(
            opened.network,
            images.x,
            images.y,
            attack,
            name=FLAGS.attack,
            batch_size=FLAGS.batch_size or 128,
            seed=seed,
            index=images.index,
            resume_from=kept,
            label_names=opened.label_names or images.label_names,
            verbose=True,
            settings={
                **images.settings,
                "weights": FLAGS.weights,
                "norm": attack.norm,
                "epsilon": attack.epsilon,
                "command": shlex.join(["python", *sys.argv]),
                **opened.settings,
            },
        )
    return opened, attack, report


def main(_):
    """Craft, print the table, write adversarial.npz, report.json and report.html."""
    import zoo

    for name in ("network", "attack"):
        if FLAGS[name].value is None:
            raise ValueError(f"Expected: --{name}=<name>; --help lists what is possible.")
    registered.check("attack", FLAGS.attack, registered.attacks())
    zoo.check_source(FLAGS.network)
    start_up.prepare_frameworks()
    own_code.import_modules()
    from sharedkeras import evaluation
    from sharedkeras.files import locked

    stem = pathlib.Path(FLAGS.network).stem
    with run_dirs.results_in(FLAGS.run_dir, f"attack-{stem}-{FLAGS.attack}") as out, locked(out):
        opened, attack, report = _craft(out)
        print(evaluation.text_table(report))
        print(wording.findings_text(report))
        found = report.distance[FLAGS.attack]
        found = found[np.isfinite(found)]
        median = f", median distance {np.median(found):.4g} in {attack.norm}" if len(found) else ""
        print(f"successes   {len(found):,} of {report.n:,}{median}")

        def write(directory):
            evaluation.save_adversarial(report, directory / "adversarial.npz")
            report.to_json(directory / "report.json")
            report.to_html(directory / "report.html", run=opened.run_dir)

        path, written = results.write(out, write)
        print(f"peak memory {memory.peak_memory()}")
        print(f"examples    {path / 'adversarial.npz'}")
        print(f"report      {path / 'report.html'}")
    if not written:
        sys.exit(ending.NOT_WRITTEN)


if __name__ == "__main__":
    ending.run(main)
