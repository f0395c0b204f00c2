"""Judges a network under attack and writes a report.

python apps/evaluate.py --network=runs/quickstart --attacks=natural,fgsm,pgd20,pgd40,cw
python apps/evaluate.py --network=mnist-cnn-shared --attacks=autoattack --eval_examples=1000
python apps/evaluate.py --network=my.keras --dataset=cifar10 --attacks=autoattack --shard=3/16
python apps/evaluate.py --merge=runs/a/report.json,runs/b/report.json --run_dir=runs/merged
"""

import json
import pathlib
import shlex
import sys

import app_support
from absl import app, flags

app_support.define_common_flags()
flags.DEFINE_string("network", None, "Run directory, .keras file, or name of the zoo.")
flags.DEFINE_string("dataset", None, "Dataset; default: the one of the run or the zoo's card.")
flags.DEFINE_list(
    "attacks",
    ["natural", "fgsm", "pgd20", "pgd40", "cw"],
    "Attacks by name: natural, fgsm, pgd<steps>, cw, cw-search; or autoattack alone.",
)
flags.DEFINE_string("version", "standard", "Version of AutoAttack: standard, plus, rand, paper, quick.")
flags.DEFINE_string("norm", "linf", "Norm of AutoAttack: linf, l2.")
flags.DEFINE_float("epsilon", None, "Size of the ball; default: the paper's for the dataset.")
flags.DEFINE_integer("eval_examples", None, "Test images attacked; default: all.", lower_bound=1)
flags.DEFINE_enum("weights", "best", ["best", "last"], "Which weights of a run.")
flags.DEFINE_string("shard", None, "i/m: judge slice i of m, counted from 0.")
flags.DEFINE_list("merge", None, "report.json files of the slices to join into one report.")
flags.DEFINE_string("resume_from", None, "Directory that keeps finished batches of the evaluation.")
FLAGS = flags.FLAGS


def _shard():
    if FLAGS.shard is None:
        return None
    parts = FLAGS.shard.split("/")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise ValueError(f"`--shard` must be i/m, such as 3/16. Received: --shard={FLAGS.shard}")
    return int(parts[0]), int(parts[1])


def _source(network):
    """Returns the dataset and the run directory of a network, where it tells."""
    import zoo

    path = pathlib.Path(network)
    if (path / "config.json").exists():
        return json.loads((path / "config.json").read_text())["dataset"], path
    if not path.exists() and network in zoo.names():
        return zoo.card(network)["dataset"], None
    return None, None


def _judge(run):
    import zoo
    from sharedkeras import data, evaluation

    dataset = FLAGS.dataset or run[0]
    if dataset is None:
        raise ValueError("A file does not tell its dataset. Expected: --dataset=<name>")
    data.info(dataset)
    network = zoo.find(FLAGS.network, weights=FLAGS.weights)
    test = data.load(dataset, "test", data_dir=FLAGS.data_dir, download=FLAGS.download)
    n = min(FLAGS.eval_examples or len(test.x), len(test.x))
    arguments = {
        "batch_size": FLAGS.batch_size or 128,
        "seed": FLAGS.seed or 0,
        "label_names": test.label_names,
        "resume_from": FLAGS.resume_from,
        "verbose": True,
    }
    epsilon = evaluation.paper_epsilon(dataset) if FLAGS.epsilon is None else FLAGS.epsilon
    settings = {
        "dataset": dataset,
        "split": "test",
        "split_size": len(test.x),
        "weights": FLAGS.weights,
        "norm": FLAGS.norm,
        "epsilon": epsilon,
        "command": shlex.join(["python", *sys.argv]),
    }
    print(f"{network.name} on {n:,} test images of {dataset}", flush=True)
    if FLAGS.attacks == ["autoattack"]:
        return evaluation.autoattack(
            network,
            test.x[:n],
            test.y[:n],
            norm=FLAGS.norm,
            epsilon=epsilon,
            version=FLAGS.version,
            shard=_shard(),
            settings=settings,
            **arguments,
        )
    if FLAGS.shard is not None:
        raise ValueError("`--shard` goes with --attacks=autoattack.")
    names = [name for name in FLAGS.attacks if name != "natural"]
    attacks = evaluation.paper_attacks(dataset, names, epsilon=epsilon)
    return evaluation.evaluate(network, test.x[:n], test.y[:n], attacks, settings=settings, **arguments)


def main(_):
    """Judges, prints the table, writes report.json and report.html."""
    app_support.import_quietly()
    from sharedkeras import evaluation
    from sharedkeras.evaluation.report_text import text_table

    try:
        if FLAGS.merge:
            run = (None, None)
            report = evaluation.merge([evaluation.Report.from_json(path) for path in FLAGS.merge])
        elif FLAGS.network is None:
            raise ValueError("Expected: --network=<run directory | .keras file | name of the zoo>")
        else:
            run = _source(FLAGS.network)
            report = _judge(run)
    except (ValueError, FileNotFoundError, TypeError) as error:
        app_support.fail(error)
    default = run[1] or app_support.new_run_dir(
        f"evaluate-{pathlib.Path(FLAGS.network or 'merged').stem}"
    )
    out = pathlib.Path(FLAGS.run_dir or default)
    out.mkdir(parents=True, exist_ok=True)
    report.to_json(out / "report.json")
    report.to_html(out / "report.html", run=run[1])
    print(text_table(report))
    print(f"peak memory {app_support.peak_memory_gb():.2f} GB")
    print(f"report      {out / 'report.html'}")


if __name__ == "__main__":
    app.run(main)
