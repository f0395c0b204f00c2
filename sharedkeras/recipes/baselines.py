"""The baselines of the paper's Table 3, one for each column, data set and network."""

from sharedkeras.recipes import cifar10, cifar100, mnist
from sharedkeras.recipes.recipe import Recipe

# Attacks are those of the text, section 4.2 and 4.3; each objective starts and aims its own.
_MNIST = {**mnist.PAPER, "latent": False}
_CIFAR10 = {**cifar10.PAPER, "latent": False}
_CIFAR100 = {**cifar100.PAPER, "latent": False}

# Section 4.2: baselines have the parameters of their own papers, which the objectives' docstrings give.
_TRADES = {"objective": "trades", "objective_options": {"beta": 6.0}}
_MART = {"objective": "mart", "objective_options": {"beta": 5.0}}
_MART_WIDE = {"objective": "mart", "objective_options": {"beta": 6.0}}
_TRADES_CIFAR = {"weight_decay": 2e-4, "schedule_options": {"drops": (75, 90)}}
_MART_CIFAR = {"weight_decay": 3.5e-4, "schedule_options": {"drops": (75, 90)}}
# Not in the paper: steps relative to each example's own ball, which MMA needs. 12/255: largest margin.
_MMA_CIFAR = {
    "objective": "mma",
    "objective_options": {"largest": 12 / 255 / 0.031},
    "attack_options": {"steps": 10},
    "weight_decay": 2e-4,
    "learning_rate": 0.3,
    "schedule_options": {"drops": (75, 90), "factor": (0.3, 1 / 30)},
}
_WIDE = {"model": "wrn-34-10", "validation_examples": 200}  # 200: not in the paper

RECIPES = (
    Recipe(
        name="mnist-cnn-trades",
        source="Table 3, column TRADES, MNIST; beta of TRADES' own paper",
        **{**_MNIST, "objective": "trades", "objective_options": {"beta": 1.0}},
    ),
    Recipe(
        name="mnist-cnn-mart",
        source="Table 3, column MART, MNIST; beta is not in the paper: MART's 5",
        **{**_MNIST, **_MART, "epochs": 50, "schedule_options": {"drops": (20, 40)}},
    ),
    Recipe(
        name="mnist-cnn-mma",
        source="Table 3, column MMA, MNIST; steps are relative to each example's margin",
        **{
            **_MNIST,
            "objective": "mma",
            "objective_options": {"largest": 0.45 / 0.3},
            "attack_options": {"steps": 40},
            "epochs": 50,
            "optimizer": "adam",
            "learning_rate": 1e-4,
            "schedule_options": {},
        },
    ),
    Recipe(
        name="cifar10-resnet18-trades",
        source="Table 3, column TRADES, CIFAR-10; PGD-10 of section 4.2; beta of TRADES' own paper",
        model="resnet18",
        **{**_CIFAR10, **_TRADES, **_TRADES_CIFAR},
    ),
    Recipe(
        name="cifar10-resnet18-mart",
        source="Table 3, column MART, CIFAR-10; PGD-10 of section 4.2; beta of MART's own paper",
        model="resnet18",
        **{**_CIFAR10, **_MART, **_MART_CIFAR},
    ),
    Recipe(
        name="cifar10-resnet18-mma",
        source="Table 3, column MMA, CIFAR-10; PGD-10 of section 4.2, steps relative to each margin",
        model="resnet18",
        **{**_CIFAR10, **_MMA_CIFAR},
    ),
    Recipe(
        name="cifar10-wrn-34-10-trades",
        source="Table 3, column TRADES, CIFAR-10; PGD-10 of section 4.3; beta of TRADES' own paper",
        **{**_CIFAR10, **_TRADES, **_TRADES_CIFAR, **_WIDE},
    ),
    Recipe(
        name="cifar10-wrn-34-10-mart",
        source="Table 3, column MART, CIFAR-10; PGD-10 of section 4.3; beta of MART's own paper",
        **{**_CIFAR10, **_MART_WIDE, **_MART_CIFAR, **_WIDE},
    ),
    Recipe(
        name="cifar100-wrn-34-10-trades",
        source="Table 3, column TRADES, CIFAR-100; PGD-20; beta of TRADES' own paper, for CIFAR-10",
        **{**_CIFAR100, **_TRADES, **_TRADES_CIFAR, **_WIDE},
    ),
    Recipe(
        name="cifar100-wrn-34-10-mart",
        source="Table 3, column MART, CIFAR-100; PGD-20; beta of MART's own paper, for CIFAR-10",
        **{**_CIFAR100, **_MART_WIDE, **_MART_CIFAR, **_WIDE},
    ),
    Recipe(
        name="cifar100-resnet18-standard",
        source="as the recipe cifar100-wrn-34-10-standard; Table 3 names ResNet-18 too",
        model="resnet18",
        objective="standard",
        **_CIFAR100,
    ),
    Recipe(
        name="cifar100-resnet18-trades",
        source="Table 3, column TRADES, CIFAR-100; PGD-20; beta of TRADES' own paper, for CIFAR-10",
        model="resnet18",
        **{**_CIFAR100, **_TRADES, **_TRADES_CIFAR},
    ),
    Recipe(
        name="cifar100-resnet18-mart",
        source="Table 3, column MART, CIFAR-100; PGD-20; beta of MART's own paper, for CIFAR-10",
        model="resnet18",
        **{**_CIFAR100, **_MART, **_MART_CIFAR},
    ),
    Recipe(
        name="cifar100-resnet18-mma",
        source="Table 3, column MMA, CIFAR-100; PGD-20, steps relative to each margin",
        model="resnet18",
        **{**_CIFAR100, **_MMA_CIFAR, "attack_options": {"steps": 20}},
    ),
)
