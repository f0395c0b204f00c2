"""Judges a network under attack and writes a report.

python apps/evaluate.py --network=runs/quickstart --attacks=natural,fgsm,pgd20,pgd40,cw
python apps/evaluate.py --network=mnist-cnn-shared --attacks=autoattack --eval_examples=1000 --sanity
python apps/evaluate.py --network=my.keras --dataset=cifar10 --attacks=autoattack --shard=3/16
python apps/evaluate.py --network=my.onnx --dataset=cifar10 --attacks=autoattack --queries=1000
python apps/evaluate.py --network=my.onnx --dataset=cifar10 --surrogate=my.keras --attacks=pgd20
python apps/evaluate.py --merge=runs/a/report.json,runs/b/report.json --run_dir=runs/merged
"""

import pathlib
import shlex
import sys

import app_support
from absl import app, flags

app_support.define_common_flags()
app_support.define_judging_flags()
flags.DEFINE_list(
    "attacks",
    None,
    "Of natural, fgsm, pgd<steps>, cw, cw-search, apgd-ce, apgd-dlr, apgd-t, fab, fab-t, square; or "
    "autoattack alone. Default: natural,fgsm,pgd20,pgd40,cw; for an .onnx file or a SavedModel: "
    "autoattack, whose black-box part then runs.",
)
flags.DEFINE_string("version", "standard", "Version of AutoAttack: standard, plus, rand, paper, quick.")
flags.DEFINE_string(
    "surrogate", None, "Run directory, .keras file or name of the zoo, on which to craft the attacks."
)
flags.DEFINE_bool("sanity", False, "Check on 64 images whether the network's gradients lead attacks.")
flags.DEFINE_integer(
    "ray_shards", None, "Judge as so many slices on Ray; needs the extra `ray`.", lower_bound=1
)
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


def _names(is_file):
    """Return the attacks asked for, and whether they are those of AutoAttack."""
    default = ["fgsm", "pgd20", "pgd40", "cw"]
    if is_file and FLAGS.surrogate is None:
        default = ["autoattack"]
    names = default if FLAGS.attacks is None else [name for name in FLAGS.attacks if name != "natural"]
    if "autoattack" in names and (len(names) > 1 or FLAGS.surrogate is not None):
        raise ValueError(
            f"autoattack stands alone, without --surrogate. Received: --attacks={','.join(names)}"
        )
    return names, names == ["autoattack"]


def _judge(opened):
    from sharedkeras import data, evaluation
    from sharedkeras.evaluation.black_box import black_box
    from sharedkeras.evaluation.checks.upper_bound import bounded_above
    from sharedkeras.evaluation.sanity import with_sanity
    from sharedkeras.evaluation.suites.named import named_attacks
    from sharedkeras.evaluation.suites.paper import default_epsilon

    network, dataset = opened.network, opened.dataset
    names, is_autoattack = _names(opened.is_file)
    ball = {"norm": FLAGS.norm}
    ball["epsilon"] = default_epsilon(dataset, FLAGS.norm) if FLAGS.epsilon is None else FLAGS.epsilon
    _check_flags(opened, names, is_autoattack)
    attacks = {}
    if not is_autoattack:
        attacks = named_attacks(names, dataset=dataset, queries=FLAGS.queries, **ball)
    surrogate = app_support.open_surrogate(FLAGS.surrogate, opened) if FLAGS.surrogate else None
    test = data.load(dataset, "test", data_dir=FLAGS.data_dir, download=FLAGS.download)
    n = min(FLAGS.eval_examples or len(test.x), len(test.x))
    x, y = test.x[:n], test.y[:n]
    arguments = {
        "batch_size": FLAGS.batch_size or 128,
        "seed": FLAGS.seed or 0,
        "label_names": opened.label_names or test.label_names,
        "resume_from": app_support.resume_dir(FLAGS.resume_from, opened),
        "verbose": True,
        "settings": {
            "dataset": dataset,
            "split": "test",
            "split_size": len(test.x),
            "weights": FLAGS.weights,
            **ball,
            "command": shlex.join(["python", *sys.argv]),
            **opened.settings,
        },
    }
    print(f"{network.name} on {n:,} test images of {dataset}", flush=True)
    if surrogate is not None:
        report = evaluation.transfer(network, surrogate, x, y, attacks, **arguments)
        report = bounded_above(
            report, "All images were crafted on another network; attacks on this one may leave less."
        )
    elif names == ["square"] or (is_autoattack and opened.is_file):
        report = black_box(network, x, y, queries=FLAGS.queries, shard=_shard(), **ball, **arguments)
    elif is_autoattack and FLAGS.ray_shards:
        report = evaluation.autoattack_on_ray(
            network, x, y, shards=FLAGS.ray_shards, version=FLAGS.version, **ball, **arguments
        )
    elif is_autoattack:
        report = evaluation.autoattack(
            network, x, y, version=FLAGS.version, shard=_shard(), **ball, **arguments
        )
    else:
        report = evaluation.evaluate(network, x, y, attacks, **arguments)
    if FLAGS.sanity:
        print("Checking the gradients ...", flush=True)
        report = with_sanity(report, network, x, y, **ball)
    return report


def _check_flags(opened, names, is_autoattack):
    if opened.is_file and not is_autoattack and not FLAGS.surrogate:
        possible = (
            "--attacks=autoattack (its black-box part, Square), --attacks=square, --surrogate=<net>"
        )
        app_support.require_black_box(names, FLAGS.network, possible)
    if opened.is_file and FLAGS["version"].present:
        raise ValueError("`--version` is of no use for a file: of AutoAttack its black-box part runs.")
    if opened.is_file and FLAGS.sanity:
        raise ValueError("`--sanity` needs gradients, and a file gives outputs only.")
    if is_autoattack and not opened.is_file and FLAGS["queries"].present:
        raise ValueError("`--queries` goes with --attacks=square; a version of AutoAttack has its own.")
    if FLAGS.shard is not None and (FLAGS.surrogate or FLAGS.sanity):
        raise ValueError("`--shard` goes neither with --surrogate nor with --sanity.")
    if FLAGS.shard is not None and not is_autoattack and names != ["square"]:
        raise ValueError("`--shard` goes with --attacks=autoattack and --attacks=square.")
    if FLAGS.ray_shards and (FLAGS.shard is not None or not is_autoattack or opened.is_file):
        raise ValueError(
            "`--ray_shards` goes with --attacks=autoattack on a Keras network, and without --shard."
        )
    _shard()


def main(_):
    """Judges, prints the table, writes report.json and report.html."""
    app_support.import_quietly()
    from sharedkeras import evaluation
    from sharedkeras.evaluation.report.keeping import report_name
    from sharedkeras.evaluation.report.text import text_table

    run = None
    try:
        if FLAGS.merge:
            report = evaluation.merge([evaluation.Report.from_json(path) for path in FLAGS.merge])
        elif FLAGS.network is None:
            raise ValueError(
                "Expected: --network=<run directory | .keras file | name of the zoo | .onnx file | "
                "SavedModel>"
            )
        else:
            opened = app_support.open_network(
                FLAGS.network, weights=FLAGS.weights, dataset=FLAGS.dataset
            )
            run = opened.run_dir
            report = _judge(opened)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        app_support.fail(error)
    default = run or app_support.new_run_dir(f"evaluate-{pathlib.Path(FLAGS.network or 'merged').stem}")
    out = pathlib.Path(FLAGS.run_dir or default)
    out.mkdir(parents=True, exist_ok=True)
    name = report_name(out, report)
    report.to_json(out / f"{name}.json")
    report.to_html(out / f"{name}.html", run=run)
    print(text_table(report))
    print(app_support.findings_text(report))
    print(f"peak memory {app_support.peak_memory_gb():.2f} GB")
    print(f"report      {out / name}.html")


if __name__ == "__main__":
    app.run(main)
