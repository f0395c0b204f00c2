"""Compares networks of the zoo that one recipe has made by several objectives.

    python -m benchmarks.training.methods --out=benchmarks/results/mnist_methods.md \
        mnist-cnn-standard-short mnist-cnn-trades-short mnist-cnn-shared-short

Every figure is read from the cards, which must be on the same images in the same ball. What differs
between the recipes beside the objective is written under the table.
"""

import dataclasses
import pathlib

from absl import app, flags

import zoo
from sharedkeras.files import write_atomically
from sharedkeras.recipes.recipe import Recipe

flags.DEFINE_string("out", None, "Markdown file to write; printed in any case.")
FLAGS = flags.FLAGS

COLUMNS = {"PGD-20 %": "pgd20", "PGD-40 %": "pgd40", "C&W %": "cw"}
_IMAGES = ("n", "split", "dataset", "norm", "epsilon", "subset", "subset_seed")
_OF_OBJECTIVE = {"name", "source", "objective", "objective_options", "latent"}


def images(evidence):
    """Return what decides the images and the ball of a judgement."""
    told = {**evidence["settings"], **evidence}
    return {name: told.get(name) for name in _IMAGES}


def row(card):
    """Return a network's line of the table.

    Raises:
        ValueError: if the card lacks AutoAttack or one of the other attacks.
    """
    own, accuracy = card["evaluation"], {}
    for further in card.get("further_evaluations", ()):
        accuracy |= further["accuracy"]
    lacking = sorted(set(COLUMNS.values()) - set(accuracy))
    if own["settings"].get("version") != "standard" or lacking:
        raise ValueError(
            "Expected a card with AutoAttack's standard and further reports of "
            f"{sorted(COLUMNS.values())}. Received: {card['name']}, which lacks "
            f"{lacking or ['standard']}"
        )
    training = card["training"]
    return (
        training["recipe"]["objective"],
        f"`{card['name']}`",
        f"{training['epochs']}",
        f"{training['seconds'] / 60:.0f}",
        training["hardware"] or "not told",
        f"{100 * own['clean']:.1f}",
        *(f"{100 * accuracy[name]:.1f}" for name in COLUMNS.values()),
        f"{100 * own['robust']:.1f}",
    )


def differences(cards):
    """Return a line for every field of the recipes that is not the same in all."""
    # A card may be older than a field, which then was what it is by default.
    usual = {field.name: field.default for field in dataclasses.fields(Recipe)}
    recipes = [usual | card["training"]["recipe"] for card in cards]
    recipes = {recipe["objective"]: recipe for recipe in recipes}
    lines = []
    for field in sorted(set().union(*recipes.values()) - _OF_OBJECTIVE):
        values = {name: repr(recipe.get(field)) for name, recipe in recipes.items()}
        if len(set(values.values())) > 1:
            lines.append(f"- `{field}`: " + "; ".join(f"{k} {v}" for k, v in values.items()))
    return lines


def page(cards):
    """Return the table and what it rests on, as Markdown.

    Raises:
        ValueError: if the cards are not on the same images.
    """
    on = images(cards[0]["evaluation"])
    for card in cards:
        for evidence in (card["evaluation"], *card.get("further_evaluations", ())):
            if images(evidence) != on:
                raise ValueError(
                    f"Expected all to be judged on {on}. Received: {images(evidence)} of {card['name']}"
                )
    head = ("objective", "network", "epochs", "minutes", "on", "natural %", *COLUMNS, "AutoAttack %")
    lines = [head, ("---",) * len(head), *map(row, cards)]
    text = [f"| {' | '.join(line)} |" for line in lines]
    text += ["", ", ".join(f"{k} {v}" for k, v in on.items() if v is not None) + "."]
    text += ["Minutes are of training, validation included, on the hardware beside them.", ""]
    if lines := differences(cards):
        text += ["Beside the objective and its options the recipes differ in:", "", *lines]
    else:
        text += ["The recipes differ in the objective and its options only."]
    return "\n".join(text) + "\n"


def main(argv):
    """Print the table, and write the file that is asked for."""
    if len(argv) < 2:
        raise app.UsageError("Expected names of networks of the zoo.")
    text = page([zoo.card(name) for name in argv[1:]])
    print(text, end="")
    if FLAGS.out:
        path = pathlib.Path(FLAGS.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)


if __name__ == "__main__":
    app.run(main)
