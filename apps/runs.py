"""Lists the training runs of a directory and compares them.

python apps/runs.py                              # those in runs/
python apps/runs.py runs/a runs/b --html=compared.html
python apps/runs.py --differences                # which fields of the recipes differ

It removes nothing.
"""

import csv
import io
import math
import pathlib

from absl import flags
from app_support import ending, run_dirs, start_up

from sharedkeras.durations import duration

flags.DEFINE_string("html", None, "File for a page with the table and the curves.")
flags.DEFINE_bool("differences", False, "Show the fields of the recipes that differ.")
FLAGS = flags.FLAGS

HEAD = ("run", "recipe", "epochs", "natural %", "robust %", "at epoch", "time", "judged")


def directories(names):
    """Return the directories of runs that are named, or those in `runs/`.

    Args:
        names: paths of runs, or of directories that hold some.

    Raises:
        FileNotFoundError: if a path is no run and holds none.
    """
    found = []
    for name in names or [run_dirs.RUNS]:
        path = pathlib.Path(name)
        inside = sorted(p.parent for p in path.glob("*/config.json"))
        mine = [path] if (path / "config.json").is_file() else inside
        if not mine:
            raise FileNotFoundError(
                f"No training run is there. Expected a directory with config.json, or one that holds "
                f"such. Received: {path}"
            )
        found += mine
    return found


def read(directory):
    """Read what a run has written: its configuration, its log and its report.

    Args:
        directory: path.

    Returns:
        `(config, history, report)`: dict, columns of floats by name, dict or None.

    Raises:
        ValueError: if a file is damaged.
    """
    from sharedkeras.files import read_bytes, read_json

    config = read_json(
        directory / "config.json", what="the config.json of a run", entries={"recipe": dict}
    )
    history, log = {}, directory / "metrics.csv"
    if log.is_file():
        text = read_bytes(log, what="the metrics.csv of a run", max_bytes=2**26).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        try:
            history = {k: [float(row[k] or "nan") for row in rows] for k in (rows[0] if rows else ())}
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"Expected the metrics.csv of a run, numbers in columns: {error}. Received: path={log}"
            ) from error
    report = None
    if (directory / "report.json").is_file():
        what = {"n": int, "robust": float, "accuracy": dict, "verdict": str}
        report = read_json(directory / "report.json", what="a report", entries=what)
    return config, history, report


def row(directory, config, history, report):
    """Return a run's line of the table: the epoch of its best network, and what the judge said."""
    recipe = config["recipe"]
    epochs = history.get("epoch", [])
    scores = list(zip(history.get("val_robust", []), history.get("val_natural", []), strict=False))
    best = scores.index(max(scores)) if scores else None
    judged = ""
    if report:
        judged = f"{100 * report['robust']:.2f} (n = {report['n']:,}, {', '.join(report['accuracy'])})"
    seconds = sum(history.get("seconds", []))
    return (
        str(directory),
        str(recipe.get("name", "")),
        f"{len(epochs)} of {recipe.get('epochs', '?')}",
        "" if best is None else f"{100 * scores[best][1]:.1f}",
        "" if best is None else f"{100 * scores[best][0]:.1f}",
        "" if best is None else f"{best + 1}",
        duration(seconds) if math.isfinite(seconds) else "",
        judged,
    )


def differences(configs):
    """Return the fields of recipes that are not the same in all, as lines of text."""
    recipes = {str(name): config["recipe"] for name, config in configs.items()}
    fields = {field for recipe in recipes.values() for field in recipe} - {"name", "source"}
    lines = []
    for field in sorted(fields):
        values = {name: recipe.get(field) for name, recipe in recipes.items()}
        if len({repr(value) for value in values.values()}) > 1:
            lines.append(field)
            lines += [f"    {name}: {value!r}" for name, value in values.items()]
    return lines or ["The recipes are the same."]


def markdown(lines):
    """Lay out lines of cells as a Markdown table."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines = [lines[0], tuple("-" * width for width in widths), *lines[1:]]
    return "\n".join(
        f"| {' | '.join(f'{c:<{w}}' for c, w in zip(line, widths, strict=True))} |" for line in lines
    )


def main(argv):
    """Print the table, and write the page that is asked for."""
    runs = {path: read(path) for path in directories(argv[1:])}
    rows = [row(path, *run) for path, run in runs.items()]
    print(markdown([HEAD, *rows]))
    print("natural and robust: of best.keras on validation images, by 20 steps of PGD")
    if FLAGS.differences:
        print("\n".join(differences({path: config for path, (config, _, _) in runs.items()})))
    if FLAGS.html:
        path = pathlib.Path(FLAGS.html)
        run_dirs.check_writable(path.absolute().parent)
        start_up.prepare_frameworks()
        from sharedkeras import evaluation, files

        histories = {str(path): history for path, (_, history, _) in runs.items()}
        page = evaluation.comparison_page(HEAD, rows, histories)
        files.write_atomically(path, page)
        print(f"page  {path}")


if __name__ == "__main__":
    ending.run(main)
