"""What the applications share: flags, wording, peak memory, networks from wherever they are."""

import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import sys
import tempfile
import time
from typing import Any

from absl import flags, logging

RUNS = pathlib.Path("runs")

# TensorFlow's notes on its own build are not what a person came to read.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextlib.contextmanager
def _quiet_terminal():
    """Keep from the terminal what a framework writes to it, unless it fails in an unforeseen way."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except (OSError, ValueError):
            raise
        except BaseException:
            os.dup2(terminal, 2)
            notes.seek(0)
            sys.stderr.write(notes.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def import_quietly():
    """Import the library; what the framework then writes to the terminal is shown only if it fails."""
    logging.set_verbosity(logging.WARNING)
    with _quiet_terminal():
        import sharedkeras  # noqa: F401


def define_common_flags():
    """Define the flags that every application has."""
    flags.DEFINE_integer("seed", None, "Seed of everything random; default: the recipe's, or 0.")
    flags.DEFINE_string("data_dir", None, "Directory of the data; default: that of TensorFlow Datasets.")
    flags.DEFINE_string("run_dir", None, "Directory of the run; default: a new one in runs/.")
    flags.DEFINE_integer("batch_size", None, "Examples at once; default: the recipe's, or 128.")
    flags.DEFINE_bool("download", True, "Whether to download absent data through TensorFlow Datasets.")


def define_judging_flags():
    """Define the flags of the applications that attack a network."""
    flags.DEFINE_string(
        "network", None, "Run directory, .keras file, name of the zoo, .onnx file, or SavedModel."
    )
    flags.DEFINE_string(
        "dataset", None, "Dataset; default: the one of the run, of the zoo's card or of the export."
    )
    flags.DEFINE_string("norm", "linf", "Norm of the ball: linf, l2, l1; cw is in L2 always.")
    flags.DEFINE_float(
        "epsilon", None, "Size of the ball; default: in Linf the paper's for the dataset."
    )
    flags.DEFINE_integer("queries", 5000, "Queries of Square for each image.", lower_bound=1)
    flags.DEFINE_integer("eval_examples", None, "Test images attacked; default: all.", lower_bound=1)
    flags.DEFINE_enum("weights", "best", ["best", "last"], "Which weights of a run.")


@dataclasses.dataclass(frozen=True)
class Opened:
    """A network to attack, and what is known of it.

    Args:
        network: `keras.Model`, or of a file a callable from images to logits.
        dataset: str.
        run_dir: path of the run, or None.
        label_names: tuple of str that the file holds, or None.
        settings: dict of what the report is to say of a file.
        is_file: bool, whether only black-box attacks can judge it.
    """

    network: Any
    dataset: str
    run_dir: pathlib.Path | None = None
    label_names: tuple | None = None
    settings: dict = dataclasses.field(default_factory=dict)
    is_file: bool = False


def open_network(source, *, weights="best", dataset=None):
    """Open a network wherever it is: run directory, `.keras` file, zoo, `.onnx` file, SavedModel.

    Args:
        source: path or name.
        weights: "best" or "last", for run directories.
        dataset: str, or None for what the network's origin tells.

    Returns:
        `Opened`.

    Raises:
        FileNotFoundError: if there is nothing of that name.
        ImportError: if a package is missing that runs the file.
        ValueError: if the dataset is unknown or not told, or a file is damaged or no such classifier.
    """
    import zoo
    from sharedkeras import data

    path = pathlib.Path(source)
    if dataset is not None:
        data.info(dataset)
    if path.suffix == ".onnx" or (path / "saved_model.pb").is_file():
        return _open_file(path, dataset)
    told, run = _dataset_of_run(path), None
    if told is not None:
        run = path
    elif not path.exists() and source in zoo.names():
        told = zoo.card(source)["dataset"]
    if dataset is None and told is None and path.exists():
        raise ValueError("A file does not tell its dataset. Expected: --dataset=<name>")
    return Opened(zoo.find(source, weights=weights), dataset or told, run)


def _open_file(path, dataset):
    import export
    from sharedkeras import data

    load = export.load_onnx if path.suffix == ".onnx" else export.load_saved_model
    input_shape = None if dataset is None else data.info(dataset).input_shape
    with _quiet_terminal():  # A SavedModel brings TensorFlow with it on every backend.
        network = load(path, input_shape=input_shape)
    contract = network.contract
    if dataset is None and path.absolute().parent.name == "exports":
        dataset = _dataset_of_run(path.absolute().parent.parent)
    if dataset is None:
        known = [data.info(name) for name in data.names()]
        fits = [
            i.name
            for i in known
            if (i.input_shape, i.label_names) == (contract.input_shape, contract.class_names)
        ]
        if len(fits) != 1:
            hint = f"; by images and classes it may be of {fits}" if fits else ""
            raise ValueError(f"The file does not tell its dataset{hint}. Expected: --dataset=<name>")
        (dataset,) = fits
    settings = {"file": str(path), "file_sha256": network.sha256}
    return Opened(network, dataset, label_names=contract.class_names, settings=settings, is_file=True)


def _dataset_of_run(path):
    config = path / "config.json"
    return json.loads(config.read_text("utf-8"))["dataset"] if config.is_file() else None


def require_black_box(names, source, possible):
    """Refuses attacks that follow gradients, which a file has not.

    Args:
        names: attacks by name.
        source: the file, for the message.
        possible: str, the flags with which it can be attacked.

    Raises:
        ValueError: naming what is possible.
    """
    refused = [name for name in names if name != "square"]
    if refused:
        raise ValueError(
            f"{', '.join(refused)}: this needs gradients, and of a file only the outputs are known. "
            f"Possible: {possible}. Received: network={source}"
        )


def open_surrogate(source, opened):
    """Open the network on which to craft attacks on another one.

    Args:
        source: run directory, `.keras` file or name of the zoo.
        opened: `Opened`, the network to judge.

    Returns:
        `keras.Model`.

    Raises:
        FileNotFoundError: if there is nothing of that name.
        ValueError: if it is none of these, or has other classes than a file that is to be judged.
    """
    surrogate = open_network(source, dataset=opened.dataset)
    if surrogate.is_file:
        raise ValueError(
            "`--surrogate` must be a run directory, a .keras file or a name of the zoo, for only these "
            f"have gradients. Received: --surrogate={source}"
        )
    if opened.is_file:
        classes = surrogate.network.output_shape[-1], opened.network.contract.num_classes
        if classes[0] != classes[1]:
            raise ValueError(
                "The surrogate must have the classes of the network. "
                f"Received: {classes[0]} and {classes[1]} classes"
            )
    return surrogate.network


def findings_text(report):
    """Lays out a report's findings for a terminal, one per line."""
    return "\n".join(f"{f.severity:<7} {f.code}: {f.message}" for f in report.findings)


def resume_dir(path, opened):
    """Return the directory that keeps finished batches: one for each content of a file."""
    if path is None or not opened.is_file:
        return path
    return pathlib.Path(path) / opened.settings["file_sha256"][:16]


def new_run_dir(name):
    """Return a directory in `runs/` that is not taken: the name, or the name and a number."""
    path, number = RUNS / name, 1
    while path.exists():
        number += 1
        path = RUNS / f"{name}-{number}"
    return path


def newest_run_dir(name):
    """Return the directory in `runs/` that was last made for a name, or None."""
    path = new_run_dir(name)
    number = path.name.removeprefix(name).removeprefix("-")
    if not number:
        return None
    return RUNS / (name if number == "2" else f"{name}-{int(number) - 1}")


def peak_memory_gb():
    """Return the largest resident memory so far of this process or one it waited for, in GB."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(w).ru_maxrss for w in who)
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def duration(seconds):
    """Write seconds as people say them: '40 s', '12 min', '3 h 20 min', '4 days 6 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


class Clock:
    """Prints headings with the time since the start."""

    def __init__(self):
        self._began = time.perf_counter()

    def heading(self, text):
        """Print a heading."""
        print(f"\n[{duration(time.perf_counter() - self._began)}] {text}", flush=True)


def fail(error):
    """End the program with an error's message alone: a traceback helps nobody who mistyped a flag."""
    print(f"\nError: {error}", file=sys.stderr)
    sys.exit(2)
