"""Trains a robust classifier, judges it under attack and exports it.

Without flags: the quick start, a few minutes on two cores, on data that comes with the package.

    python apps/train.py
    python apps/train.py --dataset=cifar100
    python apps/train.py --dataset=mnist --objective=trades --beta=6 --ema_decay=0.999
    python apps/train.py --list_recipes
    python apps/train.py --recipe=mnist-cnn-shared-cpu --run_dir=runs/mine --resume
"""

import ast
import dataclasses
import math
import os
import pathlib
import shlex
import sys

from absl import flags
from app_support import (
    common_flags,
    ending,
    judged_images,
    memory,
    own_code,
    recipe_list,
    registered,
    results,
    run_dirs,
    start_up,
    wording,
)

from sharedkeras.durations import duration

common_flags.define_common_flags()
common_flags.define_subset_flag()
own_code.define_flags()
flags.DEFINE_string(
    "recipe",
    None,
    f"{', '.join(registered.recipes())}; default: found by dataset, model and objective.",
)
flags.DEFINE_string(
    "dataset",
    None,
    "mnist-mini (default), mnist, cifar10, cifar100, an .npz file, a folder with train/ and test/ of "
    "images by class, or a name of TensorFlow Datasets.",
)
flags.DEFINE_string(
    "model",
    None,
    f"{', '.join(registered.models())}, resnet18-w<width>, wrn-34-10, wrn-<depth>-<width>, or "
    "module:function, which builds a network for input_shape and num_classes.",
)
flags.DEFINE_string(
    "objective", None, f"{', '.join(registered.objectives())}; default: shared-information."
)
flags.DEFINE_string(
    "initial_weights",
    None,
    "Network whose weights the training begins with: a name of the zoo, a run directory or a file. Its "
    "last layer may have other classes.",
)
flags.DEFINE_bool("list_recipes", False, "Print the recipes with source, cost and accuracy, and end.")
flags.DEFINE_bool("resume", False, "Go on with the run in --run_dir from its last checkpoint.")
flags.DEFINE_float(
    "checkpoint_seconds",
    0.0,
    "Least time between two checkpoints; 0: one after each epoch.",
    lower_bound=0.0,
)
flags.DEFINE_enum(
    "distribution",
    None,
    ["data_parallel"],
    "Train on all devices, each with its part of every batch (JAX).",
)
flags.DEFINE_bool(
    "join",
    False,
    "Train with the other processes of this job, which read and write one --run_dir: those of the "
    "variables KERAS_DISTRIBUTION_*, or that JAX finds (Slurm, Open MPI, TPU).",
)
flags.DEFINE_integer(
    "steps_per_execution",
    1,
    "Updates before the program looks at signals and losses; more than 1 where one takes milliseconds.",
    lower_bound=1,
)
flags.DEFINE_integer("max_steps", None, "Stop after that many updates.", lower_bound=1)
flags.DEFINE_integer(
    "eval_examples",
    None,
    "Test images attacked at the end; 0: none; default: all of MNIST, elsewhere at most 1,000.",
    lower_bound=0,
)
flags.DEFINE_list(
    "attacks",
    ["natural", "pgd20", "pgd40", "cw"],
    f"Attacks at the end: {', '.join(registered.attacks())}.",
)
flags.DEFINE_bool("export", True, "Write and check a SavedModel and an ONNX file at the end.")
flags.DEFINE_bool("deterministic", False, "Make every operation return the same bits each time.")

_TRIAL_PARITY_IMAGES = 64
_MOST_IMAGES = 1000  # Attacked at the end unless told otherwise; of the whole of MNIST all are.

_FIELDS = {
    "epochs": flags.DEFINE_integer,
    "validation_size": flags.DEFINE_integer,
    "validation_examples": flags.DEFINE_integer,
    "validation_queries": flags.DEFINE_integer,
    "epsilon": flags.DEFINE_float,
    "attack": flags.DEFINE_string,
    "learning_rate": flags.DEFINE_float,
    "schedule": flags.DEFINE_string,
    "weight_decay": flags.DEFINE_float,
    "awp_gamma": flags.DEFINE_float,
    "natural_share": flags.DEFINE_float,
    "train_share": flags.DEFINE_float,
    "latent": flags.DEFINE_bool,
    "augment": flags.DEFINE_bool,
}
_MAY_BE_NONE = {
    "ema_decay": flags.FloatParser(),
    "patience": flags.IntegerParser(),
    "stop_after": flags.IntegerParser(),
}
_NONE = "none"


class _OrNone(flags.ArgumentParser):
    """Reads what another parser reads, and the word that takes a value out of a recipe."""

    def __init__(self, parser):
        self._parser = parser

    def parse(self, argument):
        return argument if argument == _NONE else self._parser.parse(argument)

    def flag_type(self):
        return f"{self._parser.flag_type()} or {_NONE}"


_CHOICES = {
    "optimizer": ["sgd", "adam"],
    "precision": ["float32", "mixed_bfloat16", "mixed_float16"],
}
for _name, _values in _CHOICES.items():
    flags.DEFINE_enum(_name, None, _values, f"Overrides the recipe's {_name}.")
_NAMES = {"attack": registered.training_attacks(), "schedule": registered.schedules()}
for _name, _define in _FIELDS.items():
    _known = f": {', '.join(_NAMES[_name])}" if _name in _NAMES else ""
    _define(_name, None, f"Overrides the recipe's {_name}{_known}.")
for _name, _parser in _MAY_BE_NONE.items():
    _help = f"Overrides the recipe's {_name}; {_NONE}: without."
    flags.DEFINE(_OrNone(_parser), _name, None, _help, serializer=flags.ArgumentSerializer())
_OPTIONS = {
    "objective_options": {n: n for n in ("alpha", "beta", "lam", "label_smoothing")},
    "latent_options": {},
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
    if FLAGS.epochs is not None:  # First, so that what other flags say holds.
        recipe = recipe.in_epochs(FLAGS.epochs)
    fields = (*_FIELDS, *_CHOICES, *_MAY_BE_NONE)
    fields += ("dataset", "model", "initial_weights", "seed", "batch_size")
    given = {name: getattr(FLAGS, name) for name in fields}
    changes = {
        name: None if name in _MAY_BE_NONE and value == _NONE else value
        for name, value in given.items()
        if value is not None
    }
    for field, owner in (
        ("objective_options", "objective"),
        ("attack_options", "attack"),
        ("schedule_options", "schedule"),
        ("latent_options", "latent"),  # Without the layer nothing takes its options.
    ):
        # Options belong to what they were given for: those of another attack or schedule mean nothing.
        same = changes.get(owner, getattr(recipe, owner)) == getattr(recipe, owner)
        changes[field] = {**(getattr(recipe, field) if same else {}), **_options(field)}
    if FLAGS.stage is not None:
        changes["curriculum"] = _stages()
        chosen = dataclasses.replace(recipe, **changes)
    else:
        if "attack" in changes:  # Stages are of the recipe's own attack.
            changes["curriculum"] = ()
        options = _options("attack_options")
        chosen = dataclasses.replace(recipe, **changes).with_attack_options(options)
    if chosen.norm != recipe.norm:
        _need_lengths(chosen, recipe)
    return chosen


def _need_lengths(chosen, recipe):
    """Refuse an attack in another norm than the recipe's whose lengths are not given."""
    fields = {field.name for field in dataclasses.fields(chosen.make_attack())}
    given = {
        "epsilon": FLAGS.epsilon is not None,
        "step_size": "step_size" in _options("attack_options"),
    }
    missing = [name for name, there in given.items() if name in fields and not there]
    if missing:
        wanted = " and ".join(f"--{name}" for name in missing)
        raise ValueError(
            f"The lengths of {recipe.name} are ones in {recipe.norm}; give {wanted} for an attack in "
            f"{chosen.norm}. Received: epsilon={chosen.epsilon}, attack={chosen.make_attack()}"
        )


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
        if recipe.initial_weights is not None:
            new = f", but for {' and '.join(trainer.new_layers)}" if trainer.new_layers else ""
            print(f"weights     those of {recipe.initial_weights}{new}")
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
        updates = int(trainer.update.numpy()) if FLAGS.resume else 0
        if updates:
            rest = updates - start * trainer.steps_per_epoch
            of_next = f" and {rest} updates of the next" if rest else ""
            print(f"resuming    {start} of {recipe.epochs} epochs{of_next} are done")
        seconds = estimate_seconds(network, recipe, len(train.x), FLAGS.max_steps, start)
        print(f"estimate    {duration(seconds)} of training on this machine\n", flush=True)

    return announce


def _evaluate(recipe, run_dir, weights, clock):
    """Attack test images; return the report's page and whether it is in its place, or None for none."""
    from sharedkeras import evaluation
    from sharedkeras.models import load_network

    wanted = FLAGS.eval_examples
    if wanted == 0:
        return None
    if wanted is None and recipe.dataset != "mnist":
        wanted = _MOST_IMAGES
    images = judged_images.load_judged_images(
        recipe.dataset,
        count=wanted,
        method=FLAGS.subset,
        seed=recipe.seed,
        data_dir=FLAGS.data_dir,
        download=FLAGS.download,
    )
    clock.heading(f"Attacking the {weights} weights on {images.text}")
    names = [name for name in FLAGS.attacks if name != "natural"]
    epsilon = _epsilon(recipe)
    report = evaluation.evaluate(
        load_network(run_dir, weights=weights),
        images.x,
        images.y,
        evaluation.named_attacks(names, dataset=recipe.dataset, norm=recipe.norm, epsilon=epsilon),
        batch_size=_at_once(recipe),
        seed=recipe.seed,
        index=images.index,
        settings={
            **images.settings,
            "weights": weights,
            "recipe": recipe.name,
            "norm": recipe.norm,
            "epsilon": epsilon,
            "command": shlex.join(["python", *sys.argv]),
        },
        label_names=images.label_names,
    )
    print(evaluation.text_table(report))
    return results.write_report(run_dir, report, run=run_dir)


def _at_once(recipe):
    # Few images leave cores idle. MNIST's are so small that 128 fit anywhere; of larger ones the size
    # that a run trains on may be all that memory bears, on a resumed run too, which repeats no flag.
    return max(recipe.batch_size, 128) if recipe.dataset.startswith("mnist") else recipe.batch_size


def _epsilon(recipe):
    """Return the ball of the attacks at the end: that of training, where it is not the paper's."""
    from sharedkeras import data, evaluation

    own = recipe.dataset not in data.names() or recipe.norm != "linf"
    return recipe.epsilon if own else evaluation.paper_epsilon(recipe.dataset)


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
    status = ending.run_child(command)
    if status:
        sys.exit(status)


def main(_):
    """Train, judge, export."""
    if FLAGS.list_recipes:
        print(recipe_list.text())
        return
    if not own_code.asked_for():  # It may register names of its own.
        is_own = ":" in (FLAGS.model or "")
        registered.check(
            "model",
            None if is_own else FLAGS.model,
            registered.models(),
            families=["wrn-", "resnet18-w", "resnet50-w"],
        )
        registered.check("objective", FLAGS.objective, registered.objectives())
        registered.check("recipe", FLAGS.recipe, registered.recipes())
        registered.check("attack", FLAGS.attack, registered.training_attacks())
        registered.check("schedule", FLAGS.schedule, registered.schedules())
        for name in FLAGS.attacks:
            registered.check("attacks", name, ("natural", *registered.attacks()))
    if FLAGS.join and not (FLAGS.distribution and FLAGS.run_dir):
        raise ValueError(
            "Processes that train together need --distribution=data_parallel and one --run_dir. "
            f"Received: --distribution={FLAGS.distribution}, --run_dir={FLAGS.run_dir}"
        )
    if FLAGS.initial_weights is not None:
        import zoo

        zoo.check_source(FLAGS.initial_weights)
    start_up.prepare_frameworks()
    if FLAGS.join:
        import keras

        keras.utils.set_random_seed(FLAGS.seed or 0)  # Else the processes would have to agree on one.
        keras.distribution.initialize()  # Before anything asks for a device.
    own_code.import_modules()
    from sharedkeras.evaluation import named_attacks

    if ":" in (FLAGS.model or ""):
        own_code.look_here()
    if FLAGS.data_dir is not None:  # The recipe looks up its data's shape there too.
        os.environ["TFDS_DATA_DIR"] = FLAGS.data_dir
    recipe = _recipe()
    names = [name for name in FLAGS.attacks if name != "natural"]
    named_attacks(names, dataset=recipe.dataset, norm=recipe.norm, epsilon=_epsilon(recipe))
    run_dir = FLAGS.run_dir
    if FLAGS.join:  # Only one of the processes may make the directory.
        _train(recipe, pathlib.Path(run_dir))
        return
    if run_dir is None and FLAGS.resume:
        run_dir = run_dirs.newest(recipe.name)
    if FLAGS.resume:
        _train(recipe, pathlib.Path(run_dir or run_dirs.RUNS / recipe.name))
        return
    with run_dirs.results_in(run_dir, recipe.name) as out:
        _train(recipe, out)


def _train(recipe, run_dir):
    import zoo
    from sharedkeras import training

    clock = wording.Clock()
    clock.heading("Training")
    ending.on_stop(lambda: _go_on(run_dir))
    run = training.fit(
        recipe,
        run_dir,
        resume=FLAGS.resume,
        data_dir=FLAGS.data_dir,
        download=FLAGS.download,
        max_steps=FLAGS.max_steps,
        deterministic=FLAGS.deterministic,
        checkpoint_seconds=FLAGS.checkpoint_seconds,
        announce=_announce(recipe, run_dir),
        distribution=FLAGS.distribution,
        find=zoo.find,
        steps_per_execution=FLAGS.steps_per_execution,
    )
    if FLAGS.join and not training.part():
        return  # The first process judges and exports.
    weights = "last" if FLAGS.max_steps is not None else "best"
    judged = _evaluate(recipe, run.run_dir, weights, clock)
    if FLAGS.export:
        clock.heading("Exporting and checking")
        _export(run.run_dir, weights)
    clock.heading("Done")
    print(f"peak memory {memory.peak_memory()}, of the largest process")
    if judged is not None:
        print(f"report      {judged[0]}")
    print(f"files       {run.run_dir}")
    print("\nNext: judge it with the standard ensemble,")
    ball = "" if recipe.norm == "linf" else f" --norm={recipe.norm} --epsilon={recipe.epsilon:g}"
    judge = f"python apps/evaluate.py --network={run.run_dir} --attacks=autoattack{ball}"
    print(f"  {judge} --eval_examples=100")
    if judged is not None and not judged[1]:
        sys.exit(ending.NOT_WRITTEN)


def _go_on(run_dir):
    if not (run_dir / "config.json").exists():
        return None
    again = ending.again(f"--run_dir={run_dir}", "--resume")
    return f"To go on from the last checkpoint:\n  {again}"


if __name__ == "__main__":
    ending.run(main)
