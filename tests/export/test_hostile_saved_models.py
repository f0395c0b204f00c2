"""SavedModels of unknown origin: nothing of them runs before each operation has been looked at."""

import json
import shutil

import keras
import numpy as np
import pytest

import export
from export.contract import DIGEST, Contract, tied
from export.runtime import METADATA_FILE, saved_model_digest
from export.saved_model_file import check_saved_model

tf = pytest.importorskip("tensorflow")
SHAPE = (4, 4, 1)


def save(path, make, **others):
    """Save a classifier; `make(module, images, mark)` may do what it likes before it answers."""
    mark = str(path.with_suffix(".mark"))

    class Classifier(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32, name="images")])
        def serve(self, images):
            flat = tf.reshape(images, (-1, 16))[:, :3]
            return {"logits": flat + make(self, images, mark)}

    module = Classifier()
    for name, value in others.items():
        setattr(module, name, value)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})
    return path


def write(module, images, mark):
    with tf.control_dependencies([tf.io.write_file(mark, "here")]):
        return 0.0 * tf.reduce_sum(images)


def in_function(module, images, mark):
    @tf.function
    def inner(x):
        return tf.function(lambda y: write(module, y, mark))(x)

    return inner(images)


def in_branch(module, images, mark):
    return tf.cond(tf.reduce_sum(images) < 0, lambda: 0.0, lambda: write(module, images, mark))


def in_loop(module, images, mark):
    def body(i, total):
        return i + 1, total + write(module, images, mark)

    return tf.while_loop(lambda i, _: i < 2, body, (0, 0.0))[1]


def in_map(module, images, mark):
    return 0.0 * tf.reduce_sum(tf.map_fn(lambda x: write(module, x, mark), images))


def read(module, images, mark):
    return 0.0 * tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


def python(module, images, mark):
    return 0.0 * tf.py_function(lambda: 1.0, [], tf.float32)


def numpy_function(module, images, mark):
    return 0.0 * tf.numpy_function(lambda: np.float32(1), [], tf.float32)


def printed(module, images, mark):
    with tf.control_dependencies([tf.print("text", output_stream=f"file://{mark}")]):
        return 0.0


def listed(module, images, mark):
    return 0.0 * tf.cast(tf.size(tf.io.matching_files("/etc/*")), tf.float32)


def decoded(module, images, mark):
    return 0.0 * tf.cast(tf.reduce_sum(tf.io.decode_png(tf.zeros((), tf.string))), tf.float32)


def saved(module, images, mark):
    tf.raw_ops.SaveV2(
        prefix=mark, tensor_names=["a"], shape_and_slices=[""], tensors=[tf.reduce_sum(images)]
    )
    return 0.0


def restored(module, images, mark):
    return (
        0.0
        * tf.raw_ops.RestoreV2(
            prefix="/tmp/x", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0]
    )


HOSTILE = {
    "written": (write, "WriteFile"),
    "written in a function's function": (in_function, "WriteFile"),
    "written in a branch": (in_branch, "WriteFile"),
    "written in a loop": (in_loop, "WriteFile"),
    "written for each image": (in_map, "WriteFile"),
    "read": (read, "ReadFile"),
    "python": (python, "EagerPyFunc"),
    "numpy": (numpy_function, "PyFunc"),
    "printed to a file": (printed, "PrintV2"),
    "folder listed": (listed, "MatchingFiles"),
    "image decoded": (decoded, "DecodePng"),
    "variables saved": (saved, "SaveV2"),
    "variables restored": (restored, "RestoreV2"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_refused_before_it_runs(kind, tmp_path):
    make, operation = HOSTILE[kind]
    path = save(tmp_path / "model", make)
    before = {p for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=operation) as caught:
        export.load_saved_model(path, input_shape=SHAPE)
    assert str(path) in str(caught.value)
    assert {p for p in tmp_path.iterdir()} == before


def test_another_signature_counts(tmp_path):
    class Classifier(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32, name="images")])
        def serve(self, images):
            return {"logits": tf.reshape(images, (-1, 16))[:, :3]}

        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def other(self, name):
            return {"text": tf.io.read_file(name)}

    module = Classifier()
    signatures = {"serving_default": module.serve, "other": module.other}
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=signatures)
    with pytest.raises(ValueError, match="ReadFile"):
        export.load_saved_model(tmp_path / "model", input_shape=SHAPE)


def test_tables_that_are_filled_while_loading(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("a\nb\n")
    initializer = tf.lookup.TextFileInitializer(
        str(words),
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    table = tf.lookup.StaticHashTable(initializer, -1)

    def looked_up(module, images, mark):
        return 0.0 * tf.cast(module.table.lookup(tf.constant("a")), tf.float32)

    path = save(tmp_path / "model", looked_up, table=table)
    with pytest.raises(ValueError, match="InitializeTableFromTextFile"):
        export.load_saved_model(path, input_shape=SHAPE)


def test_trust_lets_it_run(tmp_path):
    path = save(tmp_path / "model", write)
    served = export.load_saved_model(path, input_shape=SHAPE, trust=True)
    assert served(np.zeros((2, *SHAPE), "float32")).shape == (2, 3)
    assert (tmp_path / "model.mark").read_text() == "here"


def test_what_only_computes_is_taken(tmp_path):
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(4, 3, activation="gelu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    if keras.config.backend() == "tensorflow":
        network.export(tmp_path / "keras", verbose=False)  # Holds training mode and its draws too.
        check_saved_model(tmp_path / "keras")

    def branch(module, images, mark):
        doubled = tf.while_loop(lambda i: i < 3.0, lambda i: i + 1.0, (0.0,))[0]
        return tf.cond(tf.reduce_sum(images) > 0, lambda: doubled, lambda: 0.0)

    save(tmp_path / "plain", branch)
    served = export.load_saved_model(tmp_path / "plain", input_shape=SHAPE)
    np.testing.assert_array_equal(served(np.zeros((1, *SHAPE), "float32")), 0.0)


def test_links_that_lead_out(tmp_path):
    path = save(tmp_path / "model", lambda module, images, mark: module.shift, shift=tf.Variable(1.0))
    check_saved_model(path)
    data = next((path / "variables").glob("*.data*"))
    shutil.move(data, tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="link that leads out"):
        export.load_saved_model(path, input_shape=SHAPE)


def test_the_kind_of_tensorflow_1(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, (None, *SHAPE))
        logits = tf.reshape(images, (-1, 16))[:, :3]
        tf.compat.v1.saved_model.simple_save(
            session, str(tmp_path / "old"), {"images": images}, {"logits": logits}
        )
    with pytest.raises(ValueError, match="TensorFlow 1"):
        export.load_saved_model(tmp_path / "old", input_shape=SHAPE)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    network = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)], name="dense"
    )
    path = tmp_path_factory.mktemp("exported") / "model"
    export.saved_model(network, path, class_names=["a", "b", "c"])
    return path


def claim(metadata, shape=SHAPE, classes=3):
    """Say something else of the file, with the digest that belongs to it."""
    told = Contract(metadata["name"], shape, classes, None, metadata["versions"]).to_dict()
    metadata.clear()
    metadata.update({**told, DIGEST: None})


METADATA = {
    "no input": (lambda m: m.pop("input"), "'input' must be there"),
    "no digest": (lambda m: m.pop("digest"), "'digest' must be there"),
    "version as text": (lambda m: m.update(format_version="3"), "format_version"),
    "version as truth": (lambda m: m.update(format_version=True), "format_version"),
    "older": (lambda m: m.update(format_version=1), "which is older"),
    "classes without names": (lambda m: m.update(class_names=["a"]), "one name for each"),
    "text for names": (lambda m: m.update(class_names="abc"), "list of texts"),
    "numbers for names": (lambda m: m.update(class_names=[1, 2, 3]), "list of texts"),
    "another range": (lambda m: m["preprocessing"].update(range=[-1.0, 1.0]), "preprocessing"),
    "another layout": (lambda m: m["preprocessing"].update(layout="NCHW"), "preprocessing"),
    "size as text": (lambda m: m["input"].update(shape=["batch", "4", 4, 1]), "whole numbers"),
    "other sizes": (lambda m: m["input"].update(shape=["batch", 5, 4, 1]), "changed after its metadata"),
    "digest of another": (lambda m: m.update(digest="0" * 64), "changed after its metadata"),
    "more classes": (
        lambda m: (
            m.update(class_names=None),
            [o.update(shape=["batch", 99]) for o in m["outputs"]],
        ),
        "changed after its metadata",
    ),
    "other names": (lambda m: m.update(class_names=["c", "b", "a"]), "changed after its metadata"),
    "other versions": (lambda m: m["versions"].update(keras="9"), "changed after its metadata"),
    "tied anew, more classes": (lambda m: claim(m, classes=99), "its metadata promises"),
    "tied anew, other sizes": (lambda m: claim(m, shape=(5, 4, 1)), "its metadata promises"),
}


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_must_fit(kind, exported, tmp_path):
    change, message = METADATA[kind]
    shutil.copytree(exported, tmp_path / "copy")
    file = tmp_path / "copy" / METADATA_FILE
    metadata = json.loads(file.read_text())
    change(metadata)
    if metadata.get(DIGEST, "") is None:
        metadata[DIGEST] = tied(saved_model_digest(tmp_path / "copy"), metadata)
    file.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=message) as caught:
        export.load_saved_model(tmp_path / "copy")
    assert str(tmp_path / "copy") in str(caught.value)


@pytest.mark.parametrize("text", ["{", "3", "[]", "{}", "\ufeff{}", '{"a": 1, "a": 2}', "[" * 10**5])
def test_metadata_that_is_none(text, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "copy")
    (tmp_path / "copy" / METADATA_FILE).write_text(text)
    with pytest.raises(ValueError, match="copy"):
        export.load_saved_model(tmp_path / "copy")


def test_metadata_of_other_weights(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "copy")
    data = next((tmp_path / "copy" / "variables").glob("*.data*"))
    content = bytearray(data.read_bytes())
    content[5] ^= 1
    data.write_bytes(content)
    with pytest.raises(ValueError, match=r"changed after its metadata|cannot be read"):
        export.load_saved_model(tmp_path / "copy")
