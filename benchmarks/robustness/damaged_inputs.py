"""Gives the library damaged and hostile inputs, and counts what becomes of them.

Each input must be refused, in a sentence that names the file and what was expected, or give what the
undamaged one gives. A module in `damage/groups` is a group; further ones are found by themselves.

    python benchmarks/robustness/damaged_inputs.py
    python benchmarks/robustness/damaged_inputs.py --groups=cards,publish --say
"""

import collections
import importlib
import pathlib
import pkgutil
import sys
import tempfile

from absl import app, flags
from damage import groups
from damage.case import OUTCOMES, judge

flags.DEFINE_list("groups", None, "Groups by name; default: all.")
flags.DEFINE_bool("say", False, "Show what is said of each input.")
FLAGS = flags.FLAGS


def group_names():
    """List the groups."""
    return sorted(module.name for module in pkgutil.iter_modules(groups.__path__))


def group_cases(name, folder):
    """Return the cases of a group.

    Args:
        name: one of `group_names()`.
        folder: path of an empty directory for their files.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return importlib.import_module(f"damage.groups.{name}").cases(folder)


def main(_):
    """Print the table; exit code 1 where an input is taken wrongly, refused unclearly, or crashes."""
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in FLAGS.groups or group_names():
            counts = table[name] = collections.Counter()
            for case in group_cases(name, pathlib.Path(folder) / name):
                outcome, said = judge(case)
                counts[outcome] += 1
                if FLAGS.say or outcome in OUTCOMES[2:]:
                    print(f"{name}: {case.name}: {outcome}: {said}")
    table["all"] = sum(table.values(), collections.Counter())
    print(f"\n{'group':<14}{'inputs':>8}" + "".join(f"{outcome:>17}" for outcome in OUTCOMES))
    for name, counts in table.items():
        print(f"{name:<14}{counts.total():>8}" + "".join(f"{counts[o]:>17}" for o in OUTCOMES))
    if any(table["all"][outcome] for outcome in OUTCOMES[2:]):
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
