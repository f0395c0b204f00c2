"""HDF5 files of strangers: what is copied, what is refused, and how the library's faults end."""

import os
import signal
import struct
import time

import h5py
import numpy as np
import pytest

from sharedkeras.files import copy_hdf5, hdf5

ATTRIBUTES = {
    "text": "a network",
    "names": ["a", "bcd"],
    "bytes": np.array([b"a", b"bcd"]),
    "none": np.array([]),
    "count": 3,
    "flag": True,
}


def write(path):
    """Write a file of every kind of thing that Keras writes."""
    with h5py.File(path, "w") as file:
        for name, value in ATTRIBUTES.items():
            file.attrs[name] = value
        layer = file.create_group("layers/conv/vars")
        layer.attrs["name"] = "conv"
        layer["0"] = np.arange(6, dtype="float32").reshape(2, 3)
        layer["1"] = np.array(7, "int64")
        half = layer.create_dataset("2", data=np.array([1, 2], "uint16").view("V2"))
        half.attrs["dtype"] = "bfloat16"
        file.create_group("layers/flat")
    return path


def everything(path):
    found = {}

    def note(name, item):
        values = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
        array = None
        if isinstance(item, h5py.Dataset):
            array = item.shape, str(item.dtype), item[()].tobytes()
        found[name] = values, array

    with h5py.File(path) as file:
        note("", file)
        file.visititems(note)
    return found


def test_a_copy_holds_everything(tmp_path):
    path = write(tmp_path / "their.h5")
    stored = copy_hdf5(path, tmp_path / "copy.h5", what="a network")
    assert stored == 6 * 4 + 8 + 2 * 2
    copied = everything(tmp_path / "copy.h5")
    assert copied == everything(path)
    assert len(copied) == 8 and len(copied[""][0]) == len(ATTRIBUTES)


def external(file):
    file["link"] = h5py.ExternalLink("other.h5", "/a")


def soft(file):
    file["link"] = h5py.SoftLink("/layers")


def circle(file):
    file["layers/conv/again"] = file["layers"]


def elsewhere(file):
    file.create_dataset("a", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def virtual(file):
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource(".", "layers/conv/vars/0", (2, 3))
    file.create_virtual_dataset("a", layout)


def huge(file):
    file.create_dataset("a", (2**20, 2**18), "f4", chunks=(1024, 1024))


def twice(file):
    file["a"] = np.ones(9000, "f4")
    file["b"] = file["a"]


def strings(file):
    file.create_dataset("a", data=["text"])


def compound(file):
    file.create_dataset("a", data=np.zeros(3, [("x", "f4")]))


def type_alone(file):
    file["a"] = np.dtype("f4")


def reference(file):
    file.attrs["a"] = file["layers"].ref


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external, "expected no links, and .*/link"),
        (soft, "expected no links, and .*/link"),
        (circle, "expected"),
        (elsewhere, "expected the numbers of /a in the file"),
        (virtual, "expected the numbers of /a in the file"),
        (huge, r"no more than the file, and /a states shape \(1048576, 262144\)"),
        (twice, "no more than the file, and /[ab] states"),
        (strings, "expected numbers, and /a holds object"),
        (compound, "expected numbers, and /a holds"),
        (type_alone, "expected groups and arrays, and /a is a type"),
        (reference, "expected numbers or strings, and a of / holds"),
    ],
)
def test_what_is_not_numbers_in_the_file_is_refused(change, words, tmp_path):
    path = write(tmp_path / "their.h5")
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(ValueError, match=rf"Expected a network.*{words}.*Received: path=.*named\.h5"):
        copy_hdf5(path, tmp_path / "copy.h5", what="a network", where=tmp_path / "named.h5")


def test_damage_over_which_the_library_hangs_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "their.h5"
    with h5py.File(path, "w") as file:
        file.attrs["text"] = "a text in the heap"
    data = bytearray(path.read_bytes())
    place = data.find(b"GCOL") + 24  # The size of the heap's first object, which the library adds up.
    data[place : place + 8] = struct.pack("<Q", 2**64 - 16)
    path.write_bytes(data)
    monkeypatch.setattr(hdf5, "_COMPUTING", 1)
    monkeypatch.setattr(hdf5, "_WAITING", 30)
    with pytest.raises(ValueError, match=r"did not end within 1 s of computing.*path=.*their\.h5"):
        copy_hdf5(path, tmp_path / "copy.h5", what="a network")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"import os; os.kill(os.getpid(), {signal.SIGSEGV.value})", r"crashed .*exit status -11"),
        ("import os; os._exit(3)", r"crashed .*exit status 3"),
        ("import time; time.sleep(60)", "did not end within 1 s"),
    ],
)
def test_the_library_fails_in_a_process_of_its_own(code, words, tmp_path, monkeypatch):
    (tmp_path / "copier.py").write_text(code)
    monkeypatch.setattr(hdf5, "_COPIER", tmp_path / "copier.py")
    monkeypatch.setattr(hdf5, "_WAITING", 1 if "sleep" in code else 30)
    path, began = write(tmp_path / "their.h5"), time.perf_counter()
    with pytest.raises(ValueError, match=words):
        copy_hdf5(path, tmp_path / "copy.h5", what="a network")
    assert time.perf_counter() - began < 40


def test_a_full_disk_is_no_damage(tmp_path, monkeypatch):
    path = write(tmp_path / "their.h5")
    free = type("Usage", (), {"free": path.stat().st_size - 1})
    monkeypatch.setattr(hdf5.shutil, "disk_usage", lambda folder: free)
    with pytest.raises(OSError, match="No room") as raised:
        copy_hdf5(path, tmp_path / "copy.h5", what="a network")
    assert raised.value.errno == 28 and not os.path.exists(tmp_path / "copy.h5")
