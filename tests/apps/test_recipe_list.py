"""What `--list_recipes` reads from the source is what the library says of its recipes."""

import dataclasses

import pytest
from app_support import recipe_list, registered

from sharedkeras import data, models, objectives, recipes
from sharedkeras.attacks import registry as training_attacks
from sharedkeras.models import FrozenClassifier

VALUES = {values["name"]: values for values in registered.recipe_values()}


def test_values_are_those_of_the_library():
    assert list(VALUES) and sorted(VALUES) == sorted(recipes.names())
    said = recipe_list.text()
    for name, values in VALUES.items():
        recipe = dataclasses.asdict(recipes.get(name))
        assert {k: recipe[k] for k in values} == values
        assert recipe["source"] in said


def read(recipe):
    """Return a recipe as the list sees it."""
    return dataclasses.asdict(recipe)


def test_gradients_are_those_of_the_attacks():
    found = [recipes.get(name) for name in recipes.names()]
    paper = recipes.get("mnist-cnn-shared")
    found += [paper.with_objective(name) for name in objectives.names()]
    known = training_attacks.names()
    found += [dataclasses.replace(paper, attack=name, attack_options={}) for name in known]
    several = ("pgd", "cw", "representation")
    found += [dataclasses.replace(paper, attack=n, attack_options={"steps": 3}) for n in several]
    stages = ((0.5, {"steps": 7}), (0.9, {"step_size": 0.02}))
    found.append(dataclasses.replace(paper, curriculum=stages, natural_share=0.25, epochs=11))
    for recipe in found:
        curriculum = recipe.make_curriculum()
        expected = sum(curriculum.at(epoch).gradients for epoch in range(recipe.trained_epochs))
        assert recipe_list.gradients(read(recipe)) == expected, recipe


@pytest.mark.parametrize(
    ("objective", "options", "expected"),
    [
        # A training step costs 3, an attack gradient 2: the figures of the literature.
        ("standard", {"attack_options": {"steps": 10}}, 23),
        ("standard", {"attack": "n-fgsm", "attack_options": {}}, 5),
        ("gat", {"attack_options": {}}, 9),
        ("trades", {"attack_options": {"steps": 10}}, 27),
        ("shared-information", {"attack_options": {"steps": 10}}, 26),
        ("shared-information", {"attack_options": {"steps": 10}, "awp_gamma": 0.01}, 32),
        ("shared-information", {"attack_options": {"steps": 10}, "natural_share": 0.5}, 16),
    ],
)
def test_passes(objective, options, expected):
    recipe = recipes.get("cifar10-resnet18-shared").with_objective(objective)
    recipe = dataclasses.replace(recipe, epochs=100, **options)
    assert recipe_list.passes(read(recipe)) == 100 * expected


@pytest.mark.parametrize("name", ["cnn", "resnet18-w24", "vgg16"])
def test_multiplications_are_those_of_the_network(name):
    shape = (28, 28, 1) if name == "cnn" else (32, 32, 3)
    network = models.build(name, input_shape=shape, num_classes=10)
    assert FrozenClassifier(network).multiply_adds == recipe_list.MULTIPLY_ADDS[name]


def test_queries_are_those_of_the_objectives():
    made = {name: objectives.get(name)() for name in objectives.names()}
    queries = {name: o.queries for name, o in made.items() if isinstance(o, objectives.MakesQueries)}
    assert queries == recipe_list.QUERIES


def test_every_recipe_has_its_cost_and_what_is_known_of_it():
    assert {v["model"] for v in VALUES.values()} <= set(recipe_list.MULTIPLY_ADDS)
    assert set(recipe_list.IMAGES) == set(data.names())
    said = recipe_list.text()
    ours = said.split("cifar10-resnet18-shared\n")[1].split("\n\n")[0]
    # 2 FLOP x 555,422,720 x 26 x 120 x 49,000
    assert "26 forward passes an image and epoch, 120 epochs of 49,000 images: about 1.7e+17" in ours
    assert "81.87 natural, 57.40 under the paper's AutoAttack (Table 4)" in ours
    card = said.split("cifar10-resnet18-nfgsm\n")[1].split("\n\n")[0]
    assert "80.30 natural, 43.80 under AutoAttack standard (card cifar10-resnet18-nfgsm" in card
