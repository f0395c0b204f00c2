"""Lists the networks of the zoo, or shows one card.

python apps/browse_zoo.py
python apps/browse_zoo.py --name=mnist-cnn-shared
python apps/browse_zoo.py --readme=README.md   # writes the table into the file
"""

import json
import pathlib

from absl import flags
from app_support import ending

flags.DEFINE_string("name", None, "Name of the network whose card is shown.")
flags.DEFINE_string("readme", None, "Markdown file whose zoo table is rewritten.")
FLAGS = flags.FLAGS

_BEGIN, _END = "<!-- zoo table: begin -->", "<!-- zoo table: end -->"


def _rows():
    import zoo

    for name in zoo.names():
        card = zoo.card(name)
        evidence = card["evaluation"]
        accuracy = {}
        for further in card.get("further_evaluations", ()):
            accuracy |= further["accuracy"]
        if evidence["settings"].get("version") == "standard":
            accuracy["**AutoAttack**"] = evidence["robust"]
        else:
            accuracy |= evidence["accuracy"]
        attacks = ", ".join(f"{k} {100 * v:.2f}" for k, v in accuracy.items())
        yield (
            f"`{name}`",
            card["dataset"],
            f"{card['norm']} {card['epsilon']:g}",
            f"{card['parameters']:,}",
            f"{evidence['n']:,}",
            f"{100 * evidence['clean']:.2f}",
            attacks,
        )


def table():
    """Return the zoo as a Markdown table; every figure comes from a card."""
    head = ("network", "dataset", "ball", "parameters", "n", "natural %", "under attack %")
    lines = [head, tuple("---" for _ in head), *_rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(_):
    """Print the table or a card, or rewrite the table in a file."""
    import zoo
    from sharedkeras import files

    if FLAGS.name is not None:
        print(json.dumps(zoo.card(FLAGS.name), indent=1))
        return
    if FLAGS.readme is None:
        print(table())
        return
    path = pathlib.Path(FLAGS.readme)
    text = path.read_text(encoding="utf-8")
    if _BEGIN not in text or _END not in text:
        raise ValueError(f"The file has no line {_BEGIN} and {_END}. Received: --readme={path}")
    before, rest = text.split(_BEGIN, 1)
    files.write_atomically(path, f"{before}{_BEGIN}\n{table()}\n{_END}{rest.split(_END, 1)[1]}")


if __name__ == "__main__":
    ending.run(main)
