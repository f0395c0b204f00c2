"""Networks from wherever they are: runs, files, the zoo."""

import dataclasses
import pathlib
from typing import Any


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


def open_network(source, *, weights="best", dataset=None, data_dir=None, trust=False):
    """Open a network wherever it is: run directory, `.keras` or `.h5` file, zoo, ONNX, SavedModel.

    Args:
        source: path or name.
        weights: "best" or "last", for run directories.
        dataset: str, or None for what the network's origin tells.
        data_dir: directory of the data, or None for the default.
        trust: bool, whether code inside of the file may run.

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
        data.info(dataset, data_dir)
    if path.suffix == ".onnx" or (path / "saved_model.pb").is_file():
        return _open_file(path, dataset, data_dir, trust)
    told, run = _dataset_of_run(path), None
    if told is not None:
        run = path
    elif not path.exists() and source in zoo.names():
        told = zoo.card(source)["dataset"]
    if dataset is None and told is None and path.exists():
        raise ValueError("A file does not tell its dataset. Expected: --dataset=<name>")
    return Opened(zoo.find(source, weights=weights, trust=trust), dataset or told, run)


def _open_file(path, dataset, data_dir, trust):
    import export
    from sharedkeras import data

    load = export.load_onnx if path.suffix == ".onnx" else export.load_saved_model
    input_shape = None if dataset is None else data.info(dataset, data_dir).input_shape
    network = load(path, input_shape=input_shape, trust=trust)
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
    from sharedkeras.files import read_json

    config = path / "config.json"
    if not config.is_file():
        return None
    return read_json(config, what="the config.json of a run", entries={"dataset": str})["dataset"]


def require_black_box(names, source, possible):
    """Refuse attacks that follow gradients, which a file has not.

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
            f"{', '.join(refused)}: this needs gradients, and a file gives only logits. "
            f"Possible: {possible}. Received: network={source}"
        )


def open_surrogate(source, opened, *, data_dir=None, trust=False):
    """Open the network on which to craft attacks on another one.

    Args:
        source: run directory, `.keras` file or name of the zoo.
        opened: `Opened`, the network to judge.
        data_dir: directory of the data, or None for the default.
        trust: bool, whether code inside of the file may run.

    Returns:
        `keras.Model`.

    Raises:
        FileNotFoundError: if there is nothing of that name.
        ValueError: if it is none of these, or has other classes than a file that is to be judged.
    """
    surrogate = open_network(source, dataset=opened.dataset, data_dir=data_dir, trust=trust)
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


def resume_dir(path, opened):
    """Return the directory that keeps finished batches: one for each content of a file."""
    if path is None or not opened.is_file:
        return path
    return pathlib.Path(path) / opened.settings["file_sha256"][:16]
