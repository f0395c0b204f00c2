"""Recipes by name, and the one that fits a dataset, a network and an objective."""

import dataclasses
import pathlib

from sharedkeras import data, models, objectives
from sharedkeras.recipes import baselines, cifar10, cifar100, mnist, mnist_short, variations

_FOR_OTHERS = "cifar10"
_FILES = (mnist, cifar10, cifar100, baselines, variations, mnist_short)
_RECIPES = {recipe.name: recipe for module in _FILES for recipe in module.RECIPES}


def names():
    """List the recipes' names."""
    return list(_RECIPES)


def get(name):
    """Find a recipe by its name.

    Args:
        name: one of `names()`.

    Returns:
        `Recipe`.

    Raises:
        ValueError: if there is no such recipe.
    """
    if name not in _RECIPES:
        raise ValueError(f"Unknown recipe; known are {names()}. Received: recipe={name!r}")
    return _RECIPES[name]


def find(dataset, model=None, objective=None):
    """Find the first recipe for a dataset, fitted to a network and an objective.

    Args:
        dataset: str, what `sharedkeras.data.load` takes; data of one's own gets the recipe of CIFAR-10.
        model: str or None for the paper's network on this dataset.
        objective: str or None for the shared-information objective.

    Returns:
        `Recipe`; where none has this network, that of the dataset with the network replaced.

    Raises:
        ValueError: if the dataset, the network or the objective is unknown.
    """
    own = dataset not in data.names()
    if own:
        data.info(dataset)
    if model is not None:
        models.latent_dim_of(model)
    objective = objective or "shared-information"
    objectives.get(objective)
    fitting = [r for r in _RECIPES.values() if r.dataset == (_FOR_OTHERS if own else dataset)]
    fitting.sort(key=lambda r: (r.objective != objective, model is not None and r.model != model))
    recipe = fitting[0]
    model = model or recipe.model
    if not own and (recipe.objective, recipe.model) == (objective, model):
        return recipe
    return dataclasses.replace(
        recipe.with_objective(objective),
        dataset=dataset,
        model=model,
        name=f"{pathlib.PurePath(dataset).stem}-{model.replace(':', '-')}-{objective}",
        source=f"not in the paper: {recipe.name} with objective {objective} and network {model}"
        + (" on other data" if own else ""),
    )
