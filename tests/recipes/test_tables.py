"""Recipes of the paper's tables: what each has of the table, and that it differs in nothing else."""

import dataclasses

import numpy as np
import pytest
from keras import ops

from sharedkeras import attacks, recipes, training
from sharedkeras.recipes import baselines, variations


def differences(name, base):
    """Returns the fields that differ, options one by one; the names and sources aside."""
    one, two = (dataclasses.asdict(recipes.get(n)) for n in (name, base))
    changes = {k: v for k, v in one.items() if v != two[k] and k not in ("name", "source")}
    options = changes.pop("objective_options", {})
    return {**changes, **{k: v for k, v in options.items() if two["objective_options"].get(k) != v}}


VARIATIONS = {
    "share-40": {"train_share": 0.4},
    "share-60": {"train_share": 0.6},
    "share-80": {"train_share": 0.8},
    "without-ce-adv": {"alpha": 0.0},
    "without-ce-clean": {"alpha": 1.0},
    "without-skl": {"beta": 0.0},
    "without-both": {"beta": 0.0, "lam": 0.0},
    "without-hsic": {"lam": 0.0},
    "stopped": {"stop_after": 101},
    "alpha-10": {"alpha": 0.1},
    "alpha-30": {"alpha": 0.3},
    "alpha-70": {"alpha": 0.7},
    "alpha-90": {"alpha": 0.9},
    "lam-3e-3": {"lam": 3e-3},
    "lam-5e-3": {"lam": 5e-3},
    "lam-7e-3": {"lam": 7e-3},
    "lam-1e-2": {"lam": 1e-2},
    "mine": {"estimator": "mine", "lam": 0.01},
    "mige": {"estimator": "mige", "lam": 0.01},
    "softmax-lam-1e-1": {"location": "softmax", "lam": 0.1, "latent": False},
    "softmax-lam-1e-2": {"location": "softmax", "lam": 0.01, "latent": False},
    "softmax-lam-1e-3": {"location": "softmax", "lam": 0.001, "latent": False},
}


@pytest.mark.parametrize(("suffix", "expected"), VARIATIONS.items())
def test_a_variation_differs_from_the_base_in_what_its_table_names(suffix, expected):
    base = "cifar10-resnet18-shared"
    assert differences(f"{base}-{suffix}", base) == expected


def test_variations_of_other_methods_and_networks():
    for method, epoch in (("standard", 76), ("trades", 76), ("mma", 76), ("mart", 91)):
        base = f"cifar10-resnet18-{method}"
        assert differences(f"{base}-stopped", base) == {"stop_after": epoch}
    for method in ("standard", "trades", "mart"):
        base = f"cifar10-resnet18-{method}"
        for percent in (40, 60, 80):
            assert differences(f"{base}-share-{percent}", base) == {"train_share": percent / 100}
    base = "cifar10-wrn-34-10-shared"
    expected = {"location": "softmax", "latent": False}
    assert differences(f"{base}-softmax", base) == expected
    representation = {"attack": "representation", "attack_options": {"steps": 20}, "epsilon": 10 / 255}
    for method in ("standard", "trades", "mart", "shared"):
        base = f"cifar10-resnet18-{method}"
        assert differences(f"{base}-representation", base) == representation
    # Nothing else is there: 4 of Table 7, 12 of Table 9, 5 of 10, 5 of 11, 8 of 12, 2 of 13, 4 of 14.
    assert len(variations.RECIPES) == 4 + 12 + 5 + 5 + 8 + 2 + 4


TABLE_3 = {  # objective, steps, weight decay, rate, drops, epochs
    "mnist-cnn-trades": ("trades", 40, 5e-4, 0.01, (55, 75, 90), 100),
    "mnist-cnn-mart": ("mart", 40, 5e-4, 0.01, (20, 40), 50),
    "mnist-cnn-mma": ("mma", 40, 5e-4, 1e-4, (), 50),
    "cifar10-resnet18-trades": ("trades", 10, 2e-4, 0.1, (75, 90), 120),
    "cifar10-resnet18-mart": ("mart", 10, 3.5e-4, 0.1, (75, 90), 120),
    "cifar10-resnet18-mma": ("mma", 10, 2e-4, 0.3, (75, 90), 120),
    "cifar10-wrn-34-10-trades": ("trades", 10, 2e-4, 0.1, (75, 90), 120),
    "cifar10-wrn-34-10-mart": ("mart", 10, 3.5e-4, 0.1, (75, 90), 120),
    "cifar100-wrn-34-10-trades": ("trades", 20, 2e-4, 0.1, (75, 90), 120),
    "cifar100-wrn-34-10-mart": ("mart", 20, 3.5e-4, 0.1, (75, 90), 120),
    "cifar100-resnet18-standard": ("standard", 20, 5e-4, 0.1, (75, 90, 100), 120),
    "cifar100-resnet18-trades": ("trades", 20, 2e-4, 0.1, (75, 90), 120),
    "cifar100-resnet18-mart": ("mart", 20, 3.5e-4, 0.1, (75, 90), 120),
    "cifar100-resnet18-mma": ("mma", 20, 2e-4, 0.3, (75, 90), 120),
}


@pytest.mark.parametrize("name", [recipe.name for recipe in baselines.RECIPES])
def test_baselines_have_the_numbers_of_table_3(name):
    recipe = recipes.get(name)
    drops = recipe.schedule_options.get("drops", ())
    numbers = (recipe.weight_decay, recipe.learning_rate, drops, recipe.epochs)
    assert (recipe.objective, recipe.make_attack().steps, *numbers) == TABLE_3[name]
    assert recipe.batch_size == 128
    assert recipe.epsilon == (0.3 if recipe.dataset == "mnist" else 0.031)
    assert (recipe.dataset, recipe.model) == tuple(name.rsplit("-", 1)[0].split("-", 1))
    assert recipe.optimizer == ("adam" if name == "mnist-cnn-mma" else "sgd")
    assert not recipe.latent


@pytest.mark.parametrize("method", ["standard", "trades", "mart", "shared"])
def test_table_7_trains_against_the_attack_on_the_last_layer(method):
    recipe = recipes.get(f"cifar10-resnet18-{method}-representation")
    attack = recipe.make_objective().attack
    assert isinstance(attack, attacks.Representation)
    assert (attack.layer, attack.steps, attack.epsilon) == (None, 20, pytest.approx(10 / 255))


def test_a_run_is_validated_in_the_norm_of_its_attack():
    base = dataclasses.replace(recipes.get("mnist-cnn-standard"), validation_queries=50)
    for changes, norm in (
        ({}, "linf"),
        ({"attack_options": {"norm": "l2", "steps": 3}, "epsilon": 1.5}, "l2"),
        ({"attack": "cw", "attack_options": {}, "epsilon": 1.5}, "l2"),
    ):
        recipe = dataclasses.replace(base, **changes)
        found = recipe.make_validation_attacks()
        assert sorted(found) == ["pgd", "square"]
        assert {(a.norm, a.epsilon) for a in found.values()} == {(norm, recipe.epsilon)}
        assert recipe.make_attack().norm == recipe.norm == norm
        # What a card's evidence is compared with.
        assert recipe.attack_options.get("norm", "linf") == norm


def test_margins_and_rates_of_mma():
    for name, largest in (("mnist-cnn-mma", 0.45), ("cifar10-resnet18-mma", 12 / 255)):
        objective = recipes.get(name).make_objective()
        assert objective.largest * objective.attack.epsilon == pytest.approx(largest, rel=1e-6)
        assert objective.attack.step_size is None
    rate = recipes.get("cifar10-resnet18-mma").make_learning_rate(steps_per_epoch=1)
    found = [float(ops.convert_to_numpy(rate(epoch))) for epoch in (0, 74, 75, 89, 90, 119)]
    np.testing.assert_allclose(found, [0.3, 0.3, 0.09, 0.09, 0.003, 0.003], rtol=1e-5)


def test_a_term_that_is_off_has_no_ramp():
    assert recipes.get("cifar10-resnet18-shared-without-skl").make_objective().beta == 0.0


def test_a_stopped_run_keeps_the_schedules_of_the_whole(tmp_path):
    stopped = recipes.get("cifar10-resnet18-shared-stopped")
    assert stopped.trained_epochs == 101
    assert stopped.make_objective().beta == training.ExponentialRamp(1e-3, 4.0, 10, 100)
    recipe = dataclasses.replace(
        recipes.get("quickstart").with_objective("standard"),
        epochs=3,
        stop_after=1,
        attack_steps=1,
        step_size=0.3,
        batch_size=50,
        validation_size=9900,
        validation_examples=0,
    )
    run = training.fit(recipe, tmp_path / "run", verbose=0)
    assert run.updates == 2
    with pytest.raises(ValueError, match="Received: stop_after=4"):
        dataclasses.replace(recipe, stop_after=4)
