"""Data of one's own: folders of images, further TensorFlow Datasets, pipelines and generators."""

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from sharedkeras import data, evaluation
from sharedkeras.attacks import FGSM

RNG = np.random.default_rng(0)
CLASSES = {"cat": 0, "dog": 1, "eel": 2}


def write_image(path, shape=(6, 5, 3), mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, shape, dtype="uint8")
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return pixels


def write_folder(root, count=4, **options):
    return {
        (name, i): write_image(root / name / f"{i}.png", **options)
        for name in sorted(CLASSES)
        for i in range(count)
    }


@pytest.mark.tensorflow
def test_a_folder_of_classes_is_read_as_keras_reads_it(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    x, y, names = data.load(tmp_path, "test")
    theirs = keras.utils.image_dataset_from_directory(
        tmp_path, image_size=(6, 5), shuffle=False, batch_size=100, verbose=False
    )
    ((images, labels),) = theirs.as_numpy_iterator()
    np.testing.assert_array_equal(x, images / np.float32(255))
    np.testing.assert_array_equal(y, labels)
    assert names == tuple(theirs.class_names) == tuple(CLASSES)
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    info = data.info(str(tmp_path))
    assert (info.input_shape, info.num_classes, info.label_names) == ((6, 5, 3), 3, names)


def test_a_folder_of_splits(tmp_path):
    pixels = write_folder(tmp_path / "train", count=10)
    tested = write_folder(tmp_path / "test", count=2)
    whole = data.load(str(tmp_path), "train")
    train = data.load(str(tmp_path), "train", validation_size=8)
    validation = data.load(str(tmp_path), "validation", validation_size=8)
    test = data.load(str(tmp_path), "test")
    np.testing.assert_array_equal(np.concatenate([train.x, validation.x]), whole.x)
    # Every image is there once, with its own label, and each part has every class.
    stored = {p.tobytes(): CLASSES[name] for (name, _), p in pixels.items()}
    found = [np.rint(x * 255).astype("uint8").tobytes() for x in whole.x]
    assert [stored.pop(x) for x in found] == whole.y.tolist()
    assert not stored
    assert set(validation.y) == set(train.y) == {0, 1, 2}
    np.testing.assert_array_equal(test.y, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(test.x[3], tested["dog", 1] / np.float32(255))


def test_a_folder_without_splits_is_for_judging_only(tmp_path):
    write_folder(tmp_path)
    for split in ("train", "validation"):
        with pytest.raises(ValueError, match="for judging only"):
            data.load(tmp_path, split, validation_size=2)


def test_grey_images_have_one_channel_and_mixed_ones_three(tmp_path):
    write_folder(tmp_path, shape=(6, 5))
    assert data.load(tmp_path, "test").x.shape == (12, 6, 5, 1)
    write_image(tmp_path / "cat" / "colour.png")
    assert data.load(tmp_path, "test").x.shape == (13, 6, 5, 3)


def test_images_that_lie_on_their_side_stand_up(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # Turn by 90 degrees clockwise to see it upright.
    pixels = write_image(tmp_path / "a" / "0.png", exif=exif)
    write_image(tmp_path / "b" / "0.png", shape=(5, 6, 3))
    x = data.load(tmp_path, "test").x
    assert x.shape == (2, 5, 6, 3)
    np.testing.assert_array_equal(x[0], np.rot90(pixels, -1) / np.float32(255))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_mode_of_8_bits_is_read(tmp_path, mode):
    write_image(tmp_path / "a" / "0.png", mode=mode)
    write_image(tmp_path / "b" / "0.png")
    assert data.load(tmp_path, "test").x.shape == (2, 6, 5, 3)


def test_sizes_that_differ_are_scaled_on_request_only(tmp_path):
    write_image(tmp_path / "a" / "0.png", shape=(8, 8, 3))
    Image.fromarray(np.full((4, 4, 3), 255, "uint8")).save(tmp_path / "a" / "1.png")
    for call in (data.info, lambda name: data.load(name, "test")):
        with pytest.raises(ValueError, match=r"differ in size.*image_size.*\(4, 4\) and \(8, 8\)"):
            call(str(tmp_path))
    x = data.load(tmp_path, "test", image_size=np.array([6, 6])).x
    assert x.shape == (2, 6, 6, 3)
    np.testing.assert_allclose(x[1], 1.0, atol=1e-6)
    assert data.info(str(tmp_path), image_size=(6, 6)).input_shape == (6, 6, 3)
    with pytest.raises(ValueError, match="image_size"):
        data.load(tmp_path, "test", image_size=6)


def deep(path):
    write_image(path / "a" / "0.png")
    Image.fromarray(RNG.integers(0, 65536, (6, 5), dtype="uint16")).save(path / "a" / "1.png")


def no_image(path):
    write_image(path / "a" / "0.png")
    (path / "a" / "1.png").write_text("no image")


def cut_off(path):
    write_image(path / "a" / "0.png", shape=(60, 50, 3))
    whole = (path / "a" / "0.png").read_bytes()
    (path / "a" / "0.png").write_bytes(whole[: len(whole) // 2])


def empty(path):
    (path / "a").mkdir()


def foreign_class(path):
    write_image(path / "train" / "a" / "0.png")
    write_image(path / "test" / "b" / "0.png")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (deep, "8 bits"),
        (no_image, "no image"),
        (cut_off, "cannot be read"),
        (empty, "folder of images for each class"),
        (foreign_class, r"folder of training images. Received: \['b'\]"),
    ],
)
def test_folders_that_are_refused(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(ValueError, match=message):
        data.load(tmp_path, "test")


def test_paths_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such directory"):
        data.load(tmp_path / "absent", "test")
    (tmp_path / "file.zip").touch()
    with pytest.raises(ValueError, match=r"\.npz archive"):
        data.load(tmp_path / "file.zip", "test")


def test_sorted_training_examples_give_no_validation(tmp_path):
    arrays = {f"x_{s}": np.zeros((40, 4, 4, 1), "uint8") for s in ("train", "test")}
    np.savez(tmp_path / "a.npz", **arrays, y_train=np.arange(40) // 10, y_test=np.arange(40) % 4)
    assert len(data.load(tmp_path / "a.npz", "train").y) == 40
    for split in ("train", "validation"):
        with pytest.raises(ValueError, match="sorted by class"):
            data.load(tmp_path / "a.npz", split, validation_size=20)


def test_labels_of_an_archive_are_named_by_both_splits(tmp_path):
    arrays = {f"x_{s}": np.zeros((4, 4, 4, 1), "uint8") for s in ("train", "test")}
    np.savez(tmp_path / "a.npz", **arrays, y_train=[0, 1, 2, 3], y_test=[0, 1, 1, 0])
    for split in ("train", "test"):
        assert data.load(tmp_path / "a.npz", split).label_names == tuple("0123")
    assert data.info(str(tmp_path / "a.npz")).num_classes == 4


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    tfds = pytest.importorskip("tensorflow_datasets")
    root = tmp_path_factory.mktemp("tfds")

    def store(name, features, examples):
        splits = {split: [(i, example(i)) for i in range(6)] for split, example in examples.items()}
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            features=tfds.features.FeaturesDict(features),
            split_datasets=splits,
            data_dir=root,
            disable_shuffling=True,
        )

    label = tfds.features.ClassLabel(names=["no", "yes", "else"])

    def of(shape):
        return lambda i: {"image": np.full(shape(i), i, "uint8"), "label": i % 3, "id": i}

    image = tfds.features.Image(shape=(4, 3, 3))
    number = tfds.features.Scalar(np.int64)
    same, mixed = of(lambda i: (4, 3, 3)), of(lambda i: (4 + i, 3, 3))
    both = {"train": same, "test": same}
    store("own_even", {"image": image, "label": label, "id": number}, both)
    store(
        "own_mixed",
        {"image": tfds.features.Image(shape=(None, None, 3)), "label": label, "id": number},
        {"train": mixed, "test": mixed},
    )
    store("own_plain", {"image": image, "label": number, "id": number}, both)
    store("own_train", {"image": image, "label": label, "id": number}, {"train": same})
    return root


def test_any_prepared_data_set_with_image_and_label(tfds_dir):
    x, y, names = data.load("own_even", "test", data_dir=tfds_dir)
    np.testing.assert_array_equal(x[:, 0, 0, 0], np.arange(6, dtype="float32") / np.float32(255))
    np.testing.assert_array_equal(y, np.arange(6) % 3)
    assert names == ("no", "yes", "else")
    info = data.info("own_even", tfds_dir)
    assert (info.name, info.input_shape, info.num_classes) == ("own_even", (4, 3, 3), 3)
    by_path = data.load(tfds_dir / "own_even" / "1.0.0", "train")
    np.testing.assert_array_equal(by_path.x, x)


def test_a_prepared_data_set_of_many_sizes(tfds_dir):
    with pytest.raises(ValueError, match="image_size"):
        data.load("own_mixed", "test", data_dir=tfds_dir)
    with pytest.raises(ValueError, match="image_size"):
        data.info("own_mixed", tfds_dir)
    x = data.load("own_mixed", "test", data_dir=tfds_dir, image_size=(5, 5)).x
    assert x.shape == (6, 5, 5, 3)
    np.testing.assert_allclose(x[:, 2, 2, 1], np.arange(6) / 255, atol=1e-6)


def test_prepared_data_sets_that_are_refused(tfds_dir):
    with pytest.raises(ValueError, match="features 'image'"):
        data.load("own_plain", "test", data_dir=tfds_dir)
    with pytest.raises(ValueError, match="splits 'train' and 'test'"):
        data.load("own_train", "train", data_dir=tfds_dir)


def test_a_name_of_tfds_that_is_absent_is_told_from_an_unknown_one(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    for name in ("fashion_mnist", "emnist/letters"):
        with pytest.raises(FileNotFoundError, match="--download") as caught:
            data.load(name, "test", data_dir=tmp_path)
        assert name in str(caught.value)
    with pytest.raises(ValueError, match="Unknown data set"):
        data.load("fashion_mnist_of_nobody", "test", data_dir=tmp_path)


X = RNG.random((10, 4, 4, 1), dtype="float32")
Y = (np.arange(10) % 3).astype("int64")


class Pairs(keras.utils.PyDataset):
    """Three batches; more are not refused, as Keras does not ask for them."""

    endless = False

    @property
    def num_batches(self):
        return None if self.endless else 3

    def __getitem__(self, i):
        return X[4 * i : 4 * i + 4], Y[4 * i : 4 * i + 4]


def pipeline(*changes):
    import importlib

    tf_data = importlib.import_module("tensorflow").data
    dataset = tf_data.Dataset.from_tensor_slices((X, Y)).batch(4)
    for change in changes:
        dataset = change(dataset)
    return dataset


def generator():
    for i in range(3):
        yield X[4 * i : 4 * i + 4], Y[4 * i : 4 * i + 4]


SOURCES = {
    "list": lambda: list(generator()),
    "PyDataset": Pairs,
    "Batches": lambda: data.Batches(X, Y, 4, shuffle=False),
    "tf.data": pipeline,
    "tf.data of dicts": lambda: pipeline(lambda d: d.map(lambda x, y: {"image": x, "label": y})),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_batches_become_arrays(kind):
    x, y, names = data.from_dataset(SOURCES[kind]())
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    assert (x.dtype, y.dtype, names) == (np.float32, np.int32, ("0", "1", "2"))


@pytest.mark.parametrize("kind", ["PyDataset", "tf.data of dicts"])
def test_batches_are_judged_as_their_arrays(kind):
    network = keras.Sequential([keras.Input(X.shape[1:]), layers.Flatten(), layers.Dense(3)])
    attacks = {"fgsm": FGSM(epsilon=0.1)}
    one = evaluation.evaluate(network, X, Y, attacks, checks=False)
    other = evaluation.autoattack(
        network, SOURCES[kind](), epsilon=0.1, version="custom", attacks=attacks, verbose=False
    )
    assert {k: list(v) for k, v in one.flags.items()} == {k: list(v) for k, v in other.flags.items()}
    np.testing.assert_array_equal(one.indices, other.indices)
    with pytest.raises(ValueError, match="y=None"):
        evaluation.autoattack(network, X, epsilon=0.1, verbose=False)


ENDLESS = {
    "generator": generator,
    "PyDataset": lambda: type("Endless", (Pairs,), {"endless": True})(),
    "repeated": lambda: pipeline(lambda d: d.repeat()),
    "filtered": lambda: pipeline(lambda d: d.filter(lambda x, y: True)),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_data_without_a_known_end_needs_steps(kind):
    with pytest.raises(ValueError, match=r"steps=n\)`\. Received: \w+ of unknown length"):
        data.from_dataset(ENDLESS[kind]())
    x, y, _ = data.from_dataset(ENDLESS[kind](), steps=np.int64(2))
    np.testing.assert_array_equal(x, X[:8])
    np.testing.assert_array_equal(y, Y[:8])


def test_names_and_number_of_classes():
    assert data.from_dataset(Pairs(), num_classes=5).label_names == tuple("01234")
    assert data.from_dataset(Pairs(), label_names=["a", "b", "c"]).label_names == ("a", "b", "c")
    with pytest.raises(ValueError, match="from 0 to 1"):
        data.from_dataset(Pairs(), num_classes=2)


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ([((X * 255).astype("uint8"), Y)], TypeError, "Divide by 255"),
        ([(X * 255, Y)], ValueError, "Divide by 255"),
        ([(X, Y[:, None])], ValueError, "reshape"),
        ([(X, np.eye(3)[Y])], ValueError, "one-hot"),
        ([(X, Y.astype("float32"))], TypeError, "integers"),
        ([(X, Y[:9])], ValueError, "10 labels"),
        ([(X, Y, np.ones(10))], ValueError, "weights"),
        ([(X[:5], Y[:5]), (X[5:, :3], Y[5:])], ValueError, "one shape"),
        ([(X[0], Y[0])], ValueError, "four axes"),
        ([X], ValueError, r"\(images, labels\)"),
        ([{"x": X, "y": Y}], ValueError, "entries"),
        ([], ValueError, "at least one batch"),
        (3, TypeError, "must give batches"),
    ],
)
def test_batches_that_are_refused(batches, error, message):
    with pytest.raises(error, match=message):
        data.from_dataset(batches)


def test_labels_from_1_are_told():
    with pytest.raises(ValueError, match="take `y - 1`"):
        data.check_labels(np.array([1, 2, 3]), 3)
