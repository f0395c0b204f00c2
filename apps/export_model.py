"""Exports a trained network to SavedModel and ONNX and proves that the files compute the same.

python apps/export_model.py --network=runs/mnist-cnn-shared
python apps/export_model.py --network=mnist-cnn-shared --format=onnx --output=/tmp/model
"""

import pathlib
import time

from absl import app, flags
from app_support import ending, own_code, start_up

_FORMATS = ("saved_model", "onnx")
_PARITY_IMAGES = 1000
_ROW = "{:<12} {:>8} {:>6} {:>21} {:>13} {:>8}  {}"


def _define_flags():
    # Not at the top level, so that this module can be imported beside others with flags of these names.
    flags.DEFINE_string(
        "network", None, "Run directory, .keras or .h5 file, or name of the zoo.", required=True
    )
    own_code.define_flags()
    flags.DEFINE_list("format", list(_FORMATS), "saved_model, onnx, or both.")
    flags.DEFINE_string(
        "output", None, "Directory to write to; default: exports/ in the run or beside the file."
    )
    flags.DEFINE_enum("weights", "best", ["best", "last"], "Weights of a run directory.")
    flags.DEFINE_string("dataset", None, "Data set of the network; default: what the run or card says.")
    flags.DEFINE_bool("overwrite", False, "Replace earlier exports.")
    flags.DEFINE_string("data_dir", None, "Directory of the data; default: that of TensorFlow Datasets.")
    flags.DEFINE_integer(
        "parity_images",
        _PARITY_IMAGES,
        "On how many test images the files are compared with Keras.",
        lower_bound=1,
    )


def find_origin(source):
    """Find out what a network was trained on and where its exports belong.

    Args:
        source: run directory, `.keras` file or name in the zoo.

    Returns:
        `(name, directory, dataset)`: name of the file or None for the network's own, `pathlib.Path`,
        and name of the data set or None.
    """
    from sharedkeras.files import read_json

    path = pathlib.Path(source)
    if path.is_dir():
        config = path / "config.json"
        values = read_json(config, what="the config.json of a run") if config.is_file() else {}
        return None, path / "exports", values.get("dataset")
    if path.is_file():
        return path.stem, path.parent / "exports", None
    import zoo

    return str(source), pathlib.Path("exports"), zoo.card(str(source))["dataset"]


def load_test(dataset, data_dir=None, images=_PARITY_IMAGES):
    """Load class names and test images as far as they are on this machine.

    Args:
        dataset: name of a data set, or None.
        data_dir: directory with prepared data sets, or None for the default.
        images: int, how many.

    Returns:
        `(label_names, x)`, either of which may be None.
    """
    from sharedkeras import data

    if dataset is None:
        return None, None
    try:
        test = data.load(dataset, "test", data_dir=data_dir)
    except FileNotFoundError:
        print(f"The test images of {dataset} are not here, so parity is checked on noise.")
        return data.info(dataset).label_names if dataset in data.names() else None, None
    return test.label_names, test.x[:images]


def export_network(
    source,
    *,
    formats=_FORMATS,
    output=None,
    weights="best",
    dataset=None,
    data_dir=None,
    overwrite=False,
    images=_PARITY_IMAGES,
    trust=False,
):
    """Export a network and print a table of what was written.

    Args:
        source: run directory, `.keras` file or name in the zoo.
        formats: sequence of "saved_model", "onnx".
        output: directory to write to, or None for the default.
        weights: "best" or "last".
        dataset: name of the data set, or None for what the run or the card says.
        data_dir: directory with prepared data sets, or None for the default.
        overwrite: bool, whether earlier exports are replaced.
        images: int, on how many test images the files are compared with Keras.
        trust: bool, whether code inside of the network's file may run.

    Returns:
        List of `ParityReport`.
    """
    import export
    import zoo

    network = zoo.find(source, weights=weights, trust=trust)
    name, directory, known_dataset = find_origin(source)
    directory = pathlib.Path(output or directory)
    label_names, x = load_test(dataset or known_dataset, data_dir, images)
    files = {"onnx": f"{name or network.name}.onnx", "saved_model": "saved_model"}
    header = ("format", "MB", "images", "max logit difference", "equal argmax", "seconds", "path")
    print(_ROW.format(*header))
    reports = []
    for form in formats:
        start = time.perf_counter()
        report = getattr(export, form)(
            network, directory / files[form], class_names=label_names, x=x, overwrite=overwrite
        )
        seconds = time.perf_counter() - start
        row = (
            form,
            f"{export.size_of(report.path) / 1e6:.2f}",
            report.n,
            f"{report.max_logit_difference:.2e}",
            report.argmax_equal,
            f"{seconds:.1f}",
            report.path,
        )
        print(_ROW.format(*row), flush=True)
        reports.append(report)
    return reports


def main(argv):
    """Export what the flags name."""
    import zoo

    options = flags.FLAGS
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    if not options.format or set(options.format) - set(_FORMATS):
        raise app.UsageError(f"--format must be of {list(_FORMATS)}. Received: {options.format}")
    zoo.check_source(options.network)
    start_up.prepare_frameworks()
    own_code.import_modules()
    export_network(
        options.network,
        formats=options.format,
        output=options.output,
        weights=options.weights,
        dataset=options.dataset,
        data_dir=options.data_dir,
        overwrite=options.overwrite,
        images=options.parity_images,
        trust=options.trust,
    )


if __name__ == "__main__":
    _define_flags()
    ending.run(main)
