"""The examples in docstrings: what they say is what comes out."""

import doctest
import importlib

import pytest

MODULES = [
    "sharedkeras.attacks.attack",
    "sharedkeras.attacks.steps",
    "sharedkeras.evaluation.suites.named",
    "sharedkeras.losses.cross_entropy",
    "sharedkeras.losses.divergence",
    "sharedkeras.losses.hsic",
    "sharedkeras.losses.margin",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
