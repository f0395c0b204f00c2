"""Recipes for CIFAR-100."""

from sharedkeras.recipes.recipe import Recipe

PAPER = {
    "dataset": "cifar100",
    "epochs": 120,
    "learning_rate": 0.1,
    "schedule_options": {"drops": (75, 90, 100)},
    "weight_decay": 5e-4,
    "augment": True,
    "attack_options": {"step_size": 0.007, "steps": 20},
    "validation_examples": 200,  # not in the paper
}

# The warm-up is ours, as in the recipes for CIFAR-10.
_SHARED = {
    **PAPER,
    "objective_options": {"beta": 6.0},
    "schedule_options": {**PAPER["schedule_options"], "warmup": 1.0},
}

RECIPES = (
    Recipe(
        name="cifar100-wrn-34-10-shared",
        source="Table 3, column Ours, CIFAR-100; PGD-20, alpha, beta, lambda of section 4.3; an "
        "epoch of warm-up, which is ours",
        model="wrn-34-10",
        **_SHARED,
    ),
    Recipe(
        name="cifar100-resnet18-shared",
        source="as the WRN-34-10 of section 4.3; Table 3 names ResNet-18 too; an epoch of warm-up, "
        "which is ours",
        model="resnet18",
        **_SHARED,
    ),
    Recipe(
        name="cifar100-wrn-34-10-standard",
        source="Table 5, row Standard, CIFAR-100; the schedule of Table 3's column Ours",
        model="wrn-34-10",
        objective="standard",
        latent=False,
        **PAPER,
    ),
    Recipe(
        name="cifar100-resnet18-w32-nfgsm",
        source="not in the paper: standard training by N-FGSM with an average of the weights; 5 forward "
        "passes an image",
        dataset="cifar100",
        model="resnet18-w32",
        objective="standard",
        attack="n-fgsm",
        latent=False,
        epsilon=8 / 255,
        epochs=60,
        schedule="one-cycle",
        schedule_options={"rise": 0.3},
        ema_decay=0.999,
        augment=True,
        precision="mixed_bfloat16",
    ),
)
