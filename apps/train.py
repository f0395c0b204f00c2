"""Trains a robust classifier, judges it under attack and exports it.

Without flags: the quick start, a few minutes on two cores, on data that comes with the package.

    python apps/train.py
    python apps/train.py --dataset=cifar100
    python apps/train.py --dataset=mnist --objective=trades --beta=6 --ema_decay=0.999
    python apps/train.py --recipe=mnist-cnn-shared-cpu --run_dir=runs/mine --resume
"""

import ast
import dataclasses
import math
import pathlib
import shlex
import subprocess
import sys

import app_support
from absl import app, flags

app_support.define_common_flags()
flags.DEFINE_string("recipe", None, "Recipe by name; otherwise found by dataset, model, objective.")
flags.DEFINE_string("dataset", None, "mnist-mini (default), mnist, cifar10 or cifar100.")
flags.DEFINE_string("model", None, "cnn, resnet18, resnet50, wrn-34-10 or wrn-<depth>-<width>.")
flags.DEFINE_string("objective", None, "Name of an objective; shared-information by default.")
flags.DEFINE_bool("resume", False, "Go on with the run in --run_dir from its last checkpoint.")
flags.DEFINE_integer("max_steps", None, "Stop after that many updates.", lower_bound=1)
flags.DEFINE_integer(
    "eval_examples",
    None,
    "Test images attacked at the end; 0: none; default: all of MNIST, 1,000 of CIFAR.",
    lower_bound=0,
)
flags.DEFINE_list("attacks", ["natural", "pgd20", "pgd40", "cw"], "Attacks at the end, by name.")
flags.DEFINE_bool("export", True, "Write and check a SavedModel and an ONNX file at the end.")
flags.DEFINE_bool("deterministic", False, "Make every operation return the same bits each time.")

_TRIAL_PARITY_IMAGES = 64

_FIELDS = {
    "epochs": flags.DEFINE_integer,
    "validation_size": flags.DEFINE_integer,
    "validation_examples": flags.DEFINE_integer,
    "epsilon": flags.DEFINE_float,
    "attack": flags.DEFINE_string,
    "learning_rate": flags.DEFINE_float,
    "schedule": flags.DEFINE_string,
    "weight_decay": flags.DEFINE_float,
    "ema_decay": flags.DEFINE_float,
    "optimizer": flags.DEFINE_string,
}
for _name, _define in _FIELDS.items():
    _define(_name, None, f"Overrides the recipe's {_name}.")
_OPTIONS = {
    "objective_options": {n: n for n in ("alpha", "beta", "lam", "label_smoothing")},
    "attack_options": {
        "step_size": "step_size",
        "attack_steps": "steps",
        "random_start": "random_start",
    },
    "schedule_options": {"drops": "drops", "warmup": "warmup"},
}
for _field, _names in _OPTIONS.items():
    flags.DEFINE_list(_field, [], f"Overrides in the recipe's {_field}, as name=value.")
    for _name, _option in _names.items():
        flags.DEFINE_string(_name, None, f"Short for --{_field}={_option}=...")
flags.DEFINE_multi_string(
    "stage",
    None,
    "Share of the run and the attack's options from there, as 0.67:steps=30,step_size=0.01.",
)
FLAGS = flags.FLAGS


def _value(text):
    """Read a number, None or a tuple of numbers from a flag; anything else is a name."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _pairs(texts, flag):
    pairs = [text.partition("=") for text in texts]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise ValueError(f"--{flag} takes name=value. Received: {name + equals + value!r}")
    return {name: _value(value) for name, _, value in pairs}


def _options(field):
    """Return the overrides of a field that holds options: those by name and the short flags."""
    changes = _pairs(getattr(FLAGS, field), field)
    for flag, option in _OPTIONS[field].items():
        if (text := getattr(FLAGS, flag)) is not None:
            changes[option] = _value(text)
    if field == "schedule_options" and FLAGS.drops is not None:
        changes["drops"] = tuple(int(epoch) for epoch in FLAGS.drops)
    return changes


def _stages():
    stages = []
    for text in FLAGS.stage:
        share, colon, options = text.partition(":")
        if not colon:
            raise ValueError(f"--stage takes share:name=value,... Received: {text!r}")
        stages.append((float(share), _pairs(options.split(","), "stage")))
    return tuple(stages)


def _recipe():
    from sharedkeras import recipes

    if FLAGS.recipe is not None:
        recipe = recipes.get(FLAGS.recipe)
        if FLAGS.objective is not None:
            recipe = recipe.with_objective(FLAGS.objective)
    else:
        recipe = recipes.find(FLAGS.dataset or "mnist-mini", FLAGS.model, FLAGS.objective)
    given = {n: getattr(FLAGS, n) for n in (*_FIELDS, "dataset", "model", "seed", "batch_size")}
    changes = {name: value for name, value in given.items() if value is not None}
    for field, owner in (
        ("objective_options", "objective"),
        ("attack_options", "attack"),
        ("schedule_options", "schedule"),
    ):
        # Options belong to what they were given for: those of another attack or schedule mean nothing.
        same = changes.get(owner, getattr(recipe, owner)) == getattr(recipe, owner)
        changes[field] = {**(getattr(recipe, field) if same else {}), **_options(field)}
    if FLAGS.stage is not None:
        changes["curriculum"] = _stages()
    return dataclasses.replace(recipe, **changes)


def _announce(recipe, run_dir):
    def announce(trainer, train, start):
        from sharedkeras.training import estimate_seconds

        network = trainer.network
        trainable = sum(math.prod(v.shape) for v in network.trainable_variables)
        print(f"recipe      {recipe.name} ({recipe.source})")
        print(
            f"data        {recipe.dataset}: {len(train.x):,} training images {train.x.shape[1:]}, ",
            end="",
        )
        print(f"{recipe.validation_size:,} for validation")
        total = network.count_params()
        print(f"network     {network.name}: {trainable:,} trainable parameters, {total:,} in all")
        print(f"objective   {recipe.make_objective()}")
        for epoch, attack in recipe.make_curriculum().stages[1:]:
            print(f"            from epoch {epoch}: {attack}")
        options = "".join(f", {name} {value}" for name, value in recipe.schedule_options.items())
        print(
            f"schedule    {recipe.epochs} epochs of {trainer.steps_per_epoch} updates, batches of "
            f"{recipe.batch_size}, {recipe.optimizer}, rate {recipe.learning_rate} ({recipe.schedule}"
            f"{options}), weight decay {recipe.weight_decay}, average {recipe.ema_decay}, "
            f"seed {recipe.seed}"
        )
        print(f"run         {run_dir}")
        if start:
            print(f"resuming    {start} of {recipe.epochs} epochs are done")
        seconds = estimate_seconds(network, recipe, len(train.x), FLAGS.max_steps, start)
        print(f"estimate    {app_support.duration(seconds)} of training on this machine\n", flush=True)

    return announce


def _evaluate(recipe, run_dir, weights, clock):
    from sharedkeras import data, evaluation
    from sharedkeras.evaluation.report.keeping import report_name
    from sharedkeras.evaluation.report.text import text_table
    from sharedkeras.models import load_network

    test = data.load(recipe.dataset, "test", data_dir=FLAGS.data_dir, download=FLAGS.download)
    wanted = FLAGS.eval_examples
    if wanted is None:
        wanted = len(test.x) if recipe.dataset.startswith("mnist") else 1000
    n = min(wanted, len(test.x))
    if not n:
        return None
    clock.heading(f"Attacking the {weights} weights on {n:,} test images")
    names = [name for name in FLAGS.attacks if name != "natural"]
    network = load_network(run_dir, weights=weights)
    report = evaluation.evaluate(
        network,
        test.x[:n],
        test.y[:n],
        evaluation.paper_attacks(recipe.dataset, names),
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        settings={
            "dataset": recipe.dataset,
            "split": "test",
            "split_size": len(test.x),
            "weights": weights,
            "recipe": recipe.name,
            "norm": "linf",
            "epsilon": evaluation.paper_epsilon(recipe.dataset),
            "command": shlex.join(["python", *sys.argv]),
        },
        label_names=test.label_names,
    )
    name = report_name(run_dir, report)
    report.to_json(run_dir / f"{name}.json")
    report.to_html(run_dir / f"{name}.html", run=run_dir)
    print(text_table(report))
    return run_dir / f"{name}.html"


def _export(run_dir, weights):
    # A process of its own: TensorFlow keeps the memory that training took, and a wide network's
    # conversion needs several GB more.
    command = [sys.executable, str(pathlib.Path(__file__).with_name("export_model.py"))]
    command += [f"--network={run_dir}", f"--weights={weights}", "--overwrite"]
    if FLAGS.data_dir is not None:
        command.append(f"--data_dir={FLAGS.data_dir}")
    if FLAGS.max_steps is not None:
        # A trial: 1,000 images through a wide network would take longer than the run did.
        command.append(f"--parity_images={_TRIAL_PARITY_IMAGES}")
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(status)


def main(_):
    """Trains, judges, exports."""
    app_support.import_quietly()
    from sharedkeras.evaluation import paper_attacks

    clock = app_support.Clock()
    try:
        recipe = _recipe()
        paper_attacks(recipe.dataset, [name for name in FLAGS.attacks if name != "natural"])
    except ValueError as error:
        app_support.fail(error)
    run_dir = FLAGS.run_dir
    if run_dir is None:
        run_dir = app_support.newest_run_dir(recipe.name) if FLAGS.resume else None
        run_dir = run_dir or app_support.new_run_dir(recipe.name)

    from sharedkeras import training

    clock.heading("Training")
    try:
        run = training.fit(
            recipe,
            run_dir,
            resume=FLAGS.resume,
            data_dir=FLAGS.data_dir,
            download=FLAGS.download,
            max_steps=FLAGS.max_steps,
            deterministic=FLAGS.deterministic,
            announce=_announce(recipe, run_dir),
            verbose="auto" if sys.stdout.isatty() else 2,
        )
    except (ValueError, FileNotFoundError, FileExistsError, training.DivergedError) as error:
        app_support.fail(error)
    except KeyboardInterrupt:
        print(f"\nStopped. To go on from the last finished epoch:\n  {_resume_command(run_dir)}")
        sys.exit(130)
    weights = "last" if FLAGS.max_steps is not None else "best"
    report = _evaluate(recipe, run.run_dir, weights, clock)
    if FLAGS.export:
        clock.heading("Exporting and checking")
        _export(run.run_dir, weights)
    clock.heading("Done")
    print(f"peak memory {app_support.peak_memory_gb():.2f} GB, of the largest process")
    if report is not None:
        print(f"report      {report}")
    print(f"files       {run.run_dir}")
    print("\nNext: judge it with the standard ensemble,")
    print(f"  python apps/evaluate.py --network={run.run_dir} --attacks=autoattack --eval_examples=100")


def _resume_command(run_dir):
    arguments = [a for a in sys.argv[1:] if not a.startswith(("--run_dir", "--resume"))]
    return shlex.join(["python", sys.argv[0], *arguments, f"--run_dir={run_dir}", "--resume"])


if __name__ == "__main__":
    app.run(main)
