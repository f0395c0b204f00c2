"""One recipe for all methods on MNIST, so that they can be compared at little cost, and a longer one."""

from sharedkeras.recipes.recipe import Recipe

_HALF_HOUR = {
    "source": "not in the paper: one recipe for every method, half an hour on two cores",
    "dataset": "mnist",
    "model": "cnn",
    "epsilon": 0.3,
    "attack_options": {"step_size": 0.15, "steps": 3},
    # In the last epochs the steps are small enough to find what large ones step over.
    "curriculum": (
        (5 / 9, {"step_size": 0.05, "steps": 10}),
        (7 / 9, {"step_size": 0.02, "steps": 20}),
    ),
    "epochs": 9,
    "batch_size": 64,
    "optimizer": "adam",
    "learning_rate": 3e-3,
    "schedule": "one-cycle",
    "weight_decay": 0.0,
    "ema_decay": 0.999,
    "validation_examples": 1000,
}

_HOUR = {
    **_HALF_HOUR,
    "source": "not in the paper: the short recipe at 2.6 times its cost, most of it with small steps",
    "curriculum": (
        (0.4, {"step_size": 0.05, "steps": 10}),
        (0.7, {"step_size": 0.02, "steps": 20}),
    ),
    "epochs": 20,
}

RECIPES = (
    Recipe(name="mnist-cnn-standard-short", objective="standard", latent=False, **_HALF_HOUR),
    Recipe(
        name="mnist-cnn-trades-short",
        objective="trades",
        latent=False,
        objective_options={"beta": 6.0},
        **_HALF_HOUR,
    ),
    Recipe(name="mnist-cnn-mart-short", objective="mart", latent=False, **_HALF_HOUR),
    Recipe(
        name="mnist-cnn-mma-short",
        objective="mma",
        latent=False,
        objective_options={"largest": 0.45 / 0.3},
        # MMA's steps are relative to each example's own ball.
        **{
            **_HALF_HOUR,
            "attack_options": {"steps": 3},
            "curriculum": ((5 / 9, {"steps": 10}), (7 / 9, {"steps": 20})),
        },
    ),
    Recipe(name="mnist-cnn-shared-short", objective_options={"beta": 1.0}, **_HALF_HOUR),
    Recipe(
        name="mnist-cnn-trades-hour",
        objective="trades",
        latent=False,
        objective_options={"beta": 6.0},
        **_HOUR,
    ),
    Recipe(name="mnist-cnn-shared-hour", objective_options={"beta": 1.0}, **_HOUR),
)
