"""Finding a data set on this machine, or fetching it, without minutes of retries."""

import os
import pathlib
import threading
import urllib.error
import urllib.request

from sharedkeras.data.read_prepared import import_tfds

# Where TensorFlow Datasets downloads from; only asked whether they answer.
_HOSTS = {
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "cifar100": "https://www.cs.toronto.edu/~kriz/cifar.html",
}
_PATIENCE = 5.0  # Seconds: a slow handshake fits, and a user still waits.


def locate(name, data_dir=None, download=False):
    """Find the file or directory that holds a data set.

    A file `<data_dir>/<name>.npz` comes first, since somebody put it there on purpose and it needs no
    TensorFlow; then the newest `<data_dir>/<name>/<version>` that TensorFlow Datasets has prepared.
    TensorFlow Datasets itself, asked for absent data, retries its download for minutes; so the
    directory is looked for here, and before a download the host is asked whether it answers.

    Args:
        name: "mnist", "cifar10" or "cifar100".
        data_dir: directory, or None for the environment's `TFDS_DATA_DIR` or else
            `~/tensorflow_datasets`.
        download: bool, whether absent data may be downloaded.

    Returns:
        `pathlib.Path` of an `.npz` file or of a prepared directory.

    Raises:
        FileNotFoundError: if the data is absent, and was not to be or could not be downloaded.
    """
    root = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    # pathlib's own raises where there is no home directory.
    root = pathlib.Path(os.path.expanduser(root))
    found = _look(name, root)
    if found is None and download:
        reason = _silence(_HOSTS[name])
        if reason is not None:
            raise FileNotFoundError(
                f"{_absent(name, root)} The download was tried, but the host of {name}, "
                f"{_HOSTS[name]}, did not answer: {reason}"
            )
        import_tfds().builder(name, data_dir=str(root)).download_and_prepare()
        found = _look(name, root)
    if found is None:
        raise FileNotFoundError(_absent(name, root))
    return found


def _look(name, root):
    archive = root / f"{name}.npz"
    if archive.is_file():
        return archive
    prepared = [path.parent for path in root.glob(f"{name}/*.*.*/dataset_info.json")]
    # "incomplete.*" is what an interrupted preparation leaves: not a version.
    prepared = [path for path in prepared if path.name.replace(".", "").isdigit()]
    return max(prepared, key=lambda path: [int(part) for part in path.name.split(".")], default=None)


def _absent(name, root):
    return (
        f"The data set is not on this machine. Looked for {root / name}/<version>/dataset_info.json "
        f"and {root / name}.npz. Three ways to get it: (1) download it by TensorFlow Datasets, with "
        "download=True (--download); (2) point data_dir (--data_dir) or the environment variable "
        f"TFDS_DATA_DIR at a directory in which TensorFlow Datasets has prepared it; (3) put a file "
        f"{name}.npz with x_train, y_train, x_test, y_test into data_dir. 'mnist-mini' is embedded "
        f"and needs nothing. Received: name={name!r}."
    )


def _silence(url):
    """Return why a host does not answer, or None where it does."""
    # In a thread, because no time-out applies to looking up a host's name.
    answer = ["no answer"]

    def ask():
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=_PATIENCE).close()
            answer[0] = None
        except urllib.error.HTTPError as error:  # An answer, if not the one hoped for.
            error.close()
            answer[0] = None
        except OSError as error:
            answer[0] = str(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return answer[0]
