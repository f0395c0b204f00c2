"""Recipes for CIFAR-10."""

from sharedkeras.recipes.recipe import Recipe

_PAPER = {
    "dataset": "cifar10",
    "epochs": 120,
    "learning_rate": 0.1,
    "schedule_options": {"drops": (75, 90, 100)},
    "weight_decay": 5e-4,
    "augment": True,
    # Section 4.2: PGD-10 with step 0.007. Table 3 says PGD-20.
    "attack_options": {"step_size": 0.007, "steps": 10},
}

RECIPES = (
    Recipe(
        name="cifar10-resnet18-shared",
        source="Table 3, column Ours, CIFAR-10; attack of section 4.2; alpha, beta, lambda of 4.3",
        model="resnet18",
        **_PAPER,
    ),
    Recipe(
        name="cifar10-wrn-34-10-shared",
        source="Table 3, column Ours, CIFAR-10; attack of section 4.2; alpha, beta, lambda of 4.3",
        model="wrn-34-10",
        validation_examples=200,  # not in the paper
        **_PAPER,
    ),
    Recipe(
        name="cifar10-resnet18-standard",
        source="Table 4, row Standard, CIFAR-10; the schedule of Table 3's column Ours",
        model="resnet18",
        objective="standard",
        latent=False,
        **_PAPER,
    ),
    Recipe(
        name="cifar10-wrn-34-10-standard",
        source="Table 5, row Standard, CIFAR-10; the schedule of Table 3's column Ours",
        model="wrn-34-10",
        objective="standard",
        latent=False,
        validation_examples=200,  # not in the paper
        **_PAPER,
    ),
)
