import hashlib
import io
import pathlib
import re
import socket
import subprocess
import sys
import time
import zipfile
import zlib

import numpy as np
import pytest

from sharedkeras import data
from sharedkeras.data.locate import locate
from sharedkeras.data.make_mnist_mini import _draw, _original, make_mnist_mini

locate_module = sys.modules["sharedkeras.data.locate"]
EMBEDDED = pathlib.Path(data.__file__).parent / "embedded"


def prepared(name):
    try:
        return locate(name)
    except FileNotFoundError as error:
        return pytest.skip(f"{name} is not on this machine: {str(error)[:80]}")


def write_npz(path, train=20, test=6, channels=True, **changes):
    rng = np.random.default_rng(0)
    shape = (28, 28, 1) if channels else (28, 28)
    arrays = {
        "x_train": rng.integers(0, 256, (train, *shape), dtype="uint8"),
        "y_train": np.arange(train) % 10,
        "x_test": rng.integers(0, 256, (test, *shape), dtype="uint8"),
        "y_test": np.arange(test) % 10,
        "label_names": np.array(list("0123456789")),
    }
    arrays |= changes
    arrays = {key: value for key, value in arrays.items() if value is not None}
    np.savez(path, **arrays)
    return arrays


class TestMnistMini:
    @pytest.mark.parametrize(("split", "size"), [("train", 10_000), ("test", 2_000)])
    def test_shape_range_and_balance(self, split, size):
        x, y, label_names = data.load("mnist-mini", split)
        assert x.shape == (size, 28, 28, 1)
        assert x.dtype == np.float32
        assert y.dtype == np.int32
        assert x.min() == 0.0
        assert x.max() == 1.0
        np.testing.assert_array_equal(np.bincount(y), [size // 10] * 10)
        assert label_names == tuple("0123456789")

    def test_pixels_are_the_stored_ones_over_255(self):
        stored = np.load(EMBEDDED / "mnist_mini.npz")["x_test"]
        x = data.load("mnist-mini", "test").x
        np.testing.assert_array_equal(x, stored.astype("float32") / np.float32(255))

    def test_validation_is_the_tail_of_train(self):
        whole = data.load("mnist-mini", "train")
        train = data.load("mnist-mini", "train", validation_size=500)
        validation = data.load("mnist-mini", "validation", validation_size=500)
        np.testing.assert_array_equal(np.concatenate([train.x, validation.x]), whole.x)
        np.testing.assert_array_equal(np.concatenate([train.y, validation.y]), whole.y)
        assert len(validation.y) == 500
        np.testing.assert_array_equal(np.bincount(validation.y), [50] * 10)

    def test_every_image_is_another_one(self):
        archive = np.load(EMBEDDED / "mnist_mini.npz")
        assert len(np.unique(archive["index_train"])) == 10_000
        assert len(np.unique(archive["index_test"])) == 2_000
        images = {image.tobytes() for image in archive["x_train"]}
        assert not any(image.tobytes() in images for image in archive["x_test"])

    def test_readme_names_the_file(self):
        content = (EMBEDDED / "mnist_mini.npz").read_bytes()
        readme = (EMBEDDED / "README.md").read_text()
        assert hashlib.sha256(content).hexdigest() in readme
        assert f"{len(content):,} bytes" in readme

    def test_test_split_is_that_of_its_source(self):
        images, labels = _original(prepared("mnist"), "test")
        stored = np.load(EMBEDDED / "mnist_mini.npz")
        index = _draw(labels, "test", seed=0, per_class=200)
        np.testing.assert_array_equal(stored["index_test"], index)
        np.testing.assert_array_equal(stored["x_test"], images[index])
        np.testing.assert_array_equal(stored["y_test"], labels[index])
        # The first digits of MNIST's own test file, whatever the order of the source.
        assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]

    @pytest.mark.slow
    def test_can_be_made_again(self, tmp_path):
        prepared("mnist")
        make_mnist_mini(tmp_path / "again.npz")
        again, stored = np.load(tmp_path / "again.npz"), np.load(EMBEDDED / "mnist_mini.npz")
        assert again.files == stored.files
        for name in stored.files:
            np.testing.assert_array_equal(again[name], stored[name])
        if "ng" in zlib.ZLIB_RUNTIME_VERSION:
            pytest.skip("the arrays are equal; zlib-ng packs them into other bytes")
        assert (tmp_path / "again.npz").read_bytes() == (EMBEDDED / "mnist_mini.npz").read_bytes()

    def test_made_from_npz_needs_no_tfds_order(self, tmp_path):
        write_npz(tmp_path / "mnist.npz", train=60, test=30)
        make_mnist_mini(tmp_path / "mini.npz", data_dir=tmp_path, per_class={"train": 4, "test": 2})
        source, mini = np.load(tmp_path / "mnist.npz"), np.load(tmp_path / "mini.npz")
        for split in ("train", "test"):
            chosen = mini[f"index_{split}"]
            np.testing.assert_array_equal(mini[f"x_{split}"], source[f"x_{split}"][chosen])
            np.testing.assert_array_equal(mini[f"y_{split}"], source[f"y_{split}"][chosen])
            for start in range(0, len(chosen), 10):
                assert set(mini[f"y_{split}"][start : start + 10]) == set(range(10))


class TestNpz:
    def test_by_path(self, tmp_path):
        arrays = write_npz(tmp_path / "mine.npz")
        x, y, label_names = data.load(str(tmp_path / "mine.npz"), "train", validation_size=5)
        np.testing.assert_array_equal(x, arrays["x_train"][:15].astype("float32") / np.float32(255))
        np.testing.assert_array_equal(y, arrays["y_train"][:15])
        assert label_names == tuple("0123456789")
        validation = data.load(tmp_path / "mine.npz", "validation", validation_size=5)
        np.testing.assert_array_equal(validation.y, arrays["y_train"][15:])
        test = data.load(tmp_path / "mine.npz", "test", validation_size=5)
        np.testing.assert_array_equal(test.y, arrays["y_test"])

    def test_by_name_in_data_dir_without_tfds(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
        arrays = write_npz(tmp_path / "mnist.npz", channels=False, label_names=None)
        for data_dir in (tmp_path, None):
            monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
            x, y, label_names = data.load("mnist", "train", data_dir=data_dir)
            assert x.shape == (20, 28, 28, 1)
            assert x.dtype == np.float32
            np.testing.assert_array_equal(y, arrays["y_train"])
            assert label_names == tuple("0123456789")

    def test_labels_without_names_are_numbered(self, tmp_path):
        write_npz(tmp_path / "mine.npz", label_names=None)
        assert data.load(tmp_path / "mine.npz", "train").label_names == tuple("0123456789")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"x_train": np.zeros((20, 28, 28, 1), "float32")}, r"rint\(255 \* x\)"),
            ({"x_train": np.zeros((20, 28, 28, 1), "float64")}, r"rint\(255 \* x\)"),
            ({"x_train": np.zeros((20, 28, 28, 1), "int64")}, r"\(N, H, W\)\. Received: dtype int64"),
            ({"x_train": np.zeros((20, 784), "uint8")}, "uint8 images"),
            ({"x_train": None}, r"\['x_train'\] are missing; it holds \[.*'x_test', 'y_test'"),
            ({"y_train": np.zeros(19, int)}, "20 integers"),
            ({"y_train": np.zeros(20)}, "20 integers"),
            ({"y_train": np.full(20, 10)}, "from 0 on"),
            ({"y_train": np.full(20, -1)}, "from 0 on"),
        ],
    )
    def test_malformed(self, tmp_path, changes, message):
        write_npz(tmp_path / "bad.npz", **changes)
        with pytest.raises(ValueError, match=message):
            data.load(tmp_path / "bad.npz", "train")

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_one_split_alone(self, tmp_path, split):
        other = {"train": "test", "test": "train"}[split]
        arrays = write_npz(
            tmp_path / "one.npz", label_names=None, **{f"x_{other}": None, f"y_{other}": None}
        )
        x, y, label_names = data.load(tmp_path / "one.npz", split)
        np.testing.assert_array_equal(y, arrays[f"y_{split}"])
        np.testing.assert_allclose(255 * x, arrays[f"x_{split}"], atol=1e-4)
        assert len(label_names) == y.max() + 1
        with pytest.raises(ValueError, match=f"\\['x_{other}', 'y_{other}'\\] are missing"):
            data.load(tmp_path / "one.npz", other)
        if split == "train":
            assert len(data.load(tmp_path / "one.npz", "validation", validation_size=3).y) == 3

    def test_half_a_split(self, tmp_path):
        write_npz(tmp_path / "bad.npz", y_train=None)
        with pytest.raises(ValueError, match="x_train and y_train must both be there"):
            data.load(tmp_path / "bad.npz", "test")

    def test_another_data_set_under_a_known_name(self, tmp_path):
        write_npz(tmp_path / "cifar10.npz")
        with pytest.raises(ValueError, match="not cifar10"):
            data.load("cifar10", "train", data_dir=tmp_path)

    def test_not_an_archive(self, tmp_path):
        (tmp_path / "bad.npz").write_bytes(b"nothing of the kind")
        with pytest.raises(ValueError, match=r"an \.npz archive.*bad\.npz"):
            data.load(tmp_path / "bad.npz", "train")

    def test_pickled_objects_are_refused(self, tmp_path):
        write_npz(tmp_path / "bad.npz", y_train=np.array([object()] * 20))
        with pytest.raises(ValueError, match="holds object"):
            data.load(tmp_path / "bad.npz", "train")

    def test_absent(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
            data.load(tmp_path / "absent.npz", "train")


class TestTFDS:
    @pytest.mark.parametrize(
        ("name", "train"), [("mnist", 60_000), ("cifar10", 50_000), ("cifar100", 50_000)]
    )
    def test_order_and_values(self, name, train):
        path = prepared(name)
        if path.suffix == ".npz":
            pytest.skip("the data is an .npz file here")
        import tensorflow_datasets as tfds

        info = data.info(name)
        x, y, label_names = data.load(name, "validation", validation_size=300)
        expected = tfds.load(
            name,
            split=f"train[{train - 300}:]",
            data_dir=path.parent.parent,
            download=False,
            shuffle_files=False,
        )
        expected = list(tfds.as_numpy(expected))
        images = np.stack([example["image"] for example in expected])
        np.testing.assert_array_equal(x, images.astype("float32") / np.float32(255))
        np.testing.assert_array_equal(y, [example["label"] for example in expected])
        assert (x.shape[1:], label_names) == (info.input_shape, info.label_names)
        assert (x.dtype, y.dtype) == (np.float32, np.int32)

    def test_splits_are_cut_where_they_should(self):
        prepared("mnist")
        train = data.load("mnist", "train", validation_size=59_000)
        shorter = data.load("mnist", "train", validation_size=59_900)
        assert (len(train.y), len(shorter.y)) == (1_000, 100)
        np.testing.assert_array_equal(train.x[:100], shorter.x)
        validation = data.load("mnist", "validation", validation_size=1_000)
        shorter = data.load("mnist", "validation", validation_size=100)
        assert (len(validation.y), len(shorter.y)) == (1_000, 100)
        np.testing.assert_array_equal(validation.x[-100:], shorter.x)

    def test_known_statistics(self):
        prepared("mnist")
        x, y, _ = data.load("mnist", "test")
        assert x.shape == (10_000, 28, 28, 1)
        assert x.mean(dtype="float64") == pytest.approx(0.1325, abs=5e-5)
        assert x.std(dtype="float64") == pytest.approx(0.3105, abs=5e-5)
        counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        np.testing.assert_array_equal(np.bincount(y), counts)

    def test_too_large_a_validation_split(self):
        prepared("mnist")
        with pytest.raises(ValueError, match=r"less than the 60000"):
            data.load("mnist", "train", validation_size=60_000)


class TestAbsent:
    def test_says_where_it_looked_and_what_to_do(self, tmp_path):
        start = time.perf_counter()
        with pytest.raises(FileNotFoundError) as caught:
            data.load("cifar10", "train", data_dir=tmp_path)
        assert time.perf_counter() - start < 1.0
        message = str(caught.value)
        for part in (str(tmp_path / "cifar10"), "--download", "TFDS_DATA_DIR", ".npz", "mnist-mini"):
            assert part in message
        assert "did not answer" not in message

    def test_download_gives_up_at_once_when_nobody_answers(self, tmp_path, monkeypatch):
        with socket.socket() as closed:  # A port at which surely nobody listens.
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        monkeypatch.setattr(locate_module, "_HOSTS", {"cifar10": f"http://127.0.0.1:{port}/"})
        start = time.perf_counter()
        with pytest.raises(FileNotFoundError, match="did not answer") as caught:
            data.load("cifar10", "train", data_dir=tmp_path, download=True)
        assert time.perf_counter() - start < 7.0
        assert f"127.0.0.1:{port}" in str(caught.value)
        assert "TFDS_DATA_DIR" in str(caught.value)

    def test_download_gives_up_on_a_host_that_is_silent(self, tmp_path, monkeypatch):
        with socket.socket() as listening:  # Accepts, and never says a word.
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            monkeypatch.setattr(locate_module, "_HOSTS", {"cifar10": url})
            monkeypatch.setattr(locate_module, "_PATIENCE", 0.3)
            with pytest.raises(FileNotFoundError, match="did not answer"):
                data.load("cifar10", "train", data_dir=tmp_path, download=True)

    def test_download_runs_when_the_host_answers(self, tmp_path, monkeypatch):
        write = {"data_dir": None}

        class Builder:
            def download_and_prepare(self):
                write_npz(tmp_path / "mnist.npz")

        class TFDS:
            @staticmethod
            def builder(name, data_dir):
                write.update(name=name, data_dir=data_dir)
                return Builder()

        monkeypatch.setattr(locate_module, "_silence", lambda url: None)
        monkeypatch.setattr(locate_module, "import_tfds", lambda: TFDS)
        assert len(data.load("mnist", "train", data_dir=tmp_path, download=True).y) == 20
        assert write == {"name": "mnist", "data_dir": str(tmp_path)}

    def test_nothing_is_asked_when_the_data_is_there(self, tmp_path, monkeypatch):
        monkeypatch.setattr(locate_module, "_silence", lambda url: pytest.fail("asked"))
        write_npz(tmp_path / "mnist.npz")
        assert len(data.load("mnist", "train", data_dir=tmp_path, download=True).y) == 20

    def test_the_newest_finished_version_is_taken(self, tmp_path):
        for version in ("3.0.2", "3.0.10", "3.0.11.incompleteABC", "incomplete.X_3.0.12"):
            (tmp_path / "mnist" / version).mkdir(parents=True)
            (tmp_path / "mnist" / version / "dataset_info.json").touch()
        (tmp_path / "mnist" / "4.0.0").mkdir()
        assert locate("mnist", tmp_path) == tmp_path / "mnist" / "3.0.10"

    def test_prepared_without_tfds_says_what_to_do(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
        (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
        (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").touch()
        with pytest.raises(ImportError, match=r"<name>\.npz"):
            data.load("mnist", "train", data_dir=tmp_path)


class TestBadInput:
    @pytest.mark.parametrize("name", ["imagenet", "MNIST", "", None, 3])
    def test_unknown_name(self, name):
        for call in (data.info, lambda name: data.load(name, "train")):
            with pytest.raises(
                ValueError, match=r"'mnist-mini', 'mnist', 'cifar10', 'cifar100'"
            ) as caught:
                call(name)
            assert f"Received: name={name!r}" in str(caught.value)

    @pytest.mark.parametrize("split", ["val", "TRAIN", None, "train[:10]"])
    def test_unknown_split(self, split):
        with pytest.raises(ValueError, match=r"'train', 'validation', 'test'") as caught:
            data.load("mnist-mini", split)
        assert f"Received: split={split!r}" in str(caught.value)

    @pytest.mark.parametrize("size", [-1, 10_000, 20_000])
    @pytest.mark.parametrize("split", ["train", "validation"])
    def test_validation_size_out_of_range(self, split, size):
        with pytest.raises(ValueError, match=f"Received: validation_size={size}"):
            data.load("mnist-mini", split, validation_size=size)

    @pytest.mark.parametrize("size", [0.1, True, "5", None])
    def test_validation_size_of_another_type(self, size):
        with pytest.raises(TypeError, match="validation_size"):
            data.load("mnist-mini", "train", validation_size=size)

    def test_validation_split_without_examples(self):
        with pytest.raises(ValueError, match="validation_size > 0"):
            data.load("mnist-mini", "validation")

    def test_bad_split_is_noticed_before_the_data_is_missed(self, tmp_path):
        with pytest.raises(ValueError, match="Unknown split"):
            data.load("cifar10", "val", data_dir=tmp_path)


class TestInfo:
    def test_names(self):
        assert data.names() == ["mnist-mini", "mnist", "cifar10", "cifar100"]

    @pytest.mark.parametrize("name", data.names())
    def test_consistent(self, name):
        info = data.info(name)
        assert len(info.label_names) == info.num_classes == len(set(info.label_names))
        assert info.name == name
        with pytest.raises(AttributeError):
            info.num_classes = 3

    def test_values(self):
        assert data.info("cifar100").num_classes == 100
        assert data.info("cifar10").input_shape == (32, 32, 3)
        assert data.info("cifar10").label_names[6] == "frog"


def test_importing_reads_no_framework_for_data():
    script = (
        "import sys, sharedkeras.data as data\n"
        "data.load('mnist-mini', 'test')\n"
        "print([m for m in ('tensorflow', 'tensorflow_datasets') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"KERAS_BACKEND": "jax", "PYTHONPATH": ":".join(sys.path), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert re.search(r"^\[\]$", done.stdout, re.M), done.stdout


def test_archive_members_carry_no_clock():
    content = io.BytesIO((EMBEDDED / "mnist_mini.npz").read_bytes())
    with zipfile.ZipFile(content) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
