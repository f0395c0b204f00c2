"""Recipes for MNIST."""

from sharedkeras.recipes.recipe import Recipe

_PAPER = {
    "dataset": "mnist",
    "model": "cnn",
    "epsilon": 0.3,
    "step_size": 0.01,
    "attack_steps": 40,
    "epochs": 100,
    "learning_rate": 0.01,
    "drops": (55, 75, 90),
    "weight_decay": 5e-4,
}

RECIPES = (
    Recipe(
        name="quickstart",
        source="not in the paper: Table 4 cut to minutes on two cores, by Adam and PGD-7",
        dataset="mnist-mini",
        model="cnn",
        epsilon=0.3,
        step_size=0.075,
        attack_steps=7,
        epochs=6,
        optimizer="adam",
        learning_rate=1e-3,
        drops=(5,),
        weight_decay=0.0,
        beta=1.0,
        validation_size=500,
        validation_examples=200,
    ),
    Recipe(
        name="mnist-cnn-shared",
        source="Table 3, column Ours, MNIST; alpha, beta, lambda of section 4.3",
        **_PAPER,
    ),
    Recipe(
        name="mnist-cnn-shared-cpu",
        source="not in the paper: Table 4 cut to an hour on two cores, by Adam and PGD-10",
        dataset="mnist",
        model="cnn",
        epsilon=0.3,
        step_size=0.05,
        attack_steps=10,
        epochs=12,
        optimizer="adam",
        learning_rate=1e-3,
        drops=(9,),
        weight_decay=0.0,
        beta=1.0,
    ),
    Recipe(
        name="mnist-cnn-standard",
        source="Table 4, row Standard, MNIST; the schedule of Table 3's column Ours",
        objective="standard",
        latent=False,
        **_PAPER,
    ),
)
