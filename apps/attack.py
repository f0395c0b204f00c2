"""Crafts adversarial examples with one attack and writes them to a file.

python apps/attack.py --network=mnist-cnn-shared --attack=apgd-t --eval_examples=100
python apps/attack.py --network=my.keras --dataset=cifar10 --attack=cw-search
python apps/attack.py --network=my.onnx --dataset=cifar10 --attack=square --norm=l2 --epsilon=0.5
"""

import pathlib
import shlex
import sys

import app_support
import numpy as np
from absl import app, flags

app_support.define_common_flags()
app_support.define_judging_flags()
flags.DEFINE_string(
    "attack",
    None,
    "fgsm, pgd<steps>, cw, cw-search, apgd-ce, apgd-dlr, apgd-t, fab, fab-t, square.",
)
FLAGS = flags.FLAGS


def _attack(opened):
    from sharedkeras.evaluation.suites.named import named_attacks

    name = FLAGS.attack
    if opened.is_file:
        app_support.require_black_box([name], FLAGS.network, "--attack=square")
    if name.startswith("cw") and (FLAGS.epsilon is not None or FLAGS["norm"].present):
        raise ValueError(
            f"{name} looks for the nearest success in L2, however far; leave out --norm and --epsilon. "
            f"Received: --norm={FLAGS.norm}, --epsilon={FLAGS.epsilon}"
        )
    settings = {"norm": FLAGS.norm, "epsilon": FLAGS.epsilon, "queries": FLAGS.queries}
    return named_attacks([name], dataset=opened.dataset, **settings)[name]


def _craft():
    from sharedkeras import data
    from sharedkeras.evaluation.craft import craft

    for name in ("network", "attack"):
        if getattr(FLAGS, name) is None:
            raise ValueError(f"Expected: --{name}=<name>; --help lists what is possible.")
    opened = app_support.open_network(FLAGS.network, weights=FLAGS.weights, dataset=FLAGS.dataset)
    attack = _attack(opened)
    test = data.load(opened.dataset, "test", data_dir=FLAGS.data_dir, download=FLAGS.download)
    n = min(FLAGS.eval_examples or len(test.x), len(test.x))
    print(f"{opened.network.name} on {n:,} test images of {opened.dataset}: {attack}", flush=True)
    report = craft(
        opened.network,
        test.x[:n],
        test.y[:n],
        attack,
        name=FLAGS.attack,
        batch_size=FLAGS.batch_size or 128,
        seed=FLAGS.seed or 0,
        label_names=opened.label_names or test.label_names,
        verbose=True,
        settings={
            "dataset": opened.dataset,
            "split": "test",
            "split_size": len(test.x),
            "weights": FLAGS.weights,
            "norm": attack.norm,
            "epsilon": attack.epsilon,
            "command": shlex.join(["python", *sys.argv]),
            **opened.settings,
        },
    )
    return opened, attack, report


def main(_):
    """Crafts, prints the table, writes adversarial.npz, report.json and report.html."""
    app_support.import_quietly()
    from sharedkeras.evaluation.report.save_adversarial import save_adversarial
    from sharedkeras.evaluation.report.text import text_table

    try:
        opened, attack, report = _craft()
    except (ImportError, OSError, TypeError, ValueError) as error:
        app_support.fail(error)
    stem = pathlib.Path(FLAGS.network).stem
    out = pathlib.Path(FLAGS.run_dir or app_support.new_run_dir(f"attack-{stem}-{FLAGS.attack}"))
    save_adversarial(report, out / "adversarial.npz")
    report.to_json(out / "report.json")
    report.to_html(out / "report.html", run=opened.run_dir)
    found = report.distance[FLAGS.attack]
    found = found[np.isfinite(found)]
    print(text_table(report))
    print(app_support.findings_text(report))
    median = f", median distance {np.median(found):.4g} in {attack.norm}" if len(found) else ""
    print(f"successes   {len(found):,} of {report.n:,}{median}")
    print(f"peak memory {app_support.peak_memory_gb():.2f} GB")
    print(f"examples    {out / 'adversarial.npz'}")
    print(f"report      {out / 'report.html'}")


if __name__ == "__main__":
    app.run(main)
