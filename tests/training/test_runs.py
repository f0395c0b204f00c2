"""Whole runs: what they leave, how they stop and go on, what they refuse."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
import types

import keras
import numpy as np
import pytest
from keras import ops
from support.cpu import half_precision

import zoo
from sharedkeras import attacks, data, models, objectives, recipes, training
from sharedkeras.training import callbacks, checkpoint
from sharedkeras.training.run import open_run, prepare

TINY = dataclasses.replace(
    recipes.get("quickstart"),
    epochs=3,
    attack_steps=1,
    step_size=0.075,
    validation_size=9400,
    validation_examples=20,
    batch_size=50,
    learning_rate=1e-3,
    schedule="step",
    schedule_options={"drops": (5,)},
)  # 600 images: 12 updates an epoch


def variables(trainer):
    return [ops.convert_to_numpy(v + 0) for v in checkpoint.variables(trainer)]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return training.fit(TINY, tmp_path_factory.mktemp("run") / "a", verbose=0, deterministic=True)


def test_files_of_a_run(unbroken):
    names = {p.name for p in unbroken.run_dir.iterdir()}
    assert {"config.json", "metrics.csv", "checkpoints", "best.keras", "last.keras"} <= names
    config = json.loads((unbroken.run_dir / "config.json").read_text())
    assert config["dataset"] == "mnist-mini"
    assert config["recipe"]["attack_options"]["steps"] == 1
    rows = (unbroken.run_dir / "metrics.csv").read_text().splitlines()
    assert len(rows) == 4
    columns = set(rows[0].split(","))
    assert {
        "epoch",
        "loss",
        "ce_adv",
        "ce_clean",
        "skl",
        "hsic",
        "latent_nats",
        "val_natural",
        "val_robust",
        "learning_rate",
        "seconds",
    } == columns
    assert [p.name for p in checkpoint.listed(unbroken.run_dir / "checkpoints")] == [
        "epoch-0002.npz",
        "epoch-0003.npz",
    ]
    assert unbroken.updates == 36


def test_last_weights_are_the_networks(unbroken):
    loaded = models.load_network(unbroken.run_dir, weights="last")
    for a, b in zip(loaded.get_weights(), unbroken.network.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_learning_rate_drops(unbroken):
    # The drop at epoch 5 is never reached here.
    assert unbroken.history["learning_rate"] == [pytest.approx(1e-3)] * 3
    decay = training.StepDecay(1.0, (2, 4), steps_per_epoch=10)
    rates = [float(ops.convert_to_numpy(decay(s))) for s in (0, 19, 20, 39, 40, 99)]
    np.testing.assert_allclose(rates, [1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-5)


def stopped_and_resumed(recipe, run_dir):
    """Trains, dies once the second epoch's checkpoint is written, and goes on."""

    class Stop(Exception):
        pass

    original = checkpoint.save

    def save_and_die(*arguments, **keywords):
        path = original(*arguments, **keywords)
        if keywords["epoch"] == 2:
            raise Stop
        return path

    checkpoint.save = save_and_die
    try:
        with pytest.raises(Stop):
            training.fit(recipe, run_dir, verbose=0, deterministic=True)
    finally:
        checkpoint.save = original
    return training.fit(recipe, run_dir, verbose=0, resume=True, deterministic=True)


@pytest.mark.slow
def test_stopped_after_an_epoch_and_resumed_ends_the_same(unbroken, tmp_path):
    resumed = stopped_and_resumed(TINY, tmp_path / "b")
    for a, b in zip(resumed.network.get_weights(), unbroken.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert resumed.history["loss"] == unbroken.history["loss"]
    assert resumed.updates == 36


@pytest.mark.slow  # test_stopping.py stops such a run in mid-epoch, on a smaller network.
def test_average_and_curriculum_survive_a_stop(tmp_path):
    recipe = dataclasses.replace(
        TINY.with_objective("trades"),
        validation_size=9800,
        validation_examples=8,
        curriculum=((0.67, {"steps": 2}),),
        schedule="cosine",
        schedule_options={"warmup": 0.5},
        ema_decay=0.9,
    )
    whole = training.fit(recipe, tmp_path / "whole", verbose=0, deterministic=True)
    resumed = stopped_and_resumed(recipe, tmp_path / "stopped")
    best = [models.load_network(run.run_dir, weights="best") for run in (whole, resumed)]
    pairs = ((whole.network, resumed.network), best)
    for one, other in pairs:
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert resumed.history["val_robust"] == whole.history["val_robust"]
    # What is kept as best is the average, not the weights that are trained.
    last = models.load_network(whole.run_dir, weights="last")
    for a, b in zip(last.get_weights(), best[0].get_weights(), strict=True):
        assert np.abs(a - b).max() > 1e-6


@pytest.mark.slow
def test_a_run_ends_when_robustness_no_longer_rises(tmp_path, monkeypatch):
    """Beside it: checkpoints as rare as asked for, and a share of the training images."""
    robust = iter([0.3, 0.5, 0.4, 0.5, 0.9, 0.9])

    def validate(self, epoch, logs=None):
        logs.update(val_natural=0.5, val_robust=next(robust))

    monkeypatch.setattr(callbacks.RobustValidation, "on_epoch_end", validate)
    recipe = dataclasses.replace(
        TINY, epochs=6, patience=2, train_share=0.5, validation_size=9400, validation_examples=8
    )
    seen = []
    options = {
        "verbose": 0,
        "checkpoint_seconds": 3600,
        "announce": lambda trainer, train, start: seen.append(train),
    }
    run = training.fit(recipe, tmp_path / "run", **options)
    assert run.history["val_robust"] == [0.3, 0.5, 0.4, 0.5]  # As good as the best is no better.
    assert (len(seen[0].x), run.updates) == (300, 24)
    whole = data.load("mnist-mini", "train", validation_size=9400)
    rows = data.subset(600, 300, seed=recipe.seed)
    np.testing.assert_array_equal(seen[0].x, whole.x[rows])
    np.testing.assert_array_equal(seen[0].y, whole.y[rows])
    # The end always has a checkpoint, whatever the pause, and the log has every epoch.
    kept = checkpoint.listed(run.run_dir / "checkpoints")
    assert [path.name for path in kept] == ["epoch-0004.npz"]
    assert len((run.run_dir / "metrics.csv").read_text().splitlines()) == 5
    weights = run.network.get_weights()
    last = models.load_network(run.run_dir, weights="last")
    again = training.fit(recipe, tmp_path / "run", resume=True, **options)
    assert again.history["val_robust"] == [0.3, 0.5, 0.4, 0.5]
    for a, b, c in zip(weights, last.get_weights(), again.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_random_search_tells_what_is_hidden_from_gradients():
    rng = np.random.default_rng(0)
    images = keras.Input((6, 6, 1))
    # No gradient passes the rounding; half a grey level more changes it all the same.
    seen = keras.layers.Flatten()(keras.layers.Lambda(lambda t: ops.round(2.0 * t))(images))
    network = keras.Model(images, keras.layers.Dense(3)(seen))
    network.set_weights([rng.normal(size=(36, 3)), np.zeros(3)])
    x = rng.uniform(0, 1, (40, 6, 6, 1)).astype("float32")
    y = ops.convert_to_numpy(network(x)).argmax(axis=1)
    update = types.SimpleNamespace(value=np.int32(0))
    trainer = types.SimpleNamespace(
        judged=network, stop_training=False, update=update, steps_per_epoch=1
    )
    logs = {}
    for queries in (0, 200):
        recipe = dataclasses.replace(TINY, epsilon=0.24, validation_queries=queries)
        judge = callbacks.RobustValidation(
            x, y, attacks=recipe.make_validation_attacks(), batch_size=16, examples=30
        )
        judge.set_model(trainer)
        judge.on_epoch_end(0, logs.setdefault(queries, {}))
        assert logs[queries]["val_natural"] == 1
    # PGD moves nowhere from its random start.
    assert logs[200]["val_robust"] < 0.5 < 0.8 < logs[0]["val_robust"]


@pytest.mark.parametrize(
    "values",
    [
        {"patience": 0},
        {"validation_queries": -1},
        {"validation_queries": 0.5},
        {"patience": 2, "validation_examples": 0},
        {"train_share": 0},
        {"train_share": 1.5},
    ],
)
def test_an_end_and_a_share_are_checked(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        dataclasses.replace(TINY, **values)
    with pytest.raises(ValueError, match="checkpoint_seconds"):
        training.fit(TINY, "nowhere", checkpoint_seconds=-1)


@pytest.mark.slow
@half_precision
def test_mixed_precision_leaves_a_float32_network(tmp_path):
    recipe = dataclasses.replace(
        TINY,
        epochs=1,
        latent=False,
        objective="standard",
        objective_options={},
        validation_size=9900,
        validation_examples=8,
        precision="mixed_bfloat16",
    )
    run = training.fit(recipe, tmp_path / "run", verbose=0)
    assert run.network.get_layer("conv1").compute_dtype == "bfloat16"
    for weights in ("best", "last"):
        kept = models.load_network(run.run_dir, weights=weights)
        assert {layer.compute_dtype for layer in kept.layers} == {"float32"}
    for a, b in zip(kept.get_weights(), run.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_short_names_of_the_attacks_options():
    short = dataclasses.replace(TINY, attack_steps=3, step_size=0.02)
    assert short == dataclasses.replace(TINY, attack_options={"steps": 3, "step_size": 0.02})
    assert (short.make_attack().steps, short.make_attack().step_size) == (3, 0.02)
    staged = dataclasses.replace(TINY, curriculum=((0.5, {"steps": 7}), (0.8, {"step_size": 0.1})))
    whole = dataclasses.replace(staged, attack_steps=3)
    assert whole.curriculum == ((0.8, {"step_size": 0.1}),)
    assert whole == staged.with_attack_options({"steps": 3})
    assert staged.with_objective("trades").curriculum == staged.curriculum
    # MMA's steps have no size of their own, GAT's attack has one step.
    assert staged.with_objective("mma").curriculum == ((0.5, {"steps": 7}),)
    assert staged.with_objective("gat").curriculum == ()
    # They stay where something else is replaced.
    assert dataclasses.replace(short, epochs=2).make_attack().steps == 3


def test_options_of_the_stochastic_layer_and_policies_are_checked():
    shifted = dataclasses.replace(TINY, latent_options={"shift": 0.0})
    assert shifted.make_network().get_layer("latent").shift == 0.0
    with pytest.raises(ValueError, match="latent_options"):
        dataclasses.replace(shifted, latent=False, objective="standard", objective_options={})
    with pytest.raises(ValueError, match="float8"):
        dataclasses.replace(TINY, precision="float8")


FINE_TUNED = dataclasses.replace(TINY, initial_weights="mnist-cnn-shared", learning_rate=1e-5)


def test_a_run_begins_with_weights_of_the_zoo(tmp_path):
    recipe = dataclasses.replace(FINE_TUNED, ema_decay=0.9)
    run = training.fit(recipe, tmp_path / "a", verbose=0, max_steps=2, find=zoo.find)
    test = data.load("mnist-mini", "test")
    x, y = test.x[:200], test.y[:200]
    logits = ops.convert_to_numpy(run.network(x))
    assert (logits.argmax(-1) == y).mean() > 0.97  # Two updates from random weights reach some 0.1.
    again = models.load_network(run.run_dir, weights="last")
    np.testing.assert_allclose(ops.convert_to_numpy(again(x)), logits, atol=1e-5)
    config = json.loads((run.run_dir / "config.json").read_text())
    assert config["recipe"]["initial_weights"] == "mnist-cnn-shared"


def test_the_average_begins_with_the_given_weights():
    recipe = dataclasses.replace(FINE_TUNED, ema_decay=0.9)
    source = zoo.load("mnist-cnn-shared")
    trainer = prepare(recipe, steps_per_epoch=12, initial=source)
    assert trainer.new_layers == ()
    averages = [ops.convert_to_numpy(v) for v in trainer.average.variables]
    for variable in source.trainable_variables:
        value = ops.convert_to_numpy(variable)
        assert any(a.shape == value.shape and np.array_equal(a, value) for a in averages)


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"initial_weights": "nobody"}, FileNotFoundError, "mnist-cnn-shared"),
        ({"initial_weights": "cifar10-resnet18-nfgsm"}, ValueError, "another architecture"),
    ],
)
def test_initial_weights_that_do_not_fit_leave_no_directory(changes, kind, said, tmp_path):
    recipe = dataclasses.replace(FINE_TUNED, **changes)
    with pytest.raises(kind, match=said):
        training.fit(recipe, tmp_path / "a", verbose=0, max_steps=1, find=zoo.find)
    assert not (tmp_path / "a").exists()


def test_max_steps(tmp_path):
    run = training.fit(TINY, tmp_path / "c", verbose=0, max_steps=5)
    assert run.updates == 5
    # Half an epoch is no epoch: it is neither judged nor logged.
    assert run.history == {}
    assert not (run.run_dir / "metrics.csv").exists()
    assert not checkpoint.listed(run.run_dir / "checkpoints")
    assert (run.run_dir / "last.keras").exists()
    assert (run.run_dir / "best.keras").exists()


def test_updates_made_together_leave_what_single_ones_leave(unbroken, tmp_path, capsys):
    count = 600 // 50
    together = training.fit(TINY, tmp_path / "d", verbose=2, steps_per_execution=5)
    assert together.updates == unbroken.updates == TINY.epochs * count
    assert not re.search(r"\d of \d+ updates", capsys.readouterr().out)  # No epoch was cut short.
    for one, two in zip(together.network.weights, unbroken.network.weights, strict=True):
        np.testing.assert_allclose(*map(ops.convert_to_numpy, (one, two)), atol=1e-6)
    for name in ("epoch", "loss", "val_natural", "val_robust"):
        np.testing.assert_allclose(together.history[name], unbroken.history[name], rtol=1e-5)


def test_updates_made_together_are_counted_one_by_one(tmp_path):
    run = training.fit(TINY, tmp_path / "d", verbose=0, steps_per_execution=5, max_steps=6)
    assert run.updates == 10  # Those in which the sixth falls.
    with pytest.raises(ValueError, match="steps_per_execution"):
        training.fit(TINY, tmp_path / "e", verbose=0, steps_per_execution=0)


def test_other_run_is_refused(unbroken):
    other = dataclasses.replace(TINY, objective_options={"alpha": 0.9})
    with pytest.raises(FileExistsError, match="alpha"):
        open_run(unbroken.run_dir, other, resume=True)
    with pytest.raises(FileExistsError, match="resume"):
        open_run(unbroken.run_dir, TINY, resume=False)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match="resume"):
        open_run(tmp_path / "none", TINY, resume=True)


def test_foreign_directory_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(FileExistsError, match="not empty"):
        open_run(tmp_path, TINY, resume=False)


def test_damaged_config(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        open_run(tmp_path, TINY, resume=True)


def test_truncated_checkpoint_falls_back_to_the_one_before(unbroken, tmp_path):
    older, newer = checkpoint.listed(unbroken.run_dir / "checkpoints")
    (tmp_path / older.name).write_bytes(older.read_bytes())
    (tmp_path / newer.name).write_bytes(newer.read_bytes()[:5000])
    trainer = prepare(TINY, steps_per_epoch=12)
    with pytest.warns(UserWarning, match="damaged"):
        epoch, history, spent = checkpoint.restore_newest(tmp_path, trainer)
    assert (epoch, spent) == (2, 0.0)
    assert len(history["loss"]) == 2
    os.remove(tmp_path / older.name)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="damaged"):
        checkpoint.restore_newest(tmp_path, trainer)


def test_checkpoint_of_another_network(unbroken):
    other = prepare(TINY.with_objective("standard"), steps_per_epoch=12)
    before = variables(other)
    with pytest.raises(ValueError, match="another network"):
        checkpoint.restore(checkpoint.listed(unbroken.run_dir / "checkpoints")[-1], other)
    for a, b in zip(before, variables(other), strict=True):
        assert np.array_equal(a, b)


def test_checkpoint_holds_everything(unbroken):
    trainer = prepare(TINY, steps_per_epoch=12)
    checkpoint.restore_newest(unbroken.run_dir / "checkpoints", trainer)
    values = variables(trainer)
    assert int(ops.convert_to_numpy(trainer.update.value)) == 36
    assert int(ops.convert_to_numpy(trainer.optimizer.iterations + 0)) == 36
    paths = {v.path for v in checkpoint.variables(trainer)}
    assert any("seed_generator_state" in path for path in paths)
    for stored, value in zip(checkpoint.variables(trainer), values, strict=True):
        assert tuple(stored.shape) == value.shape


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "resnet19"},
        {"objective": "nothing"},
        {"epsilon": 0.0},
        {"epsilon": -1.0},
        {"attack": "nothing"},
        {"attack_options": {"steps": 0}},
        {"attack_options": {"stops": 1}},
        {"curriculum": ((1.5, {"steps": 2}),)},
        {"curriculum": ((0.5, {"steps": 0}),)},
        {"schedule": "nothing"},
        {"schedule_options": {"dips": (1,)}},
        {"ema_decay": 1.0},
        {"epochs": 0},
        {"batch_size": 1},
        {"optimizer": "lion"},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"objective_options": {"alpha": 2.0}},
        {"objective_options": {"alfa": 0.5}},
        {"objective_options": {"label_smoothing": 1.0}},
        {"seed": -1},
        {"initial_weights": ""},
    ],
)
def test_bad_recipe(changes):
    with pytest.raises(ValueError, match="Received"):
        dataclasses.replace(TINY, **changes)


def test_unknown_recipe_and_dataset():
    with pytest.raises(ValueError, match="quickstart"):
        recipes.get("nothing")
    with pytest.raises(ValueError, match="mnist-mini"):
        recipes.find("imagenet")


@pytest.mark.parametrize("name", recipes.names())
def test_recipes_cite_their_source(name):
    recipe = recipes.get(name)
    assert recipe.source.startswith(("Table", "not in the paper", "as the"))
    assert json.loads(json.dumps(dataclasses.asdict(recipe)))["name"] == name


def test_another_objective_takes_its_own_attack_and_options():
    paper = recipes.get("mnist-cnn-shared")
    trades = paper.with_objective("trades").make_objective()
    assert trades.beta == 6.0
    assert trades.attack == attacks.PGD(epsilon=0.3, step_size=0.01, steps=40, random_start="gaussian")
    mma = recipes.find("mnist", objective="mma").make_objective()
    assert mma.attack == attacks.PGD(epsilon=0.3, step_size=None, steps=40)
    gat = dataclasses.replace(TINY.with_objective("gat"), objective_options={"weight": 5.0})
    assert gat.make_objective() == objectives.GAT(attack=attacks.FGSM(epsilon=0.3), weight=5.0)
    noisy = dataclasses.replace(TINY.with_objective("standard"), attack="n-fgsm", attack_options={})
    assert noisy.make_objective().attack == attacks.NFGSM(epsilon=0.3)
    assert not noisy.latent
    assert noisy.with_objective("shared-information").latent


def test_a_shorter_run_keeps_its_shares_and_lowers_the_ramps_end():
    recipe = recipes.get("cifar10-resnet18-shared")  # 120 epochs, beta 4
    short = recipe.in_epochs(6)
    assert short.schedule_options == {"drops": (3.75, 4.5, 5.0), "warmup": pytest.approx(0.6)}
    assert short.make_objective().beta == training.ExponentialRamp(1e-3, 0.2, 0.5, 5.0)
    assert recipe.in_epochs(60).schedule_options["warmup"] == 1.0
    assert recipe.in_epochs(240).make_objective().beta.final == 4.0
    assert recipe.in_epochs(240).schedule_options["drops"] == (150, 180, 200)
    assert recipe.in_epochs(120) is recipe
    rates = [short.make_learning_rate(steps_per_epoch=100)(step) for step in (29, 59, 374, 375, 450)]
    np.testing.assert_allclose(
        [float(ops.convert_to_numpy(r)) for r in rates], [0.05, 0.1, 0.1, 0.01, 0.001], rtol=1e-5
    )
    # What is not ramped stays: TRADES' beta weighs the same loss in a run of any length.
    assert recipes.get("cifar10-resnet18-trades").in_epochs(6).make_objective().beta == 6.0
    without = recipes.get("cifar10-resnet18-shared-without-skl").in_epochs(6)
    assert without.make_objective().beta == 0


def test_an_early_end_moves_with_the_run():
    recipe = recipes.get("cifar10-resnet18-shared-stopped")
    assert recipe.stop_after > 12
    assert recipe.in_epochs(12).stop_after == round(recipe.stop_after / 10)
    assert recipe.in_epochs(1).stop_after == 1


@pytest.mark.parametrize("epochs", [0, -1, 2.5])
def test_a_run_has_whole_epochs(epochs):
    with pytest.raises(ValueError, match="`epochs`"):
        recipes.get("cifar10-resnet18-shared").in_epochs(epochs)


def test_curriculum_is_scaled_to_the_run():
    recipe = dataclasses.replace(
        TINY, epochs=30, curriculum=((0.5, {"steps": 5}), (2 / 3, {"steps": 20, "step_size": 0.02}))
    )
    curriculum = recipe.make_curriculum()
    found = [(curriculum.at(e).steps, curriculum.at(e).step_size) for e in (0, 14, 15, 19, 20, 29)]
    young, last = (1, 0.075), (20, 0.02)
    assert found == [young, young, (5, 0.075), (5, 0.075), last, last]


def test_first_epochs_without_an_attack():
    """The prefix composes with a curriculum, and is refused where it cannot be."""
    recipe = dataclasses.replace(
        TINY, epochs=10, natural_share=0.2, curriculum=((0.5, {"steps": 5}),), epsilon=0.2
    )
    curriculum = recipe.make_curriculum()
    assert [curriculum.at(e).gradients for e in (0, 1, 2, 4, 5, 9)] == [0, 0, 1, 1, 5, 5]
    assert curriculum.at(0) == attacks.NoAttack(epsilon=0.2)
    assert recipe.make_objective().attack == curriculum.at(2)
    short = dataclasses.replace(recipe, epochs=2, curriculum=())  # 0.4 epochs are none.
    assert short.make_curriculum().stages == ((0, short.make_attack()),)
    for bad in (-0.1, 1.0, 0.6):
        with pytest.raises(ValueError, match="natural_share"):
            dataclasses.replace(recipe, natural_share=bad)
    with pytest.raises(ValueError, match="awp_gamma"):
        dataclasses.replace(recipe, awp_gamma=-1.0)
    natural = dataclasses.replace(TINY, attack="none", attack_options={})
    assert natural.make_objective().attack == attacks.NoAttack(epsilon=TINY.epsilon)


def test_default_networks():
    assert recipes.find("cifar100").model == "wrn-34-10"
    assert recipes.find("cifar10").model == "resnet18"
    assert recipes.find("cifar10", "wrn-34-10", "standard").name == "cifar10-wrn-34-10-standard"


SCRIPT = """
import dataclasses, sys
from sharedkeras import training
sys.path.insert(0, {tests!r})
from test_runs import TINY
training.fit(TINY, {run!r}, verbose=0, deterministic=True, resume={resume})
"""


@pytest.mark.slow
def test_kill_in_the_middle_of_an_epoch(unbroken, tmp_path):
    run = tmp_path / "killed"

    def start(resume):
        source = SCRIPT.format(tests=os.path.dirname(__file__), run=str(run), resume=resume)
        return subprocess.Popen([sys.executable, "-c", source])

    process = start(False)
    while not checkpoint.listed(run / "checkpoints"):
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert start(True).wait() == 0
    resumed = models.load_network(run, weights="last")
    worst = max(
        np.abs(a - b).max()
        for a, b in zip(resumed.get_weights(), unbroken.network.get_weights(), strict=True)
    )
    print("largest difference of a weight:", worst)
    assert worst == 0 or keras.config.backend() != "tensorflow"
