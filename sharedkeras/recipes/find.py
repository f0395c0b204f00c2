"""Recipes by name, and the one that fits a dataset, a network and an objective."""

import dataclasses

from sharedkeras import data, models, objectives
from sharedkeras.recipes import cifar10, cifar100, mnist

_RECIPES = {r.name: r for r in (*mnist.RECIPES, *cifar10.RECIPES, *cifar100.RECIPES)}


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
        dataset: str, a name of `sharedkeras.data`.
        model: str or None for the paper's network on this dataset.
        objective: str or None for the shared-information objective.

    Returns:
        `Recipe`; where none has this network, that of the dataset with the network replaced.

    Raises:
        ValueError: if the dataset, the network or the objective is unknown.
    """
    data.info(dataset)
    if model is not None:
        models.latent_dim_of(model)
    objective = objective or "shared-information"
    objectives.get(objective)
    fitting = [r for r in _RECIPES.values() if r.dataset == dataset]
    fitting.sort(key=lambda r: (r.objective != objective, model is not None and r.model != model))
    recipe = fitting[0]
    model = model or recipe.model
    if (recipe.objective, recipe.model) == (objective, model):
        return recipe
    return dataclasses.replace(
        recipe.with_objective(objective),
        model=model,
        name=f"{dataset}-{model}-{objective}",
        source=f"{recipe.name} with objective {objective} and network {model}",
    )
