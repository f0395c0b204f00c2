"""Recipes: training runs as frozen values, each citing where its numbers come from."""

from sharedkeras.recipes.find import find, get, names
from sharedkeras.recipes.recipe import Recipe

__all__ = ["Recipe", "find", "get", "names"]
