"""The recipes as a list: where each comes from, what it costs, what it is expected to reach."""

from app_support import registered

MULTIPLY_ADDS = {
    "cnn": 9_952_400,
    "preact-resnet18": 555_422_720,
    "resnet18": 555_422_720,
    "resnet18-w24": 78_522_240,
    "resnet18-w32": 139_322_368,
    "vgg16": 313_201_664,
    "wrn-34-10": 6_658_906_368,
}
"""Multiplications of one image's forward pass, as `FrozenClassifier.multiply_adds` counts them."""

IMAGES = {"mnist-mini": 10_000, "mnist": 60_000, "cifar10": 50_000, "cifar100": 50_000}
"""Training images."""

_VIEWS = {"standard": 1}  # The others show the network the clean image too.
QUERIES = {"trades": 1, "gat": 1, "mma": 11}
"""Forward passes that craft, beside the attack's own, where an objective has any (`MakesQueries`)."""

_OWN_ATTACK = {"gat": "fgsm"}  # The others begin with PGD.
_MANY_STEPS = "pgd"
STEPS = {"pgd": 10, "cw": 20, "representation": 20}
"""Steps of the attacks that make several, unless a recipe says otherwise."""
_AT_START = {"representation": 1}  # Gradients before the first step.
_ONE = {"none": 0, "fgsm": 1, "n-fgsm": 1}

_PAPER = {
    ("mnist", "cnn", "standard"): ("4", 99.16, 90.59),
    ("mnist", "cnn", "trades"): ("4", 99.14, 92.90),
    ("mnist", "cnn", "mma-simplified"): ("4", 99.12, 91.02),
    ("mnist", "cnn", "mart"): ("4", 99.28, 92.60),
    ("mnist", "cnn", "shared-information"): ("4", 99.10, 95.76),
    ("cifar10", "resnet18", "standard"): ("4", 82.59, 42.11),
    ("cifar10", "resnet18", "trades"): ("4", 81.83, 49.54),
    ("cifar10", "resnet18", "mma-simplified"): ("4", 82.28, 42.44),
    ("cifar10", "resnet18", "mart"): ("4", 81.57, 50.60),
    ("cifar10", "resnet18", "shared-information"): ("4", 81.87, 57.40),
    ("cifar10", "wrn-34-10", "standard"): ("5", 86.21, 47.04),
    ("cifar10", "wrn-34-10", "trades"): ("5", 85.73, 51.20),
    ("cifar10", "wrn-34-10", "mart"): ("5", 85.99, 53.20),
    ("cifar10", "wrn-34-10", "shared-information"): ("5", 86.25, 57.70),
    ("cifar100", "wrn-34-10", "standard"): ("5", 60.11, 21.58),
    ("cifar100", "wrn-34-10", "trades"): ("5", 56.97, 24.50),
    ("cifar100", "wrn-34-10", "mart"): ("5", 57.72, 27.10),
    ("cifar100", "wrn-34-10", "shared-information"): ("5", 60.66, 32.25),
}
"""Table of the paper, its natural accuracy and that under its AutoAttack, in percent."""

_OF_PAPER = ("Table 3,", "Table 4,", "Table 5,")


def gradients(recipe):
    """Count the input gradients that a recipe's attack takes of one image, over all epochs.

    Args:
        recipe: dict of a recipe's fields.

    Returns:
        int.
    """
    epochs, stages = recipe["epochs"], [(0, 0)]
    name = recipe["attack"] or _OWN_ATTACK.get(recipe["objective"], _MANY_STEPS)
    steps = _ONE.get(name)
    if steps is None:
        steps = recipe.get("attack_options", {}).get("steps", STEPS[name])
    more = _AT_START.get(name, 0)
    stages.append((round(recipe["natural_share"] * epochs), steps + more))
    for share, options in recipe.get("curriculum", ()):
        stages.append((round(share * epochs), options.get("steps", steps) + more))
    stages, trained = sorted(dict(stages).items()), _trained(recipe)
    ends = [*(begin for begin, _ in stages[1:]), epochs]
    return sum(
        max(0, min(end, trained) - begin) * count
        for end, (begin, count) in zip(ends, stages, strict=True)
    )


def _trained(recipe):
    """Return the epochs that are trained: schedules may be those of more."""
    return recipe["epochs"] if recipe["stop_after"] is None else recipe["stop_after"]


def passes(recipe):
    """Estimate what a recipe costs of one image: forward passes, over all epochs.

    An input gradient counts as two passes, a train step's pass with its weight gradients as three.

    Args:
        recipe: dict of a recipe's fields.

    Returns:
        int.
    """
    step = 3 * _VIEWS.get(recipe["objective"], 2) * (2 if recipe["awp_gamma"] else 1)
    step += QUERIES.get(recipe["objective"], 0)
    return 2 * gradients(recipe) + _trained(recipe) * step


def _cost(recipe):
    images = IMAGES[recipe["dataset"]] - recipe["validation_size"]
    images = round(images * recipe["train_share"])
    epochs = _trained(recipe)
    text = (
        f"{passes(recipe) / epochs:.0f} forward passes an image and epoch, {epochs} epochs of "
        f"{images:,} images"
    )
    if recipe["model"] in MULTIPLY_ADDS:
        flop = 2 * MULTIPLY_ADDS[recipe["model"]] * passes(recipe) * images
        text += f": about {flop:.1e} FLOP"
    return text


def _expected(recipe, cards):
    found = []
    for name, card in cards.items():
        if card["training"]["recipe"]["name"] == recipe["name"]:
            judged = card["evaluation"]
            attack = judged["settings"].get("version")
            attack = "the worst of its attacks" if attack is None else f"AutoAttack {attack}"
            found.append(
                f"{100 * judged['clean']:.2f} natural, {100 * judged['robust']:.2f} under {attack} "
                f"(card {name}, n = {judged['n']:,})"
            )
    key = recipe["dataset"], recipe["model"], recipe["objective"]
    if key in _PAPER and recipe["source"].startswith(_OF_PAPER):
        table, natural, robust = _PAPER[key]
        found.append(f"{natural:.2f} natural, {robust:.2f} under the paper's AutoAttack (Table {table})")
    return "; ".join(found) or "not known"


def text():
    """Lay out all recipes for a terminal."""
    import zoo

    cards = {name: zoo.card(name) for name in zoo.names()}
    lines = [
        "Costs are estimates of training alone, from the multiplications of convolutions and dense "
        "layers:",
        "an input gradient counts as two forward passes, a training step's pass as three, a "
        "multiplication as two FLOP.",
    ]
    for recipe in registered.recipe_values():
        lines += [
            "",
            recipe["name"],
            f"    trains    {recipe['model']} on {recipe['dataset']} by {recipe['objective']}",
            f"    source    {recipe['source']}",
            f"    cost      {_cost(recipe)}",
            f"    expected  {_expected(recipe, cards)}",
        ]
    return "\n".join(lines)
