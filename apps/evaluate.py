"""Judges a network under attack and writes a report.

python apps/evaluate.py --network=runs/quickstart --attacks=natural,fgsm,pgd20,pgd40,cw
python apps/evaluate.py --network=mnist-cnn-shared --attacks=autoattack --eval_examples=1000 --sanity
python apps/evaluate.py --network=my.keras --dataset=cifar10 --attacks=autoattack --shard=3/16
python apps/evaluate.py --network=my.keras --dataset=cifar10 --attacks=autoattack --version=estimate
python apps/evaluate.py --network=my.onnx --dataset=cifar10 --attacks=autoattack --queries=1000
python apps/evaluate.py --network=my.onnx --dataset=cifar10 --surrogate=my.keras --attacks=pgd20
python apps/evaluate.py --merge=runs/a/report.json,runs/b/report.json --run_dir=runs/merged
"""

import pathlib
import shlex
import sys

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
flags.DEFINE_list(
    "attacks",
    None,
    f"Of natural, {', '.join(registered.attacks())}; or autoattack alone. Default: "
    "natural,fgsm,pgd20,pgd40,cw; for an .onnx file or a SavedModel: "
    "autoattack, whose black-box part then runs.",
)
flags.DEFINE_enum("version", "standard", registered.versions(), "Version of AutoAttack.")
flags.DEFINE_string(
    "surrogate", None, "Run directory, .keras file or name of the zoo, on which to craft the attacks."
)
flags.DEFINE_enum(
    "round_weights",
    "float32",
    ["float32", "float16"],
    "Round the weights first: a card that stores them as float16 needs the figures of rounded ones.",
)
flags.DEFINE_bool("sanity", False, "Check on 64 images whether the network's gradients lead attacks.")
flags.DEFINE_integer(
    "ray_shards", None, "Judge as so many slices on Ray; needs the extra `ray`.", lower_bound=1
)
flags.DEFINE_float(
    "precision", None, "Of --version=estimate, the interval's largest width, a fraction in (0, 1]; 0.01."
)
flags.DEFINE_float(
    "confidence", None, "Of --version=estimate, the probability that the interval holds; 0.95."
)
flags.DEFINE_string(
    "plan", None, "Of a slice of an estimate, the merged report.json of the round before."
)
flags.DEFINE_string("shard", None, "i/m: judge slice i of m, counted from 0.")
flags.DEFINE_list("merge", None, "report.json files of the slices to join into one report.")
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


def _judge(opened, kept):
    from sharedkeras import evaluation, models

    network, dataset = opened.network, opened.dataset
    names, is_autoattack = _names(opened.is_file)
    ball = {"norm": FLAGS.norm}
    ball["epsilon"] = (
        evaluation.default_epsilon(dataset, FLAGS.norm) if FLAGS.epsilon is None else FLAGS.epsilon
    )
    _check_flags(opened, names, is_autoattack)
    if not opened.is_file:
        models.round_weights(network, FLAGS.round_weights)
    attacks = {}
    if not is_autoattack:
        attacks = evaluation.named_attacks(names, dataset=dataset, queries=FLAGS.queries, **ball)
    surrogate = (
        opening.open_surrogate(FLAGS.surrogate, opened, data_dir=FLAGS.data_dir, trust=FLAGS.trust)
        if FLAGS.surrogate
        else None
    )
    seed = FLAGS.seed or 0
    images = judged_images.load_judged_images(
        dataset,
        count=FLAGS.eval_examples,
        method=FLAGS.subset,
        seed=seed,
        data_dir=FLAGS.data_dir,
        download=FLAGS.download,
    )
    x, y = images.x, images.y
    arguments = {
        "batch_size": FLAGS.batch_size or 128,
        "seed": seed,
        "index": images.index,
        "label_names": opened.label_names or images.label_names,
        "resume_from": kept,
        "verbose": True,
        "settings": {
            **images.settings,
            "weights": FLAGS.weights,
            "weights_dtype": FLAGS.round_weights,
            **ball,
            "command": shlex.join(["python", *sys.argv]),
            **opened.settings,
        },
    }
    print(f"{network.name} on {images.text}", flush=True)
    if surrogate is not None:
        report = evaluation.transfer(network, surrogate, x, y, attacks, **arguments)
        report = evaluation.bounded_above(
            report, "All images were crafted on another network; attacks on this one may leave less."
        )
    elif names == ["square"] or (is_autoattack and opened.is_file):
        report = evaluation.black_box(
            network, x, y, queries=FLAGS.queries, shard=_shard(), **ball, **arguments
        )
    elif is_autoattack and FLAGS.ray_shards:
        report = evaluation.autoattack_on_ray(
            network, x, y, shards=FLAGS.ray_shards, **_version(), **ball, **arguments
        )
    elif is_autoattack:
        plan = None if FLAGS.plan is None else evaluation.Report.from_json(FLAGS.plan)
        report = evaluation.autoattack(
            network, x, y, shard=_shard(), plan=plan, **_version(), **ball, **arguments
        )
    else:
        report = evaluation.evaluate(network, x, y, attacks, **arguments)
    if FLAGS.sanity:
        print("Checking the gradients ...", flush=True)
        report = evaluation.sanity.with_sanity(report, network, x, y, **ball)
    return report


def _version():
    return {
        "version": FLAGS.version,
        "precision": FLAGS.precision,
        "confidence": FLAGS.confidence,
    }


def _check_estimate():
    """Refuse flags of an estimate that are out of place, before anything is loaded."""
    for name in ("precision", "confidence", "plan"):
        if FLAGS[name].present and FLAGS.version != "estimate":
            raise ValueError(
                f"`--{name}` goes with --version=estimate. Received: --version={FLAGS.version}"
            )
    if FLAGS.version == "estimate" and FLAGS.attacks != ["autoattack"] and not FLAGS.merge:
        raise ValueError(
            "`--version=estimate` goes with --attacks=autoattack. "
            f"Received: --attacks={','.join(FLAGS.attacks or ['natural', '...'])}"
        )
    if FLAGS.version == "estimate" and FLAGS.shard is not None and FLAGS.resume_from is None:
        raise ValueError(
            "A slice of an estimate is judged in rounds, and each goes on from the work of the one "
            "before: --resume_from=<directory of this slice> must be given. "
            f"Received: --shard={FLAGS.shard}"
        )
    if FLAGS.plan is not None and FLAGS.shard is None:
        raise ValueError("`--plan` goes with --shard. Received: no --shard")


def _check_flags(opened, names, is_autoattack):
    if opened.is_file and not is_autoattack and not FLAGS.surrogate:
        possible = (
            "--attacks=autoattack (its black-box part, Square), --attacks=square, --surrogate=<net>"
        )
        opening.require_black_box(names, FLAGS.network, possible)
    if opened.is_file and FLAGS["version"].present:
        raise ValueError("`--version` is of no use for a file: of AutoAttack its black-box part runs.")
    if opened.is_file and FLAGS["round_weights"].present:
        raise ValueError("`--round_weights` is of no use for a file, whose weights are what they are.")
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


def _report(out):
    """Return the report asked for, and the run whose network it is of, or None."""
    from sharedkeras import evaluation

    if FLAGS.merge:
        return evaluation.merge([evaluation.Report.from_json(path) for path in FLAGS.merge]), None
    opened = opening.open_network(
        FLAGS.network,
        weights=FLAGS.weights,
        dataset=FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        trust=FLAGS.trust,
    )
    with unfinished.kept_in(opening.resume_dir(FLAGS.resume_from, opened), out) as kept:
        return _judge(opened, kept), opened.run_dir


def main(_):
    """Judge, print the table, write report.json and report.html."""
    import zoo

    if FLAGS.network is None and not FLAGS.merge:
        raise ValueError(
            "Expected: --network=<run directory | .keras file | name of the zoo | .onnx file | "
            "SavedModel>"
        )
    for name in FLAGS.attacks or ():
        registered.check("attacks", name, ("natural", "autoattack", *registered.attacks()))
    _check_estimate()
    if FLAGS.network is not None:
        zoo.check_source(FLAGS.network)
    start_up.prepare_frameworks()
    own_code.import_modules()
    from sharedkeras import evaluation
    from sharedkeras.files import locked

    source = pathlib.Path(FLAGS.network or "merged")
    own = source if (source / "config.json").is_file() else None  # A run keeps its report itself.
    with run_dirs.results_in(FLAGS.run_dir or own, f"evaluate-{source.stem}") as out, locked(out):
        report, run = _report(out)
        print(evaluation.text_table(report))
        print(wording.findings_text(report))

        path, written = results.write_report(out, report, run=run)
        print(f"peak memory {memory.peak_memory()}")
        print(f"report      {path}")
    if not written:
        sys.exit(ending.NOT_WRITTEN)


if __name__ == "__main__":
    ending.run(main)
