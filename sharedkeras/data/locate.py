"""Finding a data set on this machine, or fetching it, without minutes of retries."""

import os
import pathlib
import re
import threading
import urllib.error
import urllib.request

from sharedkeras.data.known import KNOWN
from sharedkeras.data.read_prepared import import_tfds

EMBEDDED = pathlib.Path(__file__).parent / "embedded" / "mnist_mini.npz"

# Where TensorFlow Datasets downloads from; only asked whether they answer.
_HOSTS = {
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "cifar100": "https://www.cs.toronto.edu/~kriz/cifar.html",
}
_PATIENCE = 5.0  # Seconds: a slow handshake fits, and a user still waits.
_TFDS_NAME = re.compile(r"[a-z]\w*(/[\w.-]+)?", re.ASCII)


def find(name, data_dir=None, download=False):
    """Find what a data set's name or path stands for.

    Args:
        name: one of `names()`, the path of an `.npz` file or of a directory, or a name of TensorFlow
            Datasets.
        data_dir: as in `locate`.
        download: as in `locate`.

    Returns:
        `pathlib.Path` of an `.npz` file, of a prepared directory or of a folder of images.

    Raises:
        ValueError: if it is none of these.
        FileNotFoundError: if the data is absent.
    """
    if name == "mnist-mini":
        return EMBEDDED
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise ValueError(_unknown(name))
    if name in KNOWN:
        return locate(name, data_dir, download)
    text, path = os.fspath(name), pathlib.Path(name).expanduser()
    if path.suffix == ".npz" or path.is_dir():
        return path
    if path.exists():
        raise ValueError(
            "A file of data must be an .npz archive, and images must be in a folder for each class. "
            f"Received: name={text!r}"
        )
    if not isinstance(name, str) or not _TFDS_NAME.fullmatch(text):
        if os.sep in text:
            raise FileNotFoundError(f"There is no such directory. Received: name={text!r}")
        raise ValueError(_unknown(name))
    try:
        return locate(text, data_dir, download)
    except FileNotFoundError:
        # Whether it is a name at all is only asked now, since the answer takes seconds.
        if not _in_tfds(text):
            raise ValueError(_unknown(name)) from None
        raise


def _unknown(name):
    return (
        f"Unknown data set. Expected one of {list(KNOWN)}, the name of a data set of images with labels "
        "in TensorFlow Datasets, or a path: of a file that ends in '.npz', or of a directory with a "
        f"folder of images for each class. Received: name={name!r}"
    )


def _in_tfds(name):
    try:
        import_tfds().builder_cls(name.partition("/")[0])
    except (ImportError, ValueError):
        return False
    return True


def locate(name, data_dir=None, download=False):
    """Find the file or directory that holds a data set.

    A file `<data_dir>/<name>.npz` comes first, since somebody put it there on purpose and it needs no
    TensorFlow; then the newest `<data_dir>/<name>/<version>` that TensorFlow Datasets has prepared.
    TensorFlow Datasets itself, asked for absent data, retries its download for minutes; so the
    directory is looked for here, and before a download the host is asked whether it answers.

    Args:
        name: a name of TensorFlow Datasets, such as "mnist", or "emnist/letters" with a configuration.
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
        _download(name, root)
        found = _look(name, root)
    if found is None:
        raise FileNotFoundError(_absent(name, root))
    return found


def _download(name, root):
    builder = None
    if name in _HOSTS:
        hosts = [_HOSTS[name]]
    else:
        builder = import_tfds().builder(name, data_dir=str(root))
        hosts = list(builder.url_infos or {})[:1]
    for url in hosts:
        reason = _silence(url)
        if reason is not None:
            raise FileNotFoundError(
                f"{_absent(name, root)} The download was tried, but the host of {name}, "
                f"{url}, did not answer: {reason}"
            )
    builder = builder or import_tfds().builder(name, data_dir=str(root))
    builder.download_and_prepare()


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
