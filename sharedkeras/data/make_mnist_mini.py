"""Makes the embedded sample of MNIST: `python -m sharedkeras.data.make_mnist_mini --data_dir=DIR`.

The sample decides what every quick run and test sees, so anybody must be able to make it again, bit
for bit, from MNIST in either form: which images are taken, and in what order, depends only on the
seed and on their numbers in MNIST's own files.
"""

import argparse
import hashlib
import io
import pathlib
import zipfile

import numpy as np

from sharedkeras.data.info import info
from sharedkeras.data.locate import EMBEDDED, locate
from sharedkeras.data.read_npz import read_npz
from sharedkeras.data.read_prepared import read_prepared

SEED = 0
PER_CLASS = {"train": 1000, "test": 200}


def make_mnist_mini(path, *, data_dir=None, seed=SEED, per_class=None):
    """Draw a stratified sample of MNIST and write it as one archive.

    Args:
        path: file to write.
        data_dir: directory with MNIST, as for `load`.
        seed: int, which sample.
        per_class: mapping of "train" and "test" to the number of images of each class; None takes
            1000 and 200.

    Returns:
        The file's SHA-256, in hexadecimal.

    Raises:
        FileNotFoundError: if MNIST is absent.
    """
    source = locate("mnist", data_dir)
    per_class = PER_CLASS if per_class is None else per_class
    arrays = {}
    for split in ("train", "test"):
        images, labels = _original(source, split)
        chosen = _draw(labels, split, seed, per_class[split])
        arrays[f"x_{split}"] = images[chosen]
        arrays[f"y_{split}"] = labels[chosen].astype("uint8")
        arrays[f"index_{split}"] = chosen.astype("int32")
    arrays["label_names"] = np.array(info("mnist").label_names)
    content = _archive(arrays)
    pathlib.Path(path).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _original(source, split):
    """Read a split in the order of MNIST's own files."""
    if source.suffix == ".npz":
        images, labels, _ = read_npz(source, split)
        return images, labels
    images, labels, _ = read_prepared(source, split)
    # TensorFlow Datasets sorts examples by the MD5 of the split's name and the example's number.
    order = _ranking(range(len(labels)), lambda i: hashlib.md5(f"{split}{i}".encode()))
    original = np.empty_like(order)
    original[order] = np.arange(len(order))
    return images[original], labels[original]


def _draw(labels, split, seed, per_class):
    """Take as many of each class, in rounds of one of each, so that any tail is stratified too."""

    def digest(i):
        return hashlib.sha256(f"mnist-mini {seed} {split} {i}".encode())

    members = (np.flatnonzero(labels == label) for label in np.unique(labels))
    rounds = np.stack([_ranking(numbers, digest)[:per_class] for numbers in members], axis=1)
    return np.concatenate([_ranking(numbers, digest) for numbers in rounds])


def _ranking(numbers, digest):
    return np.array(sorted(numbers, key=lambda i: digest(i).digest()))


def _archive(arrays):
    """Write an .npz whose bytes depend on the arrays only, not on the clock or the system."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
            archive.writestr(member, buffer.getvalue(), compresslevel=9)
    return content.getvalue()


def _main():
    parser = argparse.ArgumentParser(description="Makes the embedded sample of MNIST.")
    parser.add_argument("--data_dir", default=None, help="directory with MNIST")
    parser.add_argument("--output", default=str(EMBEDDED), help="file to write")
    flags = parser.parse_args()
    digest = make_mnist_mini(flags.output, data_dir=flags.data_dir)
    size = pathlib.Path(flags.output).stat().st_size
    print(f"{flags.output}: {size} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    _main()
