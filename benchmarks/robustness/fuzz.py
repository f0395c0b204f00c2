"""Reads ten thousand randomly damaged files: only documented errors, no hang, no crash.

    python benchmarks/robustness/fuzz.py
    python benchmarks/robustness/fuzz.py --kinds=onnx,image --seed=1

Of each kind of file that the library reads, a valid one is made and damaged by a seed. A process of its
own reads them; one that dies or does not answer in time is replaced, and what it read is counted. A file
that is still valid after the damage may be taken: what it means is asked by `damaged_inputs.py`.
"""

import collections
import contextlib
import importlib
import io
import json
import multiprocessing
import pathlib
import sys
import tempfile
import time

from absl import app, flags
from damage.mutations import mutated

flags.DEFINE_list("kinds", None, "Kinds of files by name; default: all.")
flags.DEFINE_integer("seed", 0, "First seed.")
flags.DEFINE_float("share", 1.0, "Share of the ten thousand mutations.", lower_bound=0.0)
flags.DEFINE_float("patience", 60.0, "Seconds after which a file counts as hanging.")
FLAGS = flags.FLAGS

# Mutations of each kind; SavedModels are slow to load.
COUNTS = {
    "weights": 1400,
    "card": 1400,
    "keras": 800,
    "hdf5": 800,
    "checkpoint": 800,
    "journal": 600,
    "report": 1200,
    "dataset": 1000,
    "onnx": 1000,
    "image": 900,
    "saved_model": 100,
}
DOCUMENTED = (ValueError, TypeError, FileNotFoundError, FileExistsError, ImportError)
OUTCOMES = ("refused", "taken", "undocumented", "no path", "hung", "died")


def _small_network():
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 1), name="images")
    x = keras.layers.Conv2D(2, 3, data_format="channels_last", name="conv")(inputs)
    x = keras.layers.Flatten(name="flat")(keras.layers.ReLU(name="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x), name="small")


class Kind:
    """A kind of file: a valid one on disk, and what reads it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.path = self.prepare()
        self.data = self.path.read_bytes()

    def prepare(self):
        """Write a valid file and return its path."""
        raise NotImplementedError

    def read(self, path):
        """Give a file to the library."""
        raise NotImplementedError


class Weights(Kind):
    """Weights of the zoo."""

    def prepare(self):
        """Pack a small network."""
        from zoo import packing

        self.network = _small_network()
        path = self.folder / "weights.npz"
        path.write_bytes(packing.pack(self.network))
        return path

    def read(self, path):
        """Unpack into the network."""
        from zoo import packing

        packing.unpack(path.read_bytes(), self.network, where=path)


class Card(Kind):
    """Cards of the zoo."""

    def prepare(self):
        """Copy a card of the zoo."""
        import zoo

        card = zoo.card("mnist-cnn-shared")
        path = self.folder / "mnist" / "linf" / "mnist-cnn-shared.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(card, indent=1))
        return path

    def read(self, path):
        """Read a card."""
        from zoo.card_reader import read_card

        read_card(path)


class KerasFile(Kind):
    """Networks in `.keras` archives."""

    def prepare(self):
        """Save a small network."""
        from sharedkeras.files import save_network

        save_network(_small_network(), self.folder / "network.keras")
        return self.folder / "network.keras"

    def read(self, path):
        """Load a network."""
        from sharedkeras.models import load_network

        load_network(path)


class Hdf5(KerasFile):
    """Networks in HDF5 files."""

    def prepare(self):
        """Save a small network in Keras's older format."""
        _small_network().save(self.folder / "network.h5")
        return self.folder / "network.h5"


class Checkpoint(Kind):
    """Checkpoints of a run."""

    def prepare(self):
        """Save the state of a trainer."""
        from damage.groups.checkpoint import RUN, make_trainer

        from sharedkeras.training import checkpoint

        self.run, self.trainer = RUN, make_trainer()
        history = {"loss": [2.0, 1.0]}
        return checkpoint.save(self.folder, self.trainer, epoch=2, history=history, run=RUN)

    def read(self, path):
        """Restore the trainer."""
        from sharedkeras.training import checkpoint

        checkpoint.restore(path, self.trainer, run=self.run)


class Journal(Kind):
    """Heads of finished work: damaged ones count as not there, so that nothing is refused."""

    def prepare(self):
        """Begin an evaluation."""
        from sharedkeras.evaluation.judging import journal

        self.make = lambda path: journal.Journal(path, lambda: {"network": "a" * 64})
        (self.folder / "kept").mkdir()
        self.make(self.folder / "kept").write("ab-0", [0, 1], {"success": [True, False]})
        return self.folder / "kept" / "evaluation.json"

    def read(self, path):
        """Go on with an evaluation."""
        self.make(path.parent).read("ab", [0, 1])


class ReportFile(Kind):
    """Reports."""

    def prepare(self):
        """Write a report."""
        import numpy as np

        from sharedkeras.evaluation import Report

        judged = {"clean": np.arange(9) != 0, "pgd20": np.arange(9) > 3}
        report = Report(flags=judged, settings={"epsilon": 0.3}, labels=np.arange(9))
        report.to_json(self.folder / "report.json")
        return self.folder / "report.json"

    def read(self, path):
        """Read a report."""
        from sharedkeras.evaluation import Report

        Report.from_json(path)


class DataSet(Kind):
    """Data sets of one's own."""

    def prepare(self):
        """Write arrays."""
        import numpy as np

        draws = np.random.default_rng(0)
        path = self.folder / "data.npz"
        np.savez_compressed(
            path,
            x_train=draws.integers(0, 256, (12, 5, 5, 1), "uint8"),
            y_train=np.arange(12) % 3,
            x_test=draws.integers(0, 256, (6, 5, 5, 1), "uint8"),
            y_test=np.arange(6) % 3,
        )
        return path

    def read(self, path):
        """Load a split."""
        from sharedkeras import data

        data.load(str(path), "test")


class Onnx(Kind):
    """Exported networks."""

    def prepare(self):
        """Export a small network."""
        import export

        export.onnx(_small_network(), self.folder / "network.onnx", class_names=["a", "b", "c"])
        return self.folder / "network.onnx"

    def read(self, path):
        """Load and run a network, as a file of ours and as one of a stranger's."""
        import numpy as np

        import export

        images = np.full((2, 6, 6, 1), 0.5, "float32")
        for options in ({}, {"input_shape": (6, 6, 1)}):
            export.load_onnx(path, **options)(images)


class ImageFile(Kind):
    """Images."""

    def prepare(self):
        """Write a picture."""
        import numpy as np
        from PIL import Image

        pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), "uint8")
        files = []
        for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF"):
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, kind)
            files.append(file.getvalue())
        self.files = files
        (self.folder / "image").write_bytes(files[0])
        return self.folder / "image"

    def read(self, path):
        """Read a picture."""
        from export.image_file import read_image

        read_image(path, (12, 9, 3))


class SavedModel(Kind):
    """Graphs of SavedModels."""

    def prepare(self):
        """Export a small network."""
        import export

        export.saved_model(_small_network(), self.folder / "network", class_names=["a", "b", "c"])
        return self.folder / "network" / "saved_model.pb"

    def read(self, path):
        """Load a network."""
        import export

        export.load_saved_model(path.parent)


KINDS = {
    "weights": Weights,
    "card": Card,
    "keras": KerasFile,
    "hdf5": Hdf5,
    "checkpoint": Checkpoint,
    "journal": Journal,
    "report": ReportFile,
    "dataset": DataSet,
    "onnx": Onnx,
    "image": ImageFile,
    "saved_model": SavedModel,
}


def serve(name, folder, pipe):
    """Read what the other end asks for: seeds in, `(outcome, said)` out."""
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import warnings

    warnings.simplefilter("ignore")
    kind = KINDS[name](folder)
    pipe.send("ready")
    while (seed := pipe.recv()) is not None:
        # Of images there is one in each format.
        files = kind.files if name == "image" else [kind.data]
        kind.path.write_bytes(mutated(files[seed % len(files)], seed))
        pipe.send(_outcome(kind))


def _outcome(kind):
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            kind.read(kind.path)
    except DOCUMENTED as error:
        names = (str(kind.path), str(kind.path.parent))
        return ("refused" if any(n in str(error) for n in names) else "no path"), str(error)[:300]
    except Exception as error:
        return "undocumented", f"{type(error).__name__}: {error}"[:300]
    return "taken", ""


class Reader:
    """A process that reads files of a kind, replaced when it dies or hangs."""

    def __init__(self, name, patience):
        self.name, self.patience = name, patience
        self.process = self.folder = None

    def read(self, seed):
        """Return the outcome of one mutation, and what was said."""
        if self.process is None:
            self._start()
        self.pipe.send(seed)
        try:
            if self.pipe.poll(self.patience):
                return self.pipe.recv()
            outcome = "hung", f"{self.patience:.0f} s"
        except EOFError:
            outcome = "died", f"exit code {self.process.exitcode}"
        self.close()
        return outcome

    def close(self):
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.folder.cleanup()
            self.process = None

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self.folder = tempfile.TemporaryDirectory()
        self.pipe, other = context.Pipe()
        arguments = (self.name, self.folder.name, other)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        other.close()
        if not self.pipe.poll(300) or self.pipe.recv() != "ready":
            raise RuntimeError(f"The reader of {self.name} did not start.")


def main(_):
    """Print a table; exit code 1 where an error is not documented, names no file, or a process ends."""
    importlib.import_module("damage")
    table, began = {}, time.perf_counter()
    for name in FLAGS.kinds or KINDS:
        counts = table[name] = collections.Counter()
        reader, started = Reader(name, FLAGS.patience), time.perf_counter()
        count = round(FLAGS.share * COUNTS[name])
        for seed in range(FLAGS.seed, FLAGS.seed + count):
            outcome, said = reader.read(seed)
            counts[outcome] += 1
            if outcome in OUTCOMES[2:]:
                print(f"{name}, seed {seed}: {outcome}: {said}", flush=True)
        reader.close()
        print(f"{name}: {count:,} in {time.perf_counter() - started:.0f} s", flush=True)
    table["all"] = sum(table.values(), collections.Counter())
    print(f"\n{'kind':<14}{'files':>8}" + "".join(f"{outcome:>14}" for outcome in OUTCOMES))
    for name, counts in table.items():
        print(f"{name:<14}{counts.total():>8,}" + "".join(f"{counts[o]:>14,}" for o in OUTCOMES))
    print(f"{time.perf_counter() - began:.0f} s")
    if any(table["all"][outcome] for outcome in OUTCOMES[2:]):
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
